"""Cases of normalizations."""

from __future__ import annotations

import numpy as np

from operator_cases.draw import Draw, generates


@generates("BatchNormalization")
def batch(draw: Draw) -> None:
    dtype = draw.dtype()
    letters = {"T1", "T2"} if draw.opset >= 15 else set()
    other = draw.choose([dtype, "float32"]) if letters and dtype == "float16" else dtype
    shape = draw.shape(2, 5)
    c = shape[1]
    parts = [draw.array(other, [c]) for _ in range(3)] + [draw.array(other, [c], 0.3, 2)]
    x = draw.input(draw.array(dtype, shape))
    give = draw.input if draw.chance(0.2) else draw.constant
    draw.node([x, *map(give, parts)], **draw.maybe(epsilon=1e-3, momentum=0.8))


@generates("InstanceNormalization")
def instance(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(3, 5, (2, 3, 5, 8, 17))
    x = draw.input(draw.array(dtype, shape))
    parts = [draw.tensor(draw.array(dtype, [shape[1]])) for _ in range(2)]
    draw.case.tolerance = 1e-2 if dtype == "float16" else 1e-4
    draw.node([x, *parts], **draw.maybe(epsilon=1e-3))


@generates("LayerNormalization", "RMSNormalization")
def layer(draw: Draw) -> None:
    letters = ("T", "V" if draw.operator == "RMSNormalization" else "T")
    dtype, shape = draw.dtype(letters[0]), draw.shape(1, 4, (1, 2, 3, 5, 8, 17))
    if draw.chance(0.7) and shape[-1] == 1:
        shape[-1] = 5
    attributes = draw.maybe(axis=draw.axis(len(shape)), epsilon=1e-3)
    tail = shape[attributes.get("axis", -1) % len(shape) :]
    inputs = [draw.input(draw.array(dtype, shape)), draw.tensor(draw.array(dtype, tail))]
    if draw.operator == "LayerNormalization" and draw.chance(0.6):
        inputs.append(draw.tensor(draw.array(dtype, tail)))
    draw.case.tolerance = 1e-2 if dtype == "float16" else 1e-4
    draw.node(inputs, **attributes)


@generates("GroupNormalization")
def group(draw: Draw) -> None:
    dtype, groups = draw.dtype(), draw.size(1, 4)
    channels = groups * draw.size(1, 3)
    shape = [draw.size(1, 2), channels, *draw.shape(1, 3, (2, 3, 5, 8))]
    count = groups if draw.opset < 21 else channels
    parts = [draw.tensor(draw.array(dtype, [count])) for _ in range(2)]
    x = draw.input(draw.array(dtype, shape))
    draw.case.tolerance = 1e-2 if dtype == "float16" else 1e-4
    draw.node([x, *parts], num_groups=groups, **draw.maybe(epsilon=1e-3))


@generates("MeanVarianceNormalization")
def mean_variance(draw: Draw) -> None:
    shape = draw.sized(4, (2, 3, 5, 8))
    attributes = draw.maybe(axes=[a % 4 for a in draw.axes(4)])
    dtype = "float32"
    draw.case.tolerance = 1e-4
    if np.prod([shape[a] for a in attributes.get("axes", [0, 2, 3])]) == 1:
        attributes = {}
    draw.node([draw.input(draw.array(dtype, shape))], **attributes)


@generates("LRN")
def local_response(draw: Draw) -> None:
    shape = [draw.size(1, 2), draw.choose([1, 3, 5, 8]), *draw.shape(2, 2)]
    attributes = draw.maybe(alpha=0.01, beta=0.6, bias=1.5)
    x = draw.input(draw.array("float32", shape, -9, 9))
    draw.node([x], size=draw.choose([1, 3, 5]), **attributes)
