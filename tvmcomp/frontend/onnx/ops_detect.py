"""Our converter of NonMaxSuppression: as many rows as there may be, those that are left over -1.

How many boxes are selected depends on the data, and shapes may not. So there is a row for each box
that could be: the selected ones first, in ONNX's order, and then rows of -1, which say their
number. What gathers by them reads its last element there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import array_of, dtype_of, ints_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs, PrimExpr

# isort: split
from tvm.script.ir_builder import IRBuilder  # noqa: TID253
from tvm.script.ir_builder import tirx as T  # noqa: TID253

relax, te, tirx = tvm.relax, tvm.te, tvm.tirx


class NonMaxSuppression(Converter):
    """NonMaxSuppression with thresholds and a number of boxes known at build time."""

    @classmethod
    def _impl_v10(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        boxes, scores = inputs[0], inputs[1]
        batch, count, four = shape_of(boxes)
        classes = shape_of(scores)[1]
        if shape_of(scores) != [batch, classes, count] or four != 4:
            raise ValueError(f"its boxes are {shape_of(boxes)} and its scores {shape_of(scores)}")
        if dtype_of(boxes) != "float32" or dtype_of(scores) != "float32":
            raise ValueError("its boxes and scores must be float32")
        given = [0] if inputs[2] is None else ints_of(inputs[2], "number of boxes")
        if len(given) != 1:
            raise ValueError(f"its max_output_boxes_per_class holds {len(given)} numbers, not one")
        most = min(max(given[0], 0), count)
        overlap = _number(inputs[3], 0.0)
        least = _number(inputs[4], -np.inf)
        if not 0 <= overlap <= 1:
            raise ValueError(f"its iou_threshold is {overlap}, and may be 0 to 1")
        rows = batch * classes * most
        if not rows:
            return relax.const(np.zeros((0, 3), "int64"), "int64")
        centred = bool(attr.get("center_point_box", 0))

        def compute(b: Any, s: Any) -> Any:
            return te.extern(
                [(rows, 3), (count,)],
                [b, s],
                lambda ins, outs: _kernel(
                    ins[0], ins[1], outs[0], outs[1], most, overlap, least, centred
                ),
                dtype=["int64", "float32"],
                name="non_max_suppression",
            )

        return relax.TupleGetItem(bb.emit_te(compute, boxes, scores), 0)


def _number(expr: Any, default: float) -> float:
    if expr is None:
        return default
    array = array_of(expr)
    if array is None or array.size != 1:
        raise ValueError("its thresholds must be known at build time, not computed by the network")
    return float(array.item())


def _kernel(
    boxes: Any,
    scores: Any,
    rows: Any,
    left: Any,
    most: int,
    overlap: float,
    least: float,
    centred: bool,
) -> Any:
    """Select again and again the best box that is left, and strike out what overlaps it.

    ``left`` holds the scores of one class that are still to be had, the others at minus infinity.
    """
    batch, classes, count = (int(size) for size in scores.shape)
    out, gone = tirx.const(-1, "int64"), tirx.const(-np.inf, "float32")
    with IRBuilder() as builder:
        with T.serial(0, 1):  # it holds the statements together
            selected, best, high = (
                T.buffer_proxy(T.decl_buffer([1], dtype, scope="local"))
                for dtype in ("int32", "int32", "float32")
            )
            boxes, scores, rows, left = map(T.buffer_proxy, (boxes, scores, rows, left))
            with T.serial(0, batch * classes * most) as row:
                for column in range(3):
                    rows[row, column] = out
            selected[0] = tirx.const(0, "int32")
            with T.serial(0, batch) as image, T.serial(0, classes) as kind:
                with T.serial(0, count) as i:
                    left[i] = scores[image, kind, i]
                with T.serial(0, most):
                    best[0] = tirx.const(-1, "int32")
                    high[0] = tirx.const(least, "float32")
                    with T.serial(0, count) as i, T.If(left[i] > high[0]), T.Then():
                        high[0] = left[i]
                        best[0] = i
                    with T.If(best[0] >= 0), T.Then():
                        for column, value in enumerate((image, kind, best[0])):
                            rows[selected[0], column] = tirx.Cast("int64", value)
                        selected[0] = selected[0] + 1
                        with T.serial(0, count) as i:
                            first, second = (
                                _corners(boxes, image, box, centred) for box in (best[0], i)
                            )
                            with T.If(_overlap(first, second, overlap)), T.Then():
                                left[i] = gone
                        left[best[0]] = gone
        return builder.get()


Box = tuple[PrimExpr, PrimExpr, PrimExpr, PrimExpr]


def _corners(boxes: Any, image: PrimExpr, box: PrimExpr, centred: bool) -> Box:
    """The lowest and the highest place of a box along both axes."""
    a, b, c, d = (boxes[image, box, k] for k in range(4))
    if not centred:
        return tirx.min(a, c), tirx.min(b, d), tirx.max(a, c), tirx.max(b, d)
    half = tirx.const(0.5, "float32")
    return a - c * half, b - d * half, a + c * half, b + d * half


def _overlap(first: Box, second: Box, threshold: float) -> PrimExpr:
    """Whether two boxes share more than ``threshold`` of what they cover together."""
    zero = tirx.const(0, "float32")
    height, width = (
        tirx.max(tirx.min(first[k + 2], second[k + 2]) - tirx.max(first[k], second[k]), zero)
        for k in (0, 1)
    )
    shared = height * width
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    together = areas[0] + areas[1] - shared
    positive = tirx.all(shared > zero, areas[0] > zero, areas[1] > zero)
    return tirx.all(positive, shared > tirx.const(threshold, "float32") * together)


#: ONNX operator -> converter.
DETECT = {"NonMaxSuppression": NonMaxSuppression}
