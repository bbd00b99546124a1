"""Cases of operators that slide a window over an image, or sample it."""

from __future__ import annotations

from typing import Any

import numpy as np

from operator_cases.draw import Draw, generates


def _geometry(draw: Draw, dims: int, kernel: list[int], *, dilated: bool = True) -> dict[str, Any]:
    """Strides, dilations and pads of a window; pads smaller than the window."""
    attributes = draw.maybe(strides=[draw.size(1, 3) for _ in range(dims)])
    if draw.chance(0.3):
        attributes["auto_pad"] = draw.choose(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])
    if attributes.get("auto_pad", "").startswith("SAME"):
        # ONNX Runtime refuses dilations, and steps over what the window does not see.
        pairs = zip(attributes.get("strides", kernel), kernel, strict=True)
        attributes["strides"] = [min(pair) for pair in pairs]
    elif dilated:
        attributes |= draw.maybe(dilations=[draw.size(1, 2) for _ in range(dims)])
    if attributes.get("auto_pad", "NOTSET") == "NOTSET":
        attributes |= draw.maybe(pads=[draw.size(0, size - 1) for _ in (0, 1) for size in kernel])
    return attributes


def _image(draw: Draw, dims: int, kernel: list[int], attributes: dict[str, Any]) -> list[int]:
    """Sizes of an image into which the window fits."""
    dilations = attributes.get("dilations", [1] * dims)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    return [extent + draw.size(0, 9 if dims < 3 else 4) for extent in extents]


@generates("Conv")
def convolution(draw: Draw) -> None:
    dtype, dims = draw.dtype(), draw.choose([1, 2, 2, 2, 3])
    kernel = [draw.choose([1, 1, 2, 3, 3, 5]) for _ in range(dims)]
    attributes = _geometry(draw, dims, kernel)
    image = _image(draw, dims, kernel, attributes)
    groups = draw.choose([1, 1, 2, 3])
    inner, outer = groups * draw.choose([1, 2, 5]), groups * draw.choose([1, 2, 4, 7])
    if groups > 1:
        attributes["group"] = groups
    attributes |= draw.maybe(kernel_shape=kernel)
    x = draw.input(draw.array(dtype, [draw.size(1, 2), inner, *image]))
    w = draw.array(dtype, [outer, inner // groups, *kernel], -1, 1)
    inputs = [x, draw.constant(w) if draw.chance(0.8) else draw.input(w)]
    if draw.chance(0.6):
        inputs.append(draw.tensor(draw.array(dtype, [outer])))
    draw.node(inputs, **attributes)


@generates("ConvInteger")
def integer_convolution(draw: Draw) -> None:
    types, dims = [draw.dtype("T1"), draw.dtype("T2")], draw.choose([1, 2, 2])
    kernel = [draw.choose([1, 2, 3]) for _ in range(dims)]
    attributes = _geometry(draw, dims, kernel)
    image = _image(draw, dims, kernel, attributes)
    groups = draw.choose([1, 1, 2])
    inner, outer = groups * draw.choose([1, 2, 5]), groups * draw.choose([1, 2, 4])
    if groups > 1:
        attributes["group"] = groups
    shapes = [draw.size(1, 2), inner, *image], [outer, inner // groups, *kernel]
    x, w = (draw.array(t, s, -255, 255) for t, s in zip(types, shapes, strict=True))
    inputs = [draw.input(x), draw.constant(w) if draw.chance(0.8) else draw.input(w)]
    if draw.chance(0.7):
        inputs.append(draw.tensor(draw.array(types[0], [], 0, 9)))
        if draw.chance(0.6):
            inputs.append(draw.constant(draw.array(types[1], [], 0, 9)))
    draw.node(inputs, **attributes)


@generates("ConvTranspose")
def transposed_convolution(draw: Draw) -> None:
    dtype, dims = draw.dtype(), draw.choose([1, 2, 2, 3])
    kernel = [draw.choose([1, 2, 3, 3, 4]) for _ in range(dims)]
    attributes = _geometry(draw, dims, kernel)
    strides = attributes.get("strides", [1] * dims)
    if draw.chance(0.4):
        attributes["output_padding"] = [draw.size(0, stride - 1) for stride in strides]
    # onnx's reference, which float64 is left to, knows one group and one image.
    groups = draw.choose([1, 1, 2, 3]) if dtype != "float64" else 1
    batch = draw.size(1, 2) if dtype != "float64" else 1
    inner, outer = groups * draw.choose([1, 2, 4]), draw.choose([1, 2, 5])
    if groups > 1:
        attributes["group"] = groups
    image = [draw.size(3, 7 if dims < 3 else 4) for _ in range(dims)]
    x = draw.input(draw.array(dtype, [batch, inner, *image]))
    w = draw.array(dtype, [inner, outer, *kernel], -1, 1)
    inputs = [x, draw.constant(w) if draw.chance(0.8) else draw.input(w)]
    if draw.chance(0.5):
        inputs.append(draw.tensor(draw.array(dtype, [outer * groups])))
    draw.node(inputs, **attributes)


@generates("MaxPool", "AveragePool", "LpPool")
def pool(draw: Draw) -> None:
    dtype, dims = draw.dtype(), draw.choose([1, 2, 2, 2, 3])
    kernel = [draw.choose([1, 2, 3, 3, 4]) for _ in range(dims)]
    if draw.opset < 8:
        dtype = "float32"
    since = {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[draw.operator]
    attributes = _geometry(draw, dims, kernel, dilated=draw.opset >= since)
    image = _image(draw, dims, kernel, attributes)
    ceils = draw.opset >= {"MaxPool": 10, "AveragePool": 10, "LpPool": 18}[draw.operator]
    if draw.operator == "LpPool" and dtype != "float32":
        ceils = False  # onnx's reference divides by fewer elements there than it multiplies by
    if ceils and "auto_pad" not in attributes:
        attributes |= draw.maybe(ceil_mode=draw.size(0, 1))
    if draw.operator == "AveragePool":
        attributes |= draw.maybe(count_include_pad=draw.size(0, 1))
    if draw.operator == "LpPool":
        attributes |= draw.maybe(p=draw.size(1, 3))
    shape = [draw.size(1, 2), draw.choose([1, 3, 8]), *image]
    outputs = 1
    if draw.operator == "MaxPool" and draw.opset >= 8 and draw.chance(0.3):
        outputs = 2
        attributes |= draw.maybe(storage_order=draw.size(0, 1))
    x = draw.input(draw.array(dtype, shape, -9, 9))
    draw.node([x], outputs, kernel_shape=kernel, **attributes)


@generates("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(draw: Draw) -> None:
    lp = draw.operator == "GlobalLpPool"
    dtype, shape = "float32" if lp else draw.dtype(), draw.shape(3, 5)
    if draw.operator == "GlobalMaxPool" and dtype == "float64":
        shape = draw.shape(4, 4)  # ONNX Runtime has no kernel, and onnx's knows images only
    x = draw.input(draw.array(dtype, shape))
    attributes = draw.maybe(p=draw.size(1, 3)) if lp else {}
    draw.node([x], **attributes)


@generates("MaxUnpool")
def unpool(draw: Draw) -> None:
    dtype, dims = "float32", draw.choose([1, 2, 2, 3])
    kernel = [draw.size(2, 3) for _ in range(dims)]
    attributes = draw.maybe(strides=kernel)
    pooled = [draw.size(1, 4) for _ in range(dims)]
    strides = attributes.get("strides", [1] * dims)
    if draw.chance(0.3):
        attributes["pads"] = [draw.size(0, 1) for _ in range(2 * dims)]
    pads = attributes.get("pads", [0] * 2 * dims)
    full = [
        max((p - 1) * s + k - pads[i] - pads[i + dims], 1)
        for i, (p, s, k) in enumerate(zip(pooled, strides, kernel, strict=True))
    ]
    shape = [draw.size(1, 2), draw.size(1, 3), *pooled]
    count = int(np.prod(shape))
    total = int(np.prod(shape[:2])) * int(np.prod(full))
    inputs = [draw.input(draw.array(dtype, shape))]
    if draw.chance(0.3):
        full = [size + draw.size(0, 2) for size in full]
        total = int(np.prod(shape[:2])) * int(np.prod(full))
    if count > total:
        full = [size * 3 for size in full]
        total = int(np.prod(shape[:2])) * int(np.prod(full))
    inputs.append(draw.tensor(draw.rng.permutation(total)[:count].reshape(shape)))
    size = np.array([*shape[:2], *full])
    inferred = [
        (p - 1) * s + k - pads[i] - pads[i + dims]
        for i, (p, s, k) in enumerate(zip(pooled, strides, kernel, strict=True))
    ]
    if list(size[2:]) != inferred:
        inputs.append(draw.constant(size))
    draw.node(inputs, kernel_shape=kernel, **attributes)


def _boxes(draw: Draw, dtype: str, count: int, height: float, width: float) -> np.ndarray:
    """Boxes (count, 4) of corners x, y, x, y within an image."""
    x = np.sort(draw.array("float32", [count, 2], 0, width), axis=1)
    y = np.sort(draw.array("float32", [count, 2], 0, height), axis=1)
    return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1).astype(dtype)


@generates("RoiAlign")
def roi_align(draw: Draw) -> None:
    dtype = draw.dtype("T1")
    n, c, h, w = draw.size(1, 2), draw.size(1, 3), draw.size(4, 12), draw.size(4, 12)
    scale = draw.choose([1.0, 0.5, 0.25, 2.0])
    count = draw.size(1, 4)
    boxes = _boxes(draw, dtype, count, (h - 1) / scale, (w - 1) / scale)
    attributes = draw.maybe(
        mode=draw.choose(["avg", "max"]), output_height=draw.size(1, 4),
        output_width=draw.size(1, 4), sampling_ratio=draw.size(0, 3),
        spatial_scale=scale,
    )  # fmt: skip
    if "spatial_scale" not in attributes:
        boxes = _boxes(draw, dtype, count, h - 1, w - 1)
    if draw.opset >= 16:
        modes = ["half_pixel", "output_half_pixel"]
        attributes |= draw.maybe(coordinate_transformation_mode=draw.choose(modes))
    batch = draw.array("int64", [count], 0, n - 1)
    draw.node(
        [draw.input(draw.array(dtype, [n, c, h, w])), draw.tensor(boxes), draw.tensor(batch)],
        **attributes,
    )


@generates("MaxRoiPool")
def roi_pool(draw: Draw) -> None:
    dtype = "float32"
    n, c, h, w = draw.size(1, 2), draw.size(1, 3), draw.size(4, 12), draw.size(4, 12)
    scale, count = draw.choose([1.0, 0.5]), draw.size(1, 4)
    boxes = np.floor(_boxes(draw, dtype, count, (h - 1) / scale, (w - 1) / scale)).astype(dtype)
    batch = draw.array("int64", [count, 1], 0, n - 1).astype(dtype)
    rois = np.concatenate([batch, boxes], axis=1)
    draw.node(
        [draw.input(draw.array(dtype, [n, c, h, w])), draw.tensor(rois)],
        pooled_shape=[draw.size(1, 3), draw.size(1, 3)],
        spatial_scale=scale,
    )


@generates("AffineGrid")
def affine_grid(draw: Draw) -> None:
    dtype, dims = draw.dtype("T1"), draw.size(2, 3)
    n = draw.size(1, 2)
    size = [n, draw.size(1, 3), *(draw.size(2, 6) for _ in range(dims))]
    theta = draw.input(draw.array(dtype, [n, dims, dims + 1], -1, 1))
    attributes = draw.maybe(align_corners=draw.size(0, 1))
    if dtype == "float64":
        draw.case.tolerance = 1e-6  # the standard's body has constants of single precision
    draw.node([theta, draw.constant(np.array(size))], **attributes)


@generates("GridSample")
def grid_sample(draw: Draw) -> None:
    # What a fraction of an integer is rounded to is not said.
    dtype, other = draw.choose(["float32", "float32", "float16", "float64"]), draw.dtype("T2")
    if draw.opset < 20:
        dtype = other = "float32"  # onnx's reference knows no cubic modes of then
    volume = draw.opset >= 20 and draw.chance(0.3)
    dims = 3 if volume else 2
    n = draw.size(1, 2)
    image = [draw.size(2, 7) for _ in range(dims)]
    grid = draw.array(other, [n, *(draw.size(1, 5) for _ in range(dims)), dims], -1.2, 1.2)
    cubic, linear = ("bicubic", "bilinear") if draw.opset < 20 else ("cubic", "linear")
    mode = draw.choose([linear, "nearest", linear if volume else cubic])
    attributes = draw.maybe(
        mode=mode, padding_mode=draw.choose(["zeros", "border", "reflection"]),
        align_corners=draw.size(0, 1),
    )  # fmt: skip
    if mode == cubic and not volume:
        # At a border onnx's reference, which takes two types, differs from ONNX Runtime.
        dtype, other, grid = "float32", "float32", grid.astype("float32")
    x = draw.input(draw.array(dtype, [n, draw.size(1, 3), *image]))
    draw.case.tolerance = 2e-4 if "16" not in dtype + other else 2e-2
    draw.node([x, draw.tensor(grid)], **attributes)
