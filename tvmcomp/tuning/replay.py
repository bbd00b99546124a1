"""What a worker does with workloads and traces from outside: load them, and schedule them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tvmcomp.tuning.jobs import Adopt, Adopted, Replay, Replayed
from tvmcomp.tuning.log.line import decode
from tvmcomp.tuning.log.record import Trial, Workload
from tvmcomp.tuning.rebuild import rebuild
from tvmcomp.tuning.target_space import apply_baseline, whole_kernels
from tvmcomp.tuning.task import (
    arguments_of,
    module_of,
    normalize,
    read_module,
    workload_hash,
    write_module,
)
from tvmcomp.tuning.trace import apply_trace, kernel_hash
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

_FOREIGN = ("extern", "packed", "llvm", "tvm_call", "access_ptr", "address_of", "reinterpret")


def replay(job: Replay) -> Replayed:
    """See :class:`Replay`. Raises ValueError where something else comes out."""
    func = read_module(job.module)
    record = decode(job.record)
    if not isinstance(record, Trial) or workload_hash(func) != record.workload.hash:
        raise ValueError("the workload in the log is another than its hash says")
    if foreign_code(func):
        raise ValueError(f"the workload in the log would run foreign code: {foreign_code(func)}")
    schedule = rebuild(record, func, whole_kernels(job.target))
    baseline = apply_baseline(tvm.s_tir.Schedule(module_of(func)), job.target)
    modules = (schedule.mod, baseline.mod, module_of(func))
    return Replayed(*(str(tvm.ir.save_json(module)) for module in modules))


def foreign_code(func: PrimFunc) -> str:
    """What in ``func`` reaches beyond its own loops: calls by name, imported code; "" if nothing.

    A workload of a log is never run with these in it. Its loops are run as they are: verify the
    logs of people that you know.
    """
    import tvm_ffi  # not above: tvm_import must be the first to import it

    found: list[str] = []

    def see_call(call: Call) -> None:
        name = str(getattr(call.op, "name", call.op))
        if name == "tirx.reinterpret" and not any(
            "handle" in str(e.ty) for e in (call, *call.args)
        ):
            return  # the bits of one number as another's
        if not isinstance(call.op, tvm.ir.Op) or any(word in name for word in _FOREIGN):
            found.append(name)

    def see_annotations(node: Any) -> None:
        found.extend(str(key) for key in node.annotations if str(key).startswith("pragma"))

    tvm_ffi.structural_walk(func.body, (tvm.ir.Call, see_call))
    tvm_ffi.structural_walk(
        func.body, (tvm.tirx.AttrStmt, lambda node: found.append(str(node.attr_key)))
    )
    tvm_ffi.structural_walk(func.body, (tvm.s_tir.SBlock, see_annotations))
    tvm_ffi.structural_walk(func.body, (tvm.tirx.For, see_annotations))
    return ", ".join(sorted(set(found)))[:200]


def adopt(job: Adopt) -> Adopted:
    """See :class:`Adopt`. Raises ValueError where the module is not one kernel."""
    functions = tvm.ir.load_json(job.module).functions.values()
    funcs = [func for func in functions if isinstance(func, tvm.tirx.PrimFunc)]
    if len(funcs) != 1:
        raise ValueError(f"the module holds {len(funcs)} kernels")
    func = normalize(funcs[0])
    kernels, reasons = [], []
    for trace in msgspec.json.decode(job.traces, type=list[list[Any]]):
        kernel = reason = ""
        try:
            kernel = kernel_hash(apply_trace(trace, func))
        except Exception as error:  # noqa: BLE001  data from outside: TVM may raise anything
            reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        kernels.append(kernel)
        reasons.append(reason)
    name = str(funcs[0].attrs["global_symbol"]) if funcs[0].attrs else "main"
    workload = Workload(workload_hash(func), name[:200], arguments_of(func))
    return Adopted(workload, write_module(func), tuple(kernels), tuple(reasons))
