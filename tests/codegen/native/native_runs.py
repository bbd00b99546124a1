"""A Relax module, compiled natively and for Relax's virtual machine: all bits must agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from native_library import loaded

from tvmcomp import targets
from tvmcomp.codegen.compile import generate
from tvmcomp.codegen.native.emit import NativeCode, emit
from tvmcomp.codegen.native.link import link_shared
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.passes.lowered import Lowered
from tvmcomp.passes.pipeline import lower
from tvmcomp.runtime.amx_permission import allow_amx
from tvmcomp.tvm_import import tvm

HERE = targets.detect()


def signature_of(lowered: Lowered) -> Signature:
    """Inputs x0, x1 … and outputs y0, y1 …"""
    main = lowered.looped["main"]
    inputs = [param.ty for param in main.params[: len(main.params) - len(lowered.constants)]]
    result = main.ret_ty
    outputs = list(result.fields) if isinstance(result, tvm.relax.TupleType) else [result]
    return Signature(_specs("x", inputs), _specs("y", outputs))


def _specs(letter: str, types: Sequence[Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(f"{letter}{i}", tuple(int(n) for n in ty.shape), str(ty.dtype))
        for i, ty in enumerate(types)
    )


def emitted(mod: Any, half: str | None = None) -> tuple[Lowered, NativeCode]:
    """A module, lowered for this machine, and its native code."""
    lowered = lower(mod, HERE, half=half)
    return lowered, emit([lowered], HERE, [signature_of(lowered)])


def on_machine(lowered: Lowered, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What Relax's virtual machine computes."""
    allow_amx(HERE)
    vm = tvm.relax.VirtualMachine(generate(lowered, HERE), tvm.cpu())
    arrays = (np.asarray(x, order="C") for x in (*inputs, *lowered.constants))
    result = vm["main"](*(tvm.runtime.tensor(array) for array in arrays))
    return [each.numpy() for each in ([result] if hasattr(result, "numpy") else result)]


def run_native(lowered: Lowered, code: NativeCode, inputs: Sequence[np.ndarray]) -> list[Any]:
    """What the library computes: twice, on 1 and 2 threads, from and to aligned and other
    addresses; all must agree in all bits."""
    library = link_shared(code, HERE)
    results = []
    for threads in (1, 2):
        with loaded(library, lowered.constants, threads) as network:
            for beside in (0, 8, 8, 0):
                results.append(network.run(*inputs, beside=beside))
    for other in results[1:]:
        assert_same_bits(other, results[0])
    return results[0]


def run(mod: Any, *inputs: np.ndarray, half: str | None = None) -> list[np.ndarray]:
    """The outputs of a module, after they are compared with the virtual machine's."""
    lowered, code = emitted(mod, half)
    outputs = run_native(lowered, code, inputs)
    assert_same_bits(outputs, on_machine(lowered, inputs))
    return outputs


def assert_same_bits(got: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> None:
    assert len(got) == len(wanted)
    for i, (mine, other) in enumerate(zip(got, wanted, strict=True)):
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype), i
        assert mine.tobytes() == other.tobytes(), f"output {i} differs"
