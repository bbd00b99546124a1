"""Build candidates and measure them, on this machine or on boards: what the tuner works with."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tvmcomp.runtime.remote.shell.address import is_shell_address
from tvmcomp.targets.compatible import runs_here
from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.boards import Boards
from tvmcomp.tuning.builders import open_builders
from tvmcomp.tuning.jobs import (
    Build,
    Built,
    Compare,
    Compared,
    Failed,
    Form,
    Measure,
    Measured,
    MeasuredNetwork,
    MeasureNetwork,
    Replay,
    Replayed,
    Reply,
)
from tvmcomp.tuning.log.line import encode
from tvmcomp.tuning.log.record import Argument, Trial
from tvmcomp.tuning.network import Network

#: Before anything is known: a linker that builds its support library, a slow kernel on a board.
_FIRST_BUILD_SECONDS = 600.0
_FIRST_RUN_SECONDS = 300.0
_FIRST_NETWORK_SECONDS = 1800.0
#: Afterwards: so many times what it took so far, and at least so long.
_PATIENCE = 20.0
_LEAST_BUILD_SECONDS = 60.0
_LEAST_RUN_SECONDS = 30.0
_LEAST_TURN_SECONDS = 1.0
_LEAST_LOADING_SECONDS = 10.0
#: At most: a log may say anything of what a kernel takes.
_MOST_RUN_SECONDS = 3600.0
#: Rounds of an ordinary measurement.
ROUNDS = 5
#: Rounds of a measurement that a record is judged by.
_VERIFYING_ROUNDS = 15


@dataclass(frozen=True)
class Group:
    """Libraries to measure in turns.

    Attributes:
        libraries: of kernels that take the same tensors.
        arguments: those tensors.
        expected: seconds that a call of a kernel takes, None if that is not known.
    """

    libraries: Sequence[Path]
    arguments: tuple[Argument, ...]
    expected: float | None


class Bench:
    """Builds candidates on this machine, for ``target``, and measures them.

    Building and measuring take turns: nothing else runs while this machine is measured on. A
    context manager; leaving it ends its processes.

    Args:
        target: what to compile for.
        device: what to measure on, see :class:`~tvmcomp.tuning.jobs.Measure`.
        linker: the linker's command line, None for the target's own.
        in_integers: see :func:`tvmcomp.codegen.code_target.code_target`.
        builders: see :func:`tvmcomp.tuning.builders.open_builders`.
        runner: what is put before programs on a device with a shell.

    Raises:
        DeviceError: the device does not answer.
    """

    def __init__(
        self,
        target: TargetDescription,
        device: str | None = None,
        linker: str | None = None,
        in_integers: bool = False,
        builders: str | None = None,
        runner: str | None = None,
    ) -> None:
        self._target = target
        self._device = device
        self._linker, self._runner = linker, runner
        self._in_integers = in_integers
        self._cold = True
        self._build_timeout = _FIRST_BUILD_SECONDS
        self._names = itertools.count()
        #: Modules that others were compared with -> their libraries.
        self._references: dict[str, Path] = {}
        self._network = "", ""
        self._network_timeout = 0.0
        self._loading_timeout = _FIRST_NETWORK_SECONDS
        with ExitStack() as stack:
            self._folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tvmcomp-tune-"))
            self._builders = stack.enter_context(open_builders(builders))
            self.boards = stack.enter_context(Boards(target, device, runner))
            self.fingerprint: Fingerprint = self.boards.fingerprint
            self._resources = stack.pop_all()

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._resources.close()

    @property
    def runs(self) -> bool:
        """Whether what it builds can be run: on a device, or on this machine."""
        return self._device is not None or runs_here(self._target) is None

    def build(
        self, modules: Sequence[tuple[str, tuple[Argument, ...] | None]]
    ) -> Iterator[tuple[int, Path | Failed]]:
        """Build scheduled kernels.

        Args:
            modules: as ``tvm.ir.save_json`` writes them, each with the tensors of its ``main``,
                which is to run alone; or None: kernels for a network.

        Yields:
            (index, the library) of each as soon as it is there, or why it is not. The caller
            removes the file; what is left goes with the bench.
        """
        jobs = [self._build_job(*module) for module in modules]
        for index, reply in self._builders.run(jobs, self._build_timeout):
            if isinstance(reply, Built):
                slow = max(_LEAST_BUILD_SECONDS, _PATIENCE * reply.seconds)
                self._build_timeout = slow if self._cold else max(self._build_timeout, slow)
                self._cold = False
                yield index, Path(jobs[index].path)
            else:
                yield index, _failure("build", reply)

    def race(
        self, groups: Sequence[Group], rounds: int = ROUNDS
    ) -> Iterator[tuple[int, Measured | Failed]]:
        """Measure groups of libraries, each group's in turns on one device.

        Args:
            groups: what to measure; several devices share them.
            rounds: how often each library is measured.

        Yields:
            (index, what came of it) of each group, as soon as it is known.

        Raises:
            DeviceError: no device is left.
        """
        jobs = [
            Measure(
                tuple(map(str, group.libraries)),
                group.arguments,
                self._target,
                self._device,
                _seconds_for(group, rounds),
                rounds,
                linker=self._linker,
                runner=self._runner,
            )
            for group in groups
        ]
        longest = max((job.timeout for job in jobs), default=0.0)
        for index, reply in self.boards.measure(jobs, longest):
            yield index, reply if isinstance(reply, Measured) else _failure("run", reply)

    def use_network(self, network: Network) -> None:
        """The network that :meth:`race_in_network` measures in."""
        path = Path(self._folder, "network.tvmc")
        network.artifact.save(path)
        library = Path(self._folder, "network.so")
        library.write_bytes(network.library)
        self._network = str(path), str(library)

    def race_in_network(
        self, variants: Sequence[dict[str, tuple[str, str]]], rounds: int
    ) -> tuple[dict[str, tuple[float, ...]], ...] | Failed:
        """See :class:`tvmcomp.tuning.jobs.MeasureNetwork`; this machine's kernels only."""
        job = MeasureNetwork(*self._network, tuple(variants), rounds)
        start = time.monotonic()
        turns = (1 + len(variants)) * rounds
        timeout = self._loading_timeout + self._network_timeout * turns
        ((_, reply),) = self.boards.run([job], timeout)
        if not isinstance(reply, MeasuredNetwork):
            return _failure("run", reply)
        took = time.monotonic() - start
        if not self._network_timeout:
            # It loaded the network, too, as a worker does that takes a dead one's place.
            self._loading_timeout = max(_LEAST_LOADING_SECONDS, 4.0 * took)
        self._network_timeout = max(_PATIENCE * took / turns, _LEAST_TURN_SECONDS)
        return reply.run_secs

    def replay(self, module: str, record: Trial) -> Replayed | Failed:
        """Make a record's kernel again, in a worker; see :class:`Replay`."""
        job = Replay(module, encode(record), self._target)
        ((_, reply),) = self._builders.run([job], _FIRST_RUN_SECONDS)
        return reply if isinstance(reply, Replayed) else _failure("rebuild", reply)

    def time(
        self, modules: Sequence[str], arguments: tuple[Argument, ...], expected: float | None
    ) -> Measured | Failed:
        """Build scheduled kernels, given as ``tvm.ir.save_json`` writes them; measure in turns."""
        paths = self._build_all([(module, arguments) for module in modules])
        if isinstance(paths, Failed):
            return paths
        ((_, measured),) = self.race([Group(paths, arguments, expected)], _VERIFYING_ROUNDS)
        for path in paths:
            path.unlink()
        return measured

    def difference(self, modules: tuple[str, str], arguments: tuple[Argument, ...]) -> str | Failed:
        """:meth:`differences` of one pair."""
        (found,) = self.differences([(*modules, arguments)])
        return found

    def differences(
        self, pairs: Sequence[tuple[str, str, tuple[Argument, ...]]]
    ) -> list[str | Failed]:
        """Build scheduled kernels and their references, and run both on the same random data.

        Where the target's code runs neither here nor on a device, building it is all.

        Args:
            pairs: of each the kernel and the reference, as ``tvm.ir.save_json`` writes them, and
                the tensors that both take. A reference is built once.

        Returns:
            How each pair differs, in words, "" where both do the same; or what failed.

        Raises:
            DeviceError: no device is left.
        """
        known = self._references
        needed = {text: arguments for *both, arguments in pairs for text in both}
        texts = sorted(needed.keys() - known.keys())
        modules = [(text, needed[text]) for text in texts]
        built = {texts[index]: made for index, made in self.build(modules)}
        libraries = {**known, **built}
        for _, reference, _ in pairs:
            library = libraries[reference]
            if isinstance(library, Path):
                known[reference] = library
        found: list[str | Failed] = [""] * len(pairs)
        jobs: dict[int, Compare] = {}
        for index, (module, reference, arguments) in enumerate(pairs):
            one, other = libraries[module], libraries[reference]
            if isinstance(one, Failed):
                found[index] = one
            elif isinstance(other, Failed):
                found[index] = other
            elif self.runs:
                paths = str(one), str(other)
                jobs[index] = Compare(
                    *paths,
                    arguments,
                    self._target,
                    self._device,
                    _FIRST_RUN_SECONDS,
                    self._linker,
                    self._runner,
                )
        at = list(jobs)
        for job, reply in self.boards.measure(list(jobs.values()), _FIRST_RUN_SECONDS):
            if isinstance(reply, Compared):
                found[at[job]] = reply.difference
            else:
                found[at[job]] = _failure("run", reply)
        for text, library in built.items():
            if isinstance(library, Path) and text not in known:
                library.unlink()
        return found

    def _build_all(
        self, modules: Sequence[tuple[str, tuple[Argument, ...]]]
    ) -> list[Path] | Failed:
        """The libraries of ``modules``, or why one of them is not there."""
        paths = []
        for _, built in sorted(self.build(modules), key=lambda each: each[0]):
            if isinstance(built, Failed):
                return built
            paths.append(built)
        return paths

    def _build_job(self, module: str, arguments: tuple[Argument, ...] | None) -> Build:
        path = str(Path(self._folder, f"kernel{next(self._names)}.so"))
        form: Form = "kernels"
        if arguments is not None:
            shell = self._device is not None and is_shell_address(self._device)
            form = "code" if shell else "network"
        given = (module, self._target, self._linker, path, self._in_integers)
        return Build(*given, form, arguments or ())


def _seconds_for(group: Group, rounds: int) -> float:
    """What measuring a group may take."""
    if group.expected is None:
        return _FIRST_RUN_SECONDS
    calls = (3 * rounds + 1) * len(group.libraries)
    return min(_MOST_RUN_SECONDS, _LEAST_RUN_SECONDS + calls * _PATIENCE * group.expected)


def _failure(doing: str, reply: Reply) -> Failed:
    assert isinstance(reply, Failed)
    return Failed(f"{doing} {reply.kind}", reply.message)
