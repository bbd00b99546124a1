"""TFLite_Detection_PostProcess: the end of a detector, boxes and their non-maximum suppression.

The operator takes boxes relative to anchors, scores of classes, and the anchors. Its outputs have
fixed sizes, ``max_detections`` boxes with zeros behind the last one, and their count. So the greedy
suppression is a Loop of as many steps: the best box left, and all that overlap it taken out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from flatbuffers import flexbuffers
from onnx import helper

from tvmcomp.frontend.tflite.call import Call, Converter

#: The score of a box that is no candidate any more, and what every real score is above.
_OUT, _LEAST = np.float32(-3e38), np.float32(-1e38)
_MOST_DETECTIONS = 1000


class _Options:
    """The attributes, out of a FlexBuffer; each read is one of a number."""

    def __init__(self, data: bytes) -> None:
        self._map = flexbuffers.GetRoot(data).AsMap
        self._keys = {key.AsKey: i for i, key in enumerate(self._map.Keys)}

    def number(self, name: str, default: float | None = None) -> float:
        if name not in self._keys:
            if default is None:
                raise ValueError(f"it has no attribute {name!r}")
            return default
        value: Any = self._map.Values[self._keys[name]]
        number = float(value.AsInt if value.IsInt or value.IsBool else value.AsFloat)
        if not np.isfinite(number):
            raise ValueError(f"its attribute {name!r} is {number}")
        return number

    def count(self, name: str, default: int | None = None) -> int:
        number = self.number(name, default)
        if not 0 <= number <= _MOST_DETECTIONS * 10:
            raise ValueError(f"its attribute {name!r} is {number:g}")
        return int(number)


def detection_post_process(call: Call) -> None:
    """TFLite_Detection_PostProcess."""
    options = _Options(call.operator.custom_options)
    most, classes = options.count("max_detections"), options.count("num_classes")
    regular = bool(options.number("use_regular_nms", 0))
    anchors, given = len(call.constant(2)), call.static(1)[-1]
    if not 0 < most <= _MOST_DETECTIONS or not 0 < classes <= given or call.static(0)[0] != 1:
        raise ValueError(f"{most} detections of {classes} classes are not supported")
    corners = _decoded(call, options)
    scores = call.node("Reshape", call.real(1), call.w.ints([anchors, given]))
    first, end, axis = (call.w.ints([i]) for i in (given - classes, given, 1))
    scores = call.node("Slice", scores, first, end, axis)
    if regular:
        table, steps = call.transposed(scores, [1, 0]), options.count("detections_per_class", 100)
        each = 1
    else:
        table = call.node("ReduceMax", scores, axis, keepdims=1)
        table = call.transposed(table, [1, 0])
        steps, each = most, min(options.count("max_classes_per_detection"), classes)
    if steps < 1 or each < 1:
        raise ValueError("it keeps no detection of a class")
    threshold = call.w.constant(np.float32(options.number("nms_score_threshold")))
    out = call.w.constant(_OUT)
    table = call.node("Where", call.node("GreaterOrEqual", table, threshold), table, out)
    places, best = _suppressed(call, corners, table, anchors, steps, options)
    if regular:
        rows, count = [steps * classes], min(most, steps * classes)
        best = call.node("Reshape", best, call.w.ints(rows))
        best, order = call.w.nodes_of("TopK", [best, call.w.ints([count])], 2, axis=0)
        places = call.node("Gather", call.node("Reshape", places, call.w.ints(rows)), order)
        labels = call.node("Mod", order, call.w.constant(np.int64(classes)))
        values = call.node("Reshape", best, call.w.ints([count, 1]))
        labels = call.node("Reshape", labels, call.w.ints([count, 1]))
    else:
        count = most
        places = call.node("Reshape", places, call.w.ints([count]))
        best = call.node("Reshape", best, call.w.ints([count]))
        found = call.node("Gather", scores, places, axis=0)
        values, labels = call.w.nodes_of("TopK", [found, call.w.ints([each])], 2, axis=1)
    _give(call, corners, places, best, values, labels, (most, count, each))


def _decoded(call: Call, options: _Options) -> list[str]:
    """The boxes' corners, ymin, xmin, ymax, xmax, each ``[anchors]``."""
    count = call.static(2)[0]

    def column(name: str, i: int) -> str:
        ends = [call.w.ints([end]) for end in (i, i + 1, 1)]
        return call.node("Reshape", call.node("Slice", name, *ends), call.w.ints([count]))

    boxes = call.node("Reshape", call.real(0), call.w.ints([count, 4]))
    anchors = call.real(2)
    scaled = []
    for i, name in enumerate(("y_scale", "x_scale", "h_scale", "w_scale")):
        scale = options.number(name)
        if not scale:
            raise ValueError(f"its attribute {name!r} is 0")
        scaled.append(call.node("Div", column(boxes, i), call.w.constant(np.float32(scale))))
    half = call.w.constant(np.float32(0.5))
    low, high = [], []
    for i in (0, 1):
        length = column(anchors, i + 2)
        center = call.node("Add", call.node("Mul", scaled[i], length), column(anchors, i))
        reach = call.node("Mul", call.node("Exp", scaled[i + 2]), half)
        reach = call.node("Mul", reach, length)
        low.append(call.node("Sub", center, reach))
        high.append(call.node("Add", center, reach))
    return [*low, *high]


def _area(call: Call, w: Any, corners: list[str]) -> str:
    ymin, xmin, ymax, xmax = corners
    result: str = w.node("Mul", w.node("Sub", ymax, ymin), w.node("Sub", xmax, xmin))
    return result


def _suppressed(
    call: Call, corners: list[str], table: str, anchors: int, steps: int, options: _Options
) -> tuple[str, str]:
    """The boxes chosen, ``[steps, classes, 1]``, and their scores likewise, best first.

    Args:
        call: the operator.
        corners: of all boxes.
        table: scores ``[classes, anchors]``.
        anchors: how many boxes there are.
        steps: how many are chosen of each class.
        options: the operator's.
    """
    areas = _area(call, call.w, corners)
    numbers = call.w.constant(np.arange(anchors))
    zero, out = call.w.constant(np.float32(0)), call.w.constant(_OUT)
    most = call.w.constant(np.float32(options.number("nms_iou_threshold")))
    w = call.w.inner()
    w.begin(f"{call.out().name}/suppress")
    step, alive, left = (w.names.unique(name) for name in ("step", "alive", "candidates"))
    best = w.node("ArgMax", left, axis=1, keepdims=1)
    score = w.node("ReduceMax", left, w.ints([1]), keepdims=1)
    chosen = [w.node("Gather", corner, best) for corner in corners]
    sides = []
    for i in (0, 1):
        begin = w.node("Max", corners[i], chosen[i])
        end = w.node("Min", corners[i + 2], chosen[i + 2])
        sides.append(w.node("Max", w.node("Sub", end, begin), zero))
    common = w.node("Mul", *sides)
    own = _area(call, w, chosen)
    joined = w.node("Sub", w.node("Add", areas, own), common)
    overlaps = w.node("Greater", w.node("Div", common, joined), most)
    real = w.node("And", w.node("Greater", areas, zero), w.node("Greater", own, zero))
    gone = w.node("Or", w.node("And", overlaps, real), w.node("Equal", numbers, best))
    after = w.node("Where", gone, out, left)
    results = [w.node("Identity", name) for name in (alive, after, best, score)]
    w.end()
    info, kinds = helper.make_tensor_value_info, onnx.TensorProto
    inputs = [info(step, kinds.INT64, []), info(alive, kinds.BOOL, []),
              info(left, kinds.FLOAT, [None, anchors])]  # fmt: skip
    types = (kinds.BOOL, kinds.FLOAT, kinds.INT64, kinds.FLOAT)
    ranks: tuple[list[int | None], ...] = ([], [None, anchors], [None, 1], [None, 1])
    outputs = [info(*each) for each in zip(results, types, ranks, strict=True)]
    body = helper.make_graph(w.nodes, "suppress", inputs, outputs)
    trips = call.w.constant(np.int64(steps))
    _, places, scores = call.w.nodes_of("Loop", [trips, "", table], 3, body=body)
    return places, scores


def _give(
    call: Call,
    corners: list[str],
    places: str,
    best: str,
    values: str,
    labels: str,
    sizes: tuple[int, int, int],
) -> None:
    """The four outputs: boxes, classes, scores, and how many boxes are real.

    Args:
        call: the operator.
        corners: of all boxes.
        places: the boxes chosen ``[count]``.
        best: their scores, below ``_LEAST`` behind the last real one.
        values: scores ``[count, each]`` of each box's classes.
        labels: their numbers.
        sizes: max_detections, count and each.
    """
    most, count, each = sizes
    rows = most * each
    real = call.node("Greater", best, call.w.constant(_LEAST))
    real = call.node("Reshape", real, call.w.ints([count, 1]))
    zero = call.w.constant(np.float32(0))

    def whole(name: str, width: int) -> str:
        """``[count, width]`` with zeros behind the last real row, for the whole of the output."""
        name = call.node("Where", real, name, zero)
        if count < most:
            name = call.node("Pad", name, call.w.ints([0, 0, most - count, 0]))
        return call.node("Reshape", name, call.w.ints([1, rows, *([4] if width > each else [])]))

    columns = [call.node("Gather", corner, places) for corner in corners]
    columns = [call.node("Reshape", name, call.w.ints([count, 1])) for name in columns]
    boxes = call.node("Concat", *columns * each, axis=1)
    call.give(whole(boxes, 4 * each), 0)
    call.give(whole(call.cast(labels, "float32"), each), 1)
    call.give(whole(values, each), 2)
    call.give(call.node("ReduceSum", call.cast(real, "float32"), call.w.ints([0]), keepdims=0), 3)


def non_max_suppression(call: Call) -> None:
    """NON_MAX_SUPPRESSION_V4 and V5: boxes selected, the rest of a fixed number 0, and how many.

    It strikes out what overlaps by the threshold and more; ONNX's operator what overlaps by more.
    """
    most, overlap, least = (call.constant(i).item() for i in (2, 3, 4))
    soft = call.operator.kind == "NON_MAX_SUPPRESSION_V5"
    if soft and call.constant(5).item():
        raise ValueError("scores that boxes lose by overlapping (soft_nms_sigma) are not supported")
    if not 0 <= most <= _MOST_DETECTIONS * 10:
        raise ValueError(f"{most} boxes are not supported")
    count = call.static(0)[0]
    scores = call.real(1)
    rows = call.node(
        "NonMaxSuppression",
        call.node("Reshape", call.real(0), call.w.ints([1, count, 4])),
        call.node("Reshape", scores, call.w.ints([1, 1, count])),
        call.w.ints([most]),
        call.w.constant(
            np.array([max(np.nextafter(np.float32(overlap), np.float32(-1)), 0)], "f4")
        ),
        call.w.constant(np.array([least], np.float32)),
    )
    chosen = call.node("Gather", rows, call.w.constant(np.int64(2)), axis=1)
    number = call.node("Gather", call.node("Shape", chosen), call.w.constant(np.int64(0)))
    places = call.node("Range", call.w.constant(np.int64(0)), number, call.w.constant(np.int64(1)))

    def whole(values: str, dtype: str) -> str:
        """Zeros behind the last one."""
        zeros = call.w.constant(np.zeros(most, dtype))
        return call.node("ScatterElements", zeros, places, values)

    call.give_stored(call.cast(whole(chosen, "int64"), "int32"), 0)
    if soft:
        call.give(whole(call.node("Gather", scores, chosen, axis=0), "float32"), 1)
    call.give_stored(call.cast(number, "int32"), 2 if soft else 1)


DETECT = {
    "NON_MAX_SUPPRESSION_V4": non_max_suppression,
    "NON_MAX_SUPPRESSION_V5": non_max_suppression,
}
#: Custom operator -> converter.
CUSTOM_DETECT: dict[str, Converter] = {"TFLite_Detection_PostProcess": detection_post_process}
