"""The times of variants of a network: those that a log holds, or taken now and written there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from statistics import median
from typing import Any

import msgspec
import numpy as np

from tvmcomp import targets
from tvmcomp.devices import connect
from tvmcomp.errors import LogError
from tvmcomp.formats.attribute import kernel_calls, seconds_of_calls
from tvmcomp.formats.identity import together
from tvmcomp.formats.measure import profile_in_turns, time_in_turns
from tvmcomp.formats.variants import Variant, Workshop
from tvmcomp.runtime.machine import ThisMachine
from tvmcomp.runtime.remote.shell.address import is_shell_address
from tvmcomp.runtime.session import load_on
from tvmcomp.runtime.threads import default_threads
from tvmcomp.targets.fingerprint import Fingerprint, local_fingerprint
from tvmcomp.tuning.jobs import Identify
from tvmcomp.tuning.log.record import Comparison, Target, Timing, Versions, Workload, now
from tvmcomp.tuning.shell_races import identify_by_shell


@dataclass
class Clock:
    """Gives times of variants.

    Attributes:
        workshop: compiles them.
        device: where to measure; None for this machine.
        runner: what is put before programs on a ``device`` with a shell.
        inputs: of the network, by name.
        measures: whether times that no log holds are taken, where that can be done.
        problem: why what was measured could not be written down, or "".
    """

    workshop: Workshop
    device: str | None
    runner: str | None
    inputs: Mapping[str, np.ndarray]
    measures: bool
    problem: str = ""

    @property
    def can_run(self) -> bool:
        """Whether the target's code can be run, here or on the device."""
        return self.device is not None or targets.runs_here(self.workshop.target) is None

    def outputs(self, variant: Variant, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What ``variant`` gives for ``inputs``, both in the order of the signature."""
        signature = self.workshop.network.signature
        named = {spec.name: array for spec, array in zip(signature.inputs, inputs, strict=True)}
        with self._machine() as machine, load_on(machine, self.workshop.artifact(variant)) as run:
            found = run.run(named)
        return [found[spec.name] for spec in signature.outputs]

    def compare(self, variants: Sequence[Variant], by_call: bool) -> Comparison | None:
        """The times of ``variants``, in turns; None where the log has none and none can be taken.

        Args:
            variants: networks that compute the same.
            by_call: take the times of each one's calls of kernels too.
        """
        target, log = self.workshop.target, self.workshop.log
        name = together((variant.code for variant in variants), target.cores)
        runs_here = self.device is None and targets.runs_here(target) is None
        known = log.comparison(name, target, local_fingerprint() if runs_here else None)
        if known is not None and _fits(known, variants, by_call):
            return known
        if not (self.measures and self.can_run):
            return None
        made = self._measured(name, variants, by_call)
        if log.stores:
            try:
                log.append(made)
            except LogError as error:
                self.problem = str(error).splitlines()[0]
        return made

    def _measured(self, name: str, variants: Sequence[Variant], by_call: bool) -> Comparison:
        artifacts = [self.workshop.artifact(variant) for variant in variants]
        target = self.workshop.target
        calls: list[tuple[float, ...]] = [() for _ in variants]
        with self._machine() as machine, ExitStack() as stack:
            threads = min(target.cores, default_threads()) if self.device is None else None
            sessions = [
                stack.enter_context(load_on(machine, artifact, threads)) for artifact in artifacts
            ]
            for session in sessions:
                session.set_inputs(self.inputs)
            times = time_in_turns(sessions)
            if by_call:
                profiles, runs = profile_in_turns(sessions, sum(map(median, times)))
                calls = [
                    seconds_of_calls(kernel_calls(variant.lowered), profiled, runs)
                    for variant, profiled in zip(variants, profiles, strict=True)
                ]
            device = self._fingerprint(machine)
        formats = ", ".join(variant.format for variant in variants)
        return Comparison(
            workload=Workload(name, f"a network in {formats}", ()),
            versions=Versions.here(),
            date=now(),
            target=Target.of(target),
            device=device,
            networks=tuple(
                Timing(variant.format, variant.code, own, tuple(max(1e-9, s) for s in by_kernel))
                for variant, own, by_kernel in zip(variants, times, calls, strict=True)
            ),
        )

    def _machine(self) -> AbstractContextManager[Any]:
        if self.device is None:
            return nullcontext(ThisMachine())
        return connect(self.device, runner=self.runner)

    def _fingerprint(self, machine: Any) -> Fingerprint:
        """What times on ``machine`` depend on; its name where it can't tell."""
        if self.device is None:
            return local_fingerprint()
        if is_shell_address(self.device):
            return identify_by_shell(Identify(self.device, runner=self.runner))
        from tvmcomp.runtime.remote.board import FINGERPRINT

        ask = machine.function(FINGERPRINT)
        if ask is None:
            return Fingerprint(cpu=f"unknown ({machine.name})")
        text = str(machine.call("asking for its fingerprint", ask))
        return msgspec.json.decode(text, type=Fingerprint)


def _fits(known: Comparison, variants: Sequence[Variant], by_call: bool) -> bool:
    """Whether a log's line, which anybody may have written, holds what is looked for."""
    if [timing.code for timing in known.networks] != [variant.code for variant in variants]:
        return False
    return not by_call or all(
        len(timing.call_secs) == len(kernel_calls(variant.lowered))
        for timing, variant in zip(known.networks, variants, strict=True)
    )
