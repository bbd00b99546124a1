"""What a build runs on this machine: the network's reference outputs, and what its guard costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tvmcomp import targets
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.reference import Reference
from tvmcomp.codegen.compile import run_here
from tvmcomp.formats.model import modelled_costs
from tvmcomp.formats.segments import segments_of
from tvmcomp.model import Model, TensorSpec
from tvmcomp.quantize.choice import PrecisionChoice
from tvmcomp.quantize.data import Samples
from tvmcomp.runtime.session import load
from tvmcomp.runtime.states import first_values
from tvmcomp.targets import TargetDescription

#: Timed runs of each variant when the cost of what stays float is measured.
_COST_RUNS = 20
#: A network of more kernels is not compiled again for that: it would take longer than the search.
_MOST_KERNELS = 64


def first_inputs(network: Model, samples: Samples | None) -> list[NDArray]:
    """The first calibration sample; without any, small random numbers, ones for integers, and what
    states start with."""
    if samples is not None:
        first = next(iter(samples))
        return [first[spec.name] for spec in network.signature.inputs]
    rng = np.random.default_rng(0)
    starts = first_values(network.states, network.signature)
    return [
        starts[spec.name]
        if spec.name in starts
        else rng.standard_normal(spec.shape).astype(spec.dtype)
        if spec.dtype.startswith("float")
        else np.ones(spec.shape, spec.dtype)
        for spec in network.signature.inputs
    ]


def reference_of(
    choice: PrecisionChoice, artifact: Artifact, here: TargetDescription, inputs: list[NDArray]
) -> Reference:
    """What the network gives on this machine: the artifact itself where it runs here, and else
    the same numbers compiled for this machine, which the device then is compared with.
    """
    signature = artifact.metadata.signature
    given = named(signature.inputs, inputs)
    if targets.runs_here(artifact.metadata.target) is None:
        with load(artifact) as session:
            return Reference(given, session.run(given))
    outputs, _ = run_here(choice.mod, here, inputs, choice.half)
    return Reference(given, named(signature.outputs, outputs))


def named(specs: Sequence[TensorSpec], arrays: list[NDArray]) -> dict[str, NDArray]:
    """The arrays by the names of their tensors."""
    return {spec.name: array for spec, array in zip(specs, arrays, strict=True)}


def cost_of_float(
    choice: PrecisionChoice, artifact: Artifact, here: TargetDescription, inputs: list[NDArray]
) -> list[str]:
    """What the operators that the guard kept in float cost in time, measured on this machine, whose
    CPU tells nothing of a GPU.
    """
    target = artifact.metadata.target
    if choice.without_guard is None or target.family == "cuda":
        return []
    if len(artifact.metadata.kernels) > _MOST_KERNELS:
        return [_modelled_cost(choice, target)]
    guarded = _seconds(choice, artifact, here, inputs)
    _, unguarded = run_here(choice.without_guard, here, inputs, timed_runs=_COST_RUNS)
    return [
        f"keeping them in float takes {guarded / unguarded:.2f} times as long as everything in "
        f"int8: {guarded * 1e3:.3f} ms and {unguarded * 1e3:.3f} ms, measured on this machine "
        f"({here.description})"
    ]


def _modelled_cost(choice: PrecisionChoice, target: TargetDescription) -> str:
    """The same by the model of ``target``."""
    assert choice.in_float is not None
    mod = choice.in_float.mod
    parts = segments_of(mod)
    costs = modelled_costs(mod, parts, frozenset(), target)
    in_int8 = {op.name for op in choice.operators if op.dtype == "int8"}
    kept = set(choice.calibration["kept_float"])

    def seconds(integers: set[str]) -> float:
        away = (i for i, names in enumerate(parts.operators) if integers.isdisjoint(names))
        return costs.seconds(frozenset(away))

    times = seconds(in_int8) / seconds(in_int8 | kept)
    return (
        f"keeping them in float takes about {times:.2f} times as long as everything in int8, by "
        f"the model of {target.name}: a network of this size is not compiled again to measure it"
    )


def _seconds(
    choice: PrecisionChoice, artifact: Artifact, here: TargetDescription, inputs: list[NDArray]
) -> float:
    """The fastest of some runs: of the artifact where it is this machine's, to compile it again
    takes as long as all else.
    """
    if artifact.metadata.target == here:
        with load(artifact) as session:
            session.run(named(artifact.metadata.signature.inputs, inputs))
            return min(session.time(_COST_RUNS))
    return run_here(choice.mod, here, inputs, timed_runs=_COST_RUNS)[1]
