"""Times of small models on the target, each measured once.

Weights don't change how long a kernel takes, so models that differ in nothing else share a time.
Models that are to be compared are timed in turns, and of each the best run counts: what else runs
on the machine then disturbs them alike.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx

import tvmcomp.targets as known_targets
from tvmcomp.api import build
from tvmcomp.compress.cost.modelled import modelled_seconds
from tvmcomp.compress.kept_numbers import read_numbers, write_numbers
from tvmcomp.devices import connect
from tvmcomp.quantize import QuantConfig
from tvmcomp.runtime.machine import Machine, ThisMachine
from tvmcomp.runtime.session import Session, load_on
from tvmcomp.targets.description import TargetDescription

#: What products are computed in.
Compute: TypeAlias = Literal["float", "int8"]

#: Turns that models are timed in, and about how long each is timed in a turn.
_TURNS, _SECONDS, _FEWEST, _MOST = 6, 0.02, 3, 200
_CONNECT_SECONDS = 3600.0
#: Of the cache of a core: what is written to empty it; and how often, in a turn.
_TIMES_THE_CACHE, _COLD_RUNS = 4, 10

#: A model by its structure, what it is computed in, and whether it runs cold.
_Key: TypeAlias = tuple[str, Compute, bool]


class OperatorTimes:
    """How long small models take, on one thread.

    Attributes:
        target: what they are built for.
        measured: whether they are run; else their time is modelled, and only ratios mean anything.
    """

    def __init__(self, target: str | TargetDescription = "native", device: str | None = None):
        """Args:
        target: its name, the path of its file, or a description.
        device: where to run; None is this machine, if it can.

        Raises:
            TargetError: there is no such target.
        """
        description = target if isinstance(target, TargetDescription) else None
        self.target = description or known_targets.load(str(target))
        self._device = device
        self.measured = device is not None or known_targets.runs_here(self.target) is None
        self._known: dict[_Key, float] = {}
        self._path: Path | None = None
        self._make_folder: Callable[[], None] = lambda: None

    @property
    def identity(self) -> str:
        """What the times are of, for a person and for a file of them: target and device."""
        return f"{self.target} on {self._device}"

    def keep_in(self, path: Path, make_folder: Callable[[], None]) -> None:
        """Take up the times in a file, where it has those of the same target and device, and write
        there what is measured from now on. Models of time are not worth a file.

        Args:
            path: the file.
            make_folder: makes its folder; called before it is written.
        """
        if not self.measured:
            return
        self._path, self._make_folder = path, make_folder
        for key, seconds in read_numbers(path, self.identity).items():
            digest, compute, cold = key.split()
            self._known[digest, "int8" if compute == "int8" else "float", cold == "cold"] = seconds

    def seconds(self, model: onnx.ModelProto, compute: Compute = "float") -> float:
        """Seconds of a run of ``model``; see :meth:`in_turns`."""
        return self.in_turns([model], compute)[0]

    def in_turns(
        self,
        models: Sequence[onnx.ModelProto],
        compute: Compute = "float",
        *,
        again: bool = False,
        cold: bool = False,
    ) -> list[float]:
        """Seconds of a run of each of ``models``, which are graphs of known shapes in float.

        Args:
            models: what is compared.
            compute: what their products are computed in.
            again: time also what is known already, for a comparison side by side.
            cold: as if other operators had run since the last time: weights are not in the caches
                of a core any more. It is so in a network whose weights are larger than these.

        Raises:
            TvmcompError: one can't be built, the device fails, or times can't be kept.
        """
        digests: list[_Key] = [(structure_digest(model), compute, cold) for model in models]
        new = {
            digest: model
            for digest, model in zip(digests, models, strict=True)
            if again or digest not in self._known
        }
        self._known.update(self._measured(new) if self.measured else self._modelled(new))
        if new and self._path is not None:
            known = {
                f"{digest} {made_of} {'cold' if cold else 'warm'}": seconds
                for (digest, made_of, cold), seconds in self._known.items()
            }
            self._make_folder()
            write_numbers(self._path, self.identity, known)
        return [self._known[digest] for digest in digests]

    def _modelled(self, models: Mapping[_Key, onnx.ModelProto]) -> dict[_Key, float]:
        return {
            key: modelled_seconds(model, self.target, int8=key[1] == "int8")
            for key, model in models.items()
        }

    def _measured(self, models: Mapping[_Key, onnx.ModelProto]) -> dict[_Key, float]:
        if not models:
            return {}
        best: dict[_Key, float] = {}
        other = np.zeros(_TIMES_THE_CACHE * self.target.l2_kib * 2**10 // 8 + 1)
        with ExitStack() as stack:
            machine = stack.enter_context(self._machine())
            sessions = {
                key: stack.enter_context(self._session(model, key[1], machine))
                for key, model in models.items()
            }
            for turn in range(_TURNS):
                for key, session in sessions.items():
                    runs = _FEWEST if turn == 0 else _runs(best[key])
                    if key[2] and self._device is None:
                        found = min(_after(other, session) for _ in range(min(runs, _COLD_RUNS)))
                    else:
                        found = min(session.time(runs))
                    best[key] = min(best.get(key, math.inf), found)
        return best

    def _machine(self) -> AbstractContextManager[Any]:
        if self._device is None:
            return nullcontext(ThisMachine())
        return connect(self._device, _CONNECT_SECONDS)

    def _session(self, model: onnx.ModelProto, compute: Compute, machine: Machine) -> Session:
        sample = _sample(model)
        if compute == "int8":
            artifact = build(
                model, self.target, "int8", [sample], reference=False, formats="asked",
                config=QuantConfig(min_sqnr_db=None, round="nearest"),
            )  # fmt: skip
        else:
            artifact = build(model, self.target, reference=False)
        session = load_on(machine, artifact, threads=1)
        session.run(sample)
        return session


def _after(other: np.ndarray, session: Session) -> float:
    """Seconds of a run after ``other`` filled the caches of the core."""
    other += 1
    return session.time(1)[0]


def structure_digest(model: onnx.ModelProto) -> str:
    """SHA-256 of ``model`` without the names of tensors and without the values of its float
    constants: models that have it in common take the same time."""
    names: dict[str, int] = {"": 0}
    parts: list[str] = []

    def number(name: str) -> int:
        return names.setdefault(name, len(names))

    for value in model.graph.input:
        parts.append(f"input {number(value.name)} {value.type.SerializeToString().hex()}")
    for tensor in model.graph.initializer:
        content = "" if tensor.data_type == onnx.TensorProto.FLOAT else tensor.raw_data.hex()
        parts.append(f"{number(tensor.name)} {tensor.data_type} {list(tensor.dims)} {content}")
    for node in model.graph.node:
        attributes = sorted(a.SerializeToString(deterministic=True).hex() for a in node.attribute)
        wires = [number(name) for name in node.input], [number(name) for name in node.output]
        parts.append(f"{node.domain} {node.op_type} {attributes} {wires}")
    parts += [f"output {number(value.name)}" for value in model.graph.output]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _sample(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Numbers for each input, the same for the same model."""
    generator = np.random.default_rng(0)
    sample = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [dim.dim_value for dim in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        sample[value.name] = np.asarray(generator.standard_normal(shape)).astype(dtype)
    return sample


def _runs(seconds: float) -> int:
    return int(np.clip(_SECONDS / max(seconds, 1e-9), _FEWEST, _MOST))
