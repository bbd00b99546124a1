"""MetaSchedule traces as data: to JSON, and back onto a PrimFunc, trusting nothing in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvmcomp.schedules.intrinsics import register_named
from tvmcomp.schedules.tir.passing_nan import LOSES_NAN
from tvmcomp.tuning.block_names import numbered_in_trace
from tvmcomp.tuning.task import module_of
from tvmcomp.tvm_import import tvm

if TYPE_CHECKING:
    from tvm.s_tir import Schedule, Trace
    from tvm.tirx import PrimFunc

#: Of an annotation's pragmas, those that say how a loop is compiled and not what is computed.
_PRAGMAS = frozenset(
    [
        LOSES_NAN,
        "pragma_auto_unroll_max_step",
        "pragma_loop_partition_hint",
        "pragma_unroll_explicit",
    ]
)
#: The schedule instructions that keep a kernel's meaning. TVM's two ``Unsafe…`` instructions, which
#: do not, are left out.
_INSTRUCTIONS = frozenset(
    [
        "AddUnitLoop",
        "Annotate",
        "AnnotateBufferAccess",
        "Bind",
        "Blockize",
        "CacheIndex",
        "CacheInplace",
        "CacheRead",
        "CacheWrite",
        "ComputeAt",
        "ComputeInline",
        "DecomposePadding",
        "DecomposeReduction",
        "EnterPostproc",
        "Fuse",
        "FuseReductionEpilogue",
        "GetChildBlocks",
        "GetConsumers",
        "GetLoops",
        "GetOutputBlocks",
        "GetProducers",
        "GetSBlock",
        "LoopPartition",
        "Merge",
        "PadEinsum",
        "Parallel",
        "RFactor",
        "ReIndex",
        "ReadAt",
        "ReindexCacheRead",
        "ReindexCacheWrite",
        "Reorder",
        "ReorderBlockIterVar",
        "ReverseComputeAt",
        "ReverseComputeInline",
        "RollingBuffer",
        "SampleCategorical",
        "SampleComputeLocation",
        "SamplePartitionedTile",
        "SamplePerfectTile",
        "SetScope",
        "Split",
        "StorageAlign",
        "Tensorize",
        "TransformBlockLayout",
        "TransformLayout",
        "Unannotate",
        "Unroll",
        "Vectorize",
        "WriteAt",
    ]
)


def trace_to_json(trace: Trace) -> list[Any]:
    """The trace as plain lists, strings and numbers."""
    return _plain(trace.as_json())


def _plain(value: Any) -> Any:
    from tvm_ffi import Array  # not above: tvm_import must be the first to import it

    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, tvm.tirx.IntImm | tvm.tirx.FloatImm):
        return value.value
    if isinstance(value, list | tuple | Array):
        return [_plain(item) for item in value]
    raise TypeError(f"a trace holds a {type(value).__name__}, which has no JSON form")


def check_trace(trace: Any) -> None:
    """Raise ValueError unless ``trace`` can be handed to TVM.

    TVM checks most of what it is given. But it writes a decision at the index it is told without
    looking at the range, follows null where it expects a value, and an ``Annotate`` can make it
    compile C code.
    """
    match trace:
        case [list(instructions), list(decisions)]:
            pass
        case _:
            raise ValueError("a trace is a list of instructions and a list of decisions")
    for instruction in instructions:
        _check_instruction(instruction)
    for decision in decisions:
        match decision:
            case [int(index), value] if 0 <= index < len(instructions) and not _has_null(value):
                pass
            case _:
                raise ValueError("a decision is [index of an instruction, value]")


def _check_instruction(instruction: Any) -> None:
    match instruction:
        case [str(name), list(inputs), list(attributes), list(outputs)] if all(
            isinstance(output, str) for output in outputs
        ):
            pass
        case _:
            raise ValueError("an instruction is [name, inputs, attributes, outputs]")
    if name not in _INSTRUCTIONS:
        raise ValueError(f"{name[:40]!r} is not a known schedule instruction")
    if name == "Annotate" and any(
        str(key).startswith("pragma_") and key not in _PRAGMAS for key in attributes
    ):
        raise ValueError("it has a pragma that could import foreign code, or leave out work")
    if name == "TransformLayout":  # its padding value may be absent
        attributes = [*attributes[:2], *attributes[3:]]
    if _has_null([inputs, attributes]):
        raise ValueError(f"{name} with a value missing")


def _has_null(value: Any) -> bool:
    return value is None or (isinstance(value, list) and any(_has_null(item) for item in value))


def apply_trace(trace: list[Any], func: PrimFunc) -> Schedule:
    """Replay ``trace`` on ``func``.

    Returns:
        The schedule; its module's ``main`` is the scheduled function.

    Raises:
        ValueError: the trace is malformed.
        Exception: whatever TVM raises where it does not fit ``func``.
    """
    check_trace(trace)
    for name, _, attributes, _ in trace[0]:
        if name == "Tensorize" and attributes:
            register_named(str(attributes[0]))
    schedule = tvm.s_tir.Schedule(module_of(func))
    tvm.s_tir.Trace.apply_json_to_schedule(numbered_in_trace(trace), schedule)
    return schedule


def kernel_hash(schedule: Schedule) -> str:
    """The structural hash of the scheduled function, as 16 hexadecimal digits."""
    import tvm_ffi  # not above: tvm_import must be the first to import it

    return f"{tvm_ffi.structural_hash(schedule.mod['main']) & (2**64 - 1):016x}"
