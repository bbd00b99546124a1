"""Our converters of Col2Im and DeformConv: windows that overlap, or whose places are data."""

from __future__ import annotations

import math
from typing import Any

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import dtype_of, ints_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs, PrimExpr

relax, te, tirx = tvm.relax, tvm.te, tvm.tirx


class Col2Im(Converter):
    """Col2Im: each pixel is the sum of what the blocks that cover it have there."""

    @classmethod
    def _impl_v18(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        image, block = ints_of(inputs[1], "image shape"), ints_of(inputs[2], "block shape")
        dims = len(image)
        strides = list(attr.get("strides", [1] * dims))
        dilations = list(attr.get("dilations", [1] * dims))
        pads = list(attr.get("pads", [0] * 2 * dims))
        shape = shape_of(inputs[0])
        counts = [
            (size + pads[i] + pads[i + dims] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1
            for i, size in enumerate(image)
        ]
        channels = shape[1] // math.prod(block)
        if min(counts) < 1 or shape[1:] != [channels * math.prod(block), math.prod(counts)]:
            raise ValueError(
                f"its input of shape {shape} does not go with blocks {block} of an image {image}"
            )
        data = bb.emit(relax.op.reshape(inputs[0], (shape[0], channels, *block, *counts)))

        def compute(x: Any) -> Any:
            taps = [te.reduce_axis((0, size), name=f"k{i}") for i, size in enumerate(block)]

            def pixel(n: Any, c: Any, *at: Any) -> Any:
                places, inside = [], []
                for i, (place, tap) in enumerate(zip(at, taps, strict=True)):
                    start = place + pads[i] - tap * dilations[i]
                    column = tirx.floordiv(start, strides[i])
                    inside += [start >= 0, tirx.floormod(start, strides[i]) == 0]
                    inside.append(column < counts[i])
                    places.append(tirx.max(tirx.min(column, counts[i] - 1), 0))
                zero = tirx.const(0, x.dtype)
                value = tirx.if_then_else(tirx.all(*inside), x(n, c, *taps, *places), zero)
                return te.sum(value, axis=taps)

            return te.compute((shape[0], channels, *image), pixel, name="col2im")

        return bb.emit_te(compute, data)


class DeformConv(Converter):
    """DeformConv of images: sampled between pixels into columns, then a product."""

    @classmethod
    def _impl_v19(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, weight, offset, bias, mask = (inputs[i] for i in range(5))
        batch, channels, height, width = _four(data, "data")
        outputs, per_group, rows, columns = _four(weight, "weight")
        groups, offset_groups = attr.get("group", 1), attr.get("offset_group", 1)
        if per_group * groups != channels or outputs % groups or channels % offset_groups:
            raise ValueError(
                f"its {channels} channels do not make {groups} or {offset_groups} groups"
            )
        strides, dilations = attr.get("strides", (1, 1)), attr.get("dilations", (1, 1))
        pads = attr.get("pads", (0, 0, 0, 0))
        out = [
            (size + pads[i] + pads[i + 2] - dilations[i] * (kernel - 1) - 1) // strides[i] + 1
            for i, (size, kernel) in enumerate(((height, rows), (width, columns)))
        ]
        taps = rows * columns
        if shape_of(offset) != [batch, offset_groups * taps * 2, *out]:
            raise ValueError(f"its offsets have the shape {shape_of(offset)}")
        if mask is not None and shape_of(mask) != [batch, offset_groups * taps, *out]:
            raise ValueError(f"its mask has the shape {shape_of(mask)}")
        wide = channels // offset_groups

        def compute(x: Any, shift: Any, *factors: Any) -> Any:
            def pixel(n: Any, c: Any, y: PrimExpr, x_at: PrimExpr) -> Any:
                inside = tirx.all(y >= 0, y < height, x_at >= 0, x_at < width)
                at = (
                    tirx.max(tirx.min(y, height - 1), 0),
                    tirx.max(tirx.min(x_at, width - 1), 0),
                )
                return tirx.if_then_else(inside, x(n, c, *at), tirx.const(0, x.dtype))

            def column(n: Any, c: Any, k: Any, i: Any, j: Any) -> Any:
                first = (tirx.floordiv(c, wide) * taps + k) * 2
                # Outside of the image by more than a pixel all is zero: so no index overflows.
                y, x_at = (
                    tirx.max(
                        tirx.min(
                            shift(n, first + d, i, j)
                            + (at * strides[d] - pads[d] + tap * dilations[d]).astype(x.dtype),
                            tirx.const(size + 1, x.dtype),
                        ),
                        tirx.const(-2, x.dtype),
                    )
                    for d, (at, tap, size) in enumerate(
                        (
                            (i, tirx.floordiv(k, columns), height),
                            (j, tirx.floormod(k, columns), width),
                        )
                    )
                )
                top, left = tirx.floor(y), tirx.floor(x_at)
                down, right = y - top, x_at - left
                one = tirx.const(1, x.dtype)
                row, col = top.astype("int32"), left.astype("int32")
                value = (
                    pixel(n, c, row, col) * (one - down) * (one - right)
                    + pixel(n, c, row, col + 1) * (one - down) * right
                    + pixel(n, c, row + 1, col) * down * (one - right)
                    + pixel(n, c, row + 1, col + 1) * down * right
                )
                if not factors:
                    return value
                return value * factors[0](n, tirx.floordiv(c, wide) * taps + k, i, j)

            return te.compute((batch, channels, taps, *out), column, name="deformed")

        sampled = bb.emit_te(compute, data, offset, *([] if mask is None else [mask]))
        pixels = math.prod(out)
        flat = bb.emit(relax.op.reshape(sampled, (batch, groups, per_group * taps, pixels)))
        kernels = bb.emit(
            relax.op.reshape(weight, (1, groups, outputs // groups, per_group * taps))
        )
        product = bb.emit(relax.op.matmul(kernels, flat))
        result = relax.op.reshape(product, (batch, outputs, *out))
        if bias is None:
            return result
        return relax.op.add(bb.emit(result), bb.emit(relax.op.reshape(bias, (1, outputs, 1, 1))))


def _four(expr: Expr, what: str) -> list[int]:
    shape = shape_of(expr)
    if len(shape) != 4 or "float" not in dtype_of(expr):
        raise ValueError(f"its {what} of shape {shape} is no image of floats")
    return shape


#: ONNX operator -> converter.
OVERLAP = {"Col2Im": Col2Im, "DeformConv": DeformConv}
