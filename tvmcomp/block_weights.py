"""A product with a weight of 4 bits in blocks, as one operator of Relax, from importer to kernel.

    y = block_matmul(x, codes, scales, zeros)

    y[m, n] = sum over b of scales[n, b] * sum over k in b of x[m, k] * (codes[n, k] - zeros[n, b])

The weight stays packed in the artifact, two codes a byte, and is unpacked in registers.
"""

from __future__ import annotations

import numpy as np

from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr

relax = tvm.relax

#: The operator's name, as :func:`tvmcomp.passes.rewriter.op_name` gives it.
BLOCK_MATMUL = "tvmcomp.block_matmul"
_OP = f"relax.{BLOCK_MATMUL}"


def block_matmul(
    x: Expr, codes: np.ndarray, scales: np.ndarray, zeros: np.ndarray, block: int
) -> Call:
    """The product as an operator.

    Args:
        x: float32 ``[..., K]``, K even.
        codes: uint8 ``[N, K / 2]``, the code of an even k in the low bits.
        scales: float32 or float16 ``[N, blocks]``.
        zeros: uint8 ``[N, blocks]``, codes that stand for 0.
        block: neighbours along K that share a scale, an even number.
    """
    attributes = tvm.ir.make_node("ir.DictAttrs", block=block)
    constants = [relax.const(np.ascontiguousarray(a), str(a.dtype)) for a in (codes, scales, zeros)]
    return relax.Call(tvm.ir.Op.get(_OP), [x, *constants], attributes)


def block_of(call: Call) -> int:
    """How many neighbours share a scale."""
    return int(call.attrs["block"])


def unpacked(codes: np.ndarray, scales: np.ndarray, zeros: np.ndarray, block: int) -> np.ndarray:
    """The weight that they stand for: float32 ``[K, N]``."""
    steps = np.stack([codes & 15, codes >> 4], axis=-1).reshape(len(codes), -1)
    depth = steps.shape[1]
    factor, zero = (
        np.repeat(a.astype(np.float32), block, axis=1)[:, :depth] for a in (scales, zeros)
    )
    return np.ascontiguousarray(((steps.astype(np.float32) - zero) * factor).T)


def _infer_type(call: Call, _builder: object) -> object:
    x = call.args[0].ty
    columns = call.args[1].ty.shape[0]
    return relax.TensorType([*list(x.shape)[:-1], columns], str(x.dtype))


def _register() -> None:
    register = tvm.ir._ffi_api
    register.RegisterOp(_OP, "a product with a weight of 4 bits in blocks")
    register.RegisterOpAttr(_OP, "FPurity", True, 10)
    register.RegisterOpAttr(_OP, "FInferType", _infer_type, 10)


_register()
