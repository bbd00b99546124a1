"""Cases of operators that move elements to places that lengths, conditions or offsets say."""

from __future__ import annotations

import numpy as np
import onnx

from operator_cases.draw import Draw, generates


@generates("Compress")
def compress(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 3)
    attributes = {"axis": draw.axis(len(shape))} if draw.chance(0.6) else {}
    size = shape[attributes["axis"]] if attributes else int(np.prod(shape))
    condition = draw.array("bool", [draw.size(1, size)])
    condition[-1] = True
    draw.node([draw.input(draw.wide(dtype, shape)), draw.constant(condition)], **attributes)


@generates("ReverseSequence")
def reverse_sequence(draw: Draw) -> None:
    dtype = draw.dtype(without=("bfloat16",))
    shape = [draw.size(1, 5), draw.size(1, 5), *draw.shape(0, 2, (1, 2, 3))]
    time = draw.size(0, 1)
    lengths = draw.array("int64", [shape[1 - time]], 1, shape[time])
    inputs = [draw.input(draw.wide(dtype, shape)), draw.tensor(lengths)]
    draw.node(inputs, time_axis=time, batch_axis=1 - time)


@generates("TensorScatter")
def tensor_scatter(draw: Draw) -> None:
    dtype = draw.choose(["float32", "float16", "int8"])
    shape = [draw.size(1, 3), draw.size(1, 3), draw.size(2, 6), draw.size(1, 4)]
    axis = draw.choose([-2, 1, 2, 3])
    update = list(shape)
    update[axis] = draw.size(1, shape[axis])
    circular = draw.chance(0.5)
    last = shape[axis] - (1 if circular else update[axis])
    inputs = [draw.input(draw.wide(dtype, shape)), draw.input(draw.wide(dtype, update))]
    if draw.chance(0.8):
        inputs.append(draw.tensor(draw.array("int64", shape[:1], 0, last)))
    draw.node(inputs, axis=axis, **({"mode": "circular"} if circular else {}))


@generates("CenterCropPad")
def center(draw: Draw) -> None:
    dtype, shape = draw.choose(["float32", "int64", "uint8"]), draw.shape(1, 4)
    axes = draw.axes(len(shape))
    attributes = {"axes": axes} if draw.chance(0.6) else {}
    count = len(axes) if attributes else len(shape)
    x = draw.input(draw.wide(dtype, shape))
    draw.node([x, draw.constant(draw.array("int64", [count], 1, 9))], **attributes)


@generates("BitCast")
def bit_cast(draw: Draw) -> None:
    source, to = draw.choose(
        [("float32", "int32"), ("int32", "float32"), ("float64", "uint64"), ("uint8", "int8"),
         ("int64", "float64"), ("uint16", "int16")]
    )  # fmt: skip
    array = draw.array(source, draw.shape(), 1, 100)
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(to))
    draw.node([draw.tensor(array)], to=kind)


@generates("Det")
def determinant(draw: Draw) -> None:
    size = draw.size(1, 5)
    array = draw.array("float32", [*draw.shape(0, 2, (1, 2, 3)), size, size])
    draw.node([draw.input(array)])
    draw.case.tolerance = 1e-3


@generates("Col2Im")
def columns_to_image(draw: Draw) -> None:
    dtype, dims = draw.choose(["float32", "float32", "float64"]), draw.choose([1, 2, 2, 3])
    block = [draw.size(1, 3) for _ in range(dims)]
    strides = [draw.size(1, 2) for _ in range(dims)]
    # ONNX Runtime takes dilations for 1 but of images.
    dilations = [draw.size(1, 2) if dims == 2 else 1 for _ in range(dims)]
    pads = [draw.size(0, 1) for _ in range(2 * dims)]
    image = [(b - 1) * d + 1 + draw.size(0, 4) for b, d in zip(block, dilations, strict=True)]
    counts = [
        (image[i] + pads[i] + pads[i + dims] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1
        for i in range(dims)
    ]
    shape = [draw.size(1, 2), draw.size(1, 3) * int(np.prod(block)), int(np.prod(counts))]
    inputs = [draw.input(draw.array(dtype, shape))]
    inputs += [draw.constant(np.array(sizes)) for sizes in (image, block)]
    draw.node(inputs, strides=strides, dilations=dilations, pads=pads)


@generates("DeformConv")
def deformed_convolution(draw: Draw) -> None:
    kernel = [draw.size(1, 3) for _ in range(2)]
    attributes = draw.maybe(
        strides=[draw.size(1, 2) for _ in range(2)],
        dilations=[draw.size(1, 2) for _ in range(2)],
        pads=[draw.size(0, 1) for _ in range(4)],
    )
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    pads = attributes.get("pads", [0] * 4)
    image = [(k - 1) * d + 1 + draw.size(0, 4) for k, d in zip(kernel, dilations, strict=True)]
    out = [
        (image[i] + pads[i] + pads[i + 2] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i in range(2)
    ]
    groups, offset_groups = draw.size(1, 2), draw.size(1, 2)
    channels, outputs, batch = 2 * draw.size(1, 2), groups * draw.size(1, 3), draw.size(1, 2)
    taps = kernel[0] * kernel[1] * offset_groups
    inputs = [
        draw.input(draw.array("float32", [batch, channels, *image])),
        draw.tensor(draw.array("float32", [outputs, channels // groups, *kernel])),
        draw.input(draw.array("float32", [batch, 2 * taps, *out], -2, 2)),
    ]
    if draw.chance(0.6):
        inputs.append(draw.tensor(draw.array("float32", [outputs])))
        if draw.chance(0.6):
            inputs.append(draw.input(draw.array("float32", [batch, taps, *out], 0, 1)))
    draw.node(inputs, group=groups, offset_group=offset_groups, **attributes)
    draw.case.tolerance = 1e-4


@generates("LpNormalization")
def lp_normalization(draw: Draw) -> None:
    shape = draw.shape(1, 4)
    axis = draw.size(-len(shape), len(shape) - 1)
    x = draw.input(draw.array("float32", shape))
    draw.node([x], **draw.maybe(axis=axis, p=draw.size(1, 2)))


@generates("Optional", "OptionalGetElement", "OptionalHasElement")
def optional(draw: Draw) -> None:
    x = draw.input(draw.array("float32", draw.shape()))
    if draw.operator == "OptionalHasElement" and draw.opset >= 18:
        (has,) = draw.step(draw.operator, [x] if draw.chance(0.5) else [])
        draw.give(*draw.step("And", [has, draw.constant(np.array(True))]))
        draw.give(*draw.step("Identity", [x]))
        return
    (value,) = draw.step("Optional", [x])
    if draw.operator == "OptionalHasElement":
        draw.give(*draw.step("OptionalHasElement", [value]), *draw.step("Identity", [x]))
    else:
        draw.give(*draw.step("OptionalGetElement", [value]))


@generates("NonMaxSuppression")
def suppression(draw: Draw) -> None:
    """Groups of boxes on one place each, of which as many are chosen as may be."""
    batch, classes, groups = draw.size(1, 2), draw.size(1, 3), draw.size(1, 4)
    copies = draw.size(1, 3)
    places = np.repeat(np.arange(groups), copies)
    low = places[:, None] * 10 + draw.rng.uniform(0, 0.5, (batch, groups * copies, 2))
    high = low + draw.rng.uniform(4, 4.5, low.shape)
    centred = draw.chance(0.4)
    corners = [(low + high) / 2, high - low] if centred else [low, high]
    boxes = np.concatenate(corners, axis=-1).astype("float32")
    scores = draw.rng.permutation(batch * classes * groups * copies).astype("float32")
    inputs = [
        draw.input(boxes),
        draw.input(scores.reshape(batch, classes, -1) + 1),
        draw.constant(np.array([draw.size(1, groups)])),
        draw.constant(np.array([0.3], "float32")),
    ]
    if draw.chance(0.5):
        inputs.append(draw.constant(np.array([0.5], "float32")))
    draw.node(inputs, **({"center_point_box": 1} if centred else {}))
