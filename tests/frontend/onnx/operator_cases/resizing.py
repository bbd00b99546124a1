"""Cases of Resize and Upsample."""

from __future__ import annotations

import numpy as np

from operator_cases.draw import Draw, generates


@generates("Upsample")
def upsample(draw: Draw) -> None:
    dtype = draw.choose(["float32", "float32", "uint8", "int32"])
    shape = [1, draw.size(1, 3), draw.size(1, 9), draw.size(1, 9)]
    scales = [1.0, 1.0, *(draw.choose([1.0, 2.0, 3.0, 1.5]) for _ in range(2))]
    mode = draw.choose(["nearest", "linear"]) if dtype.startswith("float") else "nearest"
    x = draw.input(draw.array(dtype, shape, 0, 99))
    if draw.opset < 9:
        draw.node([x], scales=scales, mode=mode)
    else:
        draw.node([x, draw.constant(np.array(scales, "float32"))], mode=mode)


_TRANSFORMS = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
_ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@generates("Resize")
def resize(draw: Draw) -> None:
    letter = "T" if draw.opset < 11 else "T1"
    dtype = draw.dtype(letter, without=("bool",))
    if dtype not in ("float32", "float64", "float16", "uint8", "int8", "int32"):
        dtype = draw.choose(["uint8", "int32", "int8"])  # what ONNX Runtime resizes
    if dtype == "float64" and draw.opset < 11:
        dtype = "float32"  # neither reference has it
    shape = [1, draw.size(1, 3), draw.size(2, 12), draw.size(2, 12)]
    x = draw.input(draw.array(dtype, shape, -99, 99))
    if draw.opset < 11:
        scales = np.array([1, 1, *(draw.choose([1, 2, 3, 1.5]) for _ in range(2))], "float32")
        mode = draw.choose(["nearest", "linear"])
        draw.node([x, draw.constant(scales)], mode=mode)
        if mode == "linear" and not dtype.startswith("float"):
            draw.case.tolerance = 1
        return
    mode = draw.choose(["nearest", "linear", "cubic"])
    if not dtype.startswith("float") and mode != "nearest":
        draw.case.tolerance = 1  # sums in another order fall on the other side of a whole number
    if dtype == "float64" and mode != "nearest":
        draw.case.tolerance = 1e-6  # ONNX Runtime's weights are of single precision, as ours
    if not dtype.startswith("float") and mode == "cubic":
        mode = "linear"  # ONNX Runtime has cubic for floats only
    attributes = draw.maybe(coordinate_transformation_mode=draw.choose(_TRANSFORMS))
    if mode == "nearest":
        attributes |= draw.maybe(nearest_mode=draw.choose(_ROUNDINGS))
    if mode == "cubic":
        attributes |= draw.maybe(cubic_coeff_a=-0.5, exclude_outside=draw.size(0, 1))
    # ONNX Runtime cuts int8 to 0 to 255 there.
    if draw.opset >= 18 and mode != "nearest" and dtype != "int8" and draw.chance(0.25):
        attributes["antialias"] = 1
    targets, scales = [draw.size(1, 20) for _ in range(2)], []
    # Of doubles onnx's reference, which rounds sizes in another precision, is the only one.
    if draw.chance(0.5) and dtype != "float64":
        scales = [t / s for t, s in zip(targets, shape[2:], strict=True)]  # as torch exports
        if draw.chance(0.4):
            scales = [draw.choose([0.5, 1.0, 2.0, 3.0, 1.7, 0.6]) for _ in range(2)]
        inputs = [x, "", draw.constant(np.array([1, 1, *scales], "float32"))]
    else:
        inputs = [x, "", "", draw.constant(np.array([*shape[:2], *targets]))]
    if draw.opset < 13:
        inputs[1] = draw.constant(np.zeros(0, "float32"))
        if len(inputs) == 4:
            inputs[2] = draw.constant(np.zeros(0, "float32"))
    # ONNX Runtime leaves an axis as it is, whatever the region, where its size stays.
    stays = 1.0 in scales or any(t == s for t, s in zip(targets, shape[2:], strict=True))
    if "antialias" not in attributes and not stays and draw.chance(0.2):
        starts, sizes = draw.rng.uniform(-0.3, 0.5, 2), draw.rng.uniform(0.4, 1.2, 2)
        region = np.array([0, 0, *starts, 1, 1, *(starts + sizes)], "float32")
        inputs[1] = draw.constant(region)
        attributes |= draw.maybe(extrapolation_value=2.5)
        attributes["coordinate_transformation_mode"] = "tf_crop_and_resize"
    draw.node(inputs, mode=mode, **attributes)
