"""Quantized convolutions and products, static and dynamic, in Q/DQ or integer products.

QLinearConv    ->  DequantizeLinear (data, weight, bias) -> Conv -> QuantizeLinear
DynamicQuantizeMatMul  ->  DynamicQuantizeLinear -> MatMulInteger -> Mul by both scales
"""

from __future__ import annotations

import numpy as np
import onnx

from tvmcomp.frontend.onnx.block_weights import BLOCK_MATMUL, fits
from tvmcomp.frontend.onnx.block_weights import packed as packed_codes
from tvmcomp.frontend.onnx.rewrites.rewriting import MICROSOFT, Rewriting, Rule

_CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def _conv(r: Rewriting) -> None:
    """Weights have a scale each output channel, or one; a bias that of data and weight."""
    data = r.real(r.input(0), r.input(1), r.input(2))
    weight = r.real(r.input(3), r.input(4), r.input(5), axis=0)
    bias = _bias(r, r.input(8), r.input(1), r.input(4))
    result = r.main("Conv", data, weight, bias, **r.pick(*_CONV))
    r.quantize(result, r.input(6), r.input(7))


def _matmul(r: Rewriting) -> None:
    """The right operand may have a scale each column."""
    left = r.real(r.input(0), r.input(1), r.input(2), axis=_rows(r, 1))
    right = r.real(r.input(3), r.input(4), r.input(5), axis=-1)
    r.quantize(r.main("MatMul", left, right), r.input(6), r.input(7))


def _gemm(r: Rewriting) -> None:
    """QGemm; without a scale of the result it gives floats."""
    trans_b = r.attributes.get("transB", 0)
    alpha = r.attributes.get("alpha", 1.0)
    left = r.real(r.input(0), r.input(1), r.input(2))
    right = r.real(r.input(3), r.input(4), r.input(5), axis=0 if trans_b else 1)
    bias = _bias(r, r.input(6), r.input(1), r.input(4), alpha)
    result = r.main("Gemm", left, right, bias, **r.pick("alpha", "transA", "transB"))
    if r.input(7):
        r.quantize(result, r.input(7), r.input(8))
    else:
        r.give(result)


def _bias(r: Rewriting, bias: str, data_scale: str, weight_scale: str, alpha: float = 1.0) -> str:
    """An int32 bias, whose scale is the product of the others', as a float one."""
    if not bias:
        return ""
    scale = r.add("Mul", data_scale, weight_scale)
    if alpha != 1:
        scale = r.add("Mul", scale, r.constant(np.float32(alpha)))
    scales = r.shape(weight_scale)
    one = scales is not None and np.prod(scales, dtype=int) == 1
    return r.real(bias, scale, "", axis=None if one else 0)


def _rows(r: Rewriting, index: int) -> int | None:
    """The axis of several scales of a left operand: its rows."""
    scales = r.shape(r.input(index))
    return None if scales is None or np.prod(scales, dtype=int) == 1 else -2


def _dynamic_matmul(r: Rewriting) -> None:
    data, scale, zero = _dynamically_quantized(r, r.input(0))
    right_zero = r.input(3)
    product = r.main("MatMulInteger", data, r.input(1), zero, right_zero)
    _to_float(r, product, scale, r.input(2), r.input(4))


def _integer_to_float(r: Rewriting) -> None:
    product = r.main("MatMulInteger", r.input(0), r.input(1), r.input(4), r.input(5))
    _to_float(r, product, r.input(2), r.input(3), r.input(6))


def _to_float(r: Rewriting, product: str, left: str, right: str, bias: str) -> None:
    number = r.add("Cast", product, to=onnx.TensorProto.FLOAT)
    result = r.add("Mul", number, r.add("Mul", left, right))
    r.give(r.add("Add", result, bias) if bias else result)


def _dynamically_quantized(r: Rewriting, data: str) -> tuple[str, str, str]:
    names = [f"{r.node.output[0]}/{r.node.name}/{part}" for part in ("data", "scale", "zero")]
    r.nodes.append(
        onnx.helper.make_node("DynamicQuantizeLinear", [data], names, f"{r.node.name}/quantize")
    )
    return names[0], names[1], names[2]


def _matmul_blocks(r: Rewriting) -> None:
    """MatMulNBits: a weight of 2, 4 or 8 bits in blocks along the depth, packed.

    One of 4 bits stays so, any other is unpacked here.

    ``B`` is (N, blocks, bytes of a block), low bits first; ``scales`` (N, blocks); zero points
    packed as ``B`` is, or one a byte as NNCF writes them, or 2^(bits - 1); ``g_idx`` the block
    whose scale a place of the depth has, where that isn't its own.
    """
    depth, columns = r.attributes["K"], r.attributes["N"]
    bits, block = r.attributes.get("bits", 4), r.attributes["block_size"]
    packed, scales = r.value(r.input(1)), r.value(r.input(2))
    if (
        packed is None
        or scales is None
        or any(r.input(i) and r.value(r.input(i)) is None for i in (3, 4))
    ):
        raise ValueError("its weight, scales, zero points and g_idx must be known at build time")
    blocks = -(-depth // block)
    if bits not in (2, 4, 8) or packed.size * 8 != columns * blocks * block * bits:
        raise ValueError(f"its weight of {packed.size} bytes is not {columns} x {depth} of {bits}")
    if scales.size != columns * blocks:
        raise ValueError(f"its scales are {scales.size}, not {columns} x {blocks}")
    weight = _unpacked(packed.reshape(columns, -1), bits).reshape(columns, blocks, block)
    given = r.value(r.input(3)) if r.input(3) else None
    zero = _zero_points(given, columns, blocks, bits)
    factors = scales.reshape(columns, blocks, 1).astype(np.float32)
    whole = zero[..., 0].astype(np.uint8)
    if bits == 4 and not r.input(4) and fits(depth, block) and (whole == zero[..., 0]).all():
        result = r.own(
            BLOCK_MATMUL, r.input(0),
            r.constant(packed_codes(weight.reshape(columns, -1)[:, :depth])),
            r.constant(scales.reshape(columns, blocks)), r.constant(whole), block=block,
        )  # fmt: skip
        r.give(r.add("Add", result, r.input(5)) if r.input(5) else result)
        return
    owner = np.repeat(np.arange(blocks), block)[:depth]
    if r.input(4):
        owner = np.asarray(r.value(r.input(4))).reshape(-1)[:depth]
        if len(owner) < depth or owner.min() < 0 or owner.max() >= blocks:
            raise ValueError(f"its g_idx is not {depth} numbers from 0 to {blocks - 1}")
    steps = weight.reshape(columns, -1)[:, :depth].astype(np.float32)
    real = (steps - zero[:, owner, 0]) * factors[:, owner, 0]
    right = r.constant(np.ascontiguousarray(real.T.astype(scales.dtype)))
    result = r.main("MatMul", r.input(0), right)
    r.give(r.add("Add", result, r.input(5)) if r.input(5) else result)


def _zero_points(given: np.ndarray | None, columns: int, blocks: int, bits: int) -> np.ndarray:
    """Of each block, float32 ``[columns, blocks, 1]``."""
    if given is None:
        return np.full((columns, blocks, 1), 1 << (bits - 1), np.float32)
    # One block a row is one byte either way; packed, its upper bits mean nothing.
    if given.dtype == np.uint8 and given.size == columns * -(-blocks * bits // 8):
        return _unpacked(given.reshape(columns, -1), bits)[:, :blocks, None].astype(np.float32)
    if given.size != columns * blocks:
        raise ValueError(f"its zero points are {given.size}, not {columns} x {blocks}")
    return given.reshape(columns, blocks, 1).astype(np.float32)


def _unpacked(rows: np.ndarray, bits: int) -> np.ndarray:
    """Each byte of ``rows`` as ``8 / bits`` numbers, the low bits first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return ((rows[..., None] >> shifts) & ((1 << bits) - 1)).reshape(len(rows), -1)


#: Domain and operator -> rule.
RULES: dict[tuple[str, str], Rule] = {
    ("", "QLinearConv"): _conv,
    ("", "QLinearMatMul"): _matmul,
    (MICROSOFT, "DynamicQuantizeMatMul"): _dynamic_matmul,
    (MICROSOFT, "MatMulIntegerToFloat"): _integer_to_float,
    (MICROSOFT, "MatMulNBits"): _matmul_blocks,
    (MICROSOFT, "QGemm"): _gemm,
}
