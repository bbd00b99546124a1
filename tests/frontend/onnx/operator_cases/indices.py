"""Cases of operators that read or write at places that data gives, and of generated tensors."""

from __future__ import annotations

import numpy as np
import onnx

from operator_cases.draw import Draw, generates


def _places(draw: Draw, shape: list[int], size: int) -> np.ndarray:
    """Indices of an axis of ``size``; some are counted from the end."""
    low = -size if draw.opset >= 11 and draw.chance(0.5) else 0
    return draw.array(draw.choose(["int32", "int64"]), shape, low, size - 1)


@generates("Gather")
def gather(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4)
    axis = draw.axis(len(shape))
    places = _places(draw, draw.shape(0, 2), shape[axis])
    data = draw.wide(dtype, shape)
    draw.node([draw.tensor(data), draw.tensor(places)], **({"axis": axis} if axis else {}))


@generates("GatherElements")
def gather_elements(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4)
    axis = draw.axis(len(shape))
    # Each axis of the indices may be shorter than the data's.
    part = [draw.size(1, size) for size in shape]
    part[axis] = draw.size(1, 6)
    places = _places(draw, part, shape[axis])
    draw.node([draw.tensor(draw.wide(dtype, shape)), draw.tensor(places)], axis=axis)


@generates("GatherND")
def gather_nd(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4)
    batch = draw.size(0, min(len(shape) - 1, 2)) if draw.opset >= 12 and draw.chance(0.4) else 0
    depth = draw.size(1, len(shape) - batch)
    rows = [*shape[:batch], *draw.shape(0, 2, (1, 2, 3))]
    places = np.stack(
        [draw.array("int64", rows, -size, size - 1) for size in shape[batch : batch + depth]], -1
    )
    attributes = {"batch_dims": batch} if batch else {}
    draw.node([draw.tensor(draw.wide(dtype, shape)), draw.tensor(places)], **attributes)


def _reduction(draw: Draw, dtype: str) -> dict[str, str]:
    """How values that meet are combined: none before operator set 16."""
    kinds = ["none", "add", "mul"] if draw.opset >= 16 else []
    kinds += ["min", "max"] if draw.opset >= 18 else []
    if dtype == "bool":
        kinds = kinds[:1]
    return draw.maybe(reduction=draw.choose(kinds)) if kinds else {}


@generates("Scatter", "ScatterElements")
def scatter_elements(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4, (1, 2, 3, 5, 8))
    axis = draw.axis(len(shape))
    part = [draw.size(1, size) for size in shape]
    attributes = _reduction(draw, dtype) if draw.operator == "ScatterElements" else {}
    # Without a reduction no two may meet: along the axis all places differ.
    other = list(part)
    other[axis] = shape[axis]
    order = np.argsort(draw.rng.random(other), axis)
    places = np.take(order, range(part[axis]), axis)
    if attributes.get("reduction", "none") != "none":
        places = draw.array("int64", part, 0, shape[axis] - 1)
    if draw.opset >= 11:
        places = np.where(draw.rng.random(part) < 0.3, places - shape[axis], places)
    places = places.astype(draw.choose(["int32", "int64"]))
    data, updates = draw.array(dtype, shape, -3, 3), draw.array(dtype, part, -3, 3)
    inputs = [draw.input(data), draw.tensor(places), draw.tensor(updates)]
    draw.node(inputs, axis=axis, **attributes)


@generates("ScatterND")
def scatter_nd(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4, (1, 2, 3, 5, 8))
    depth = draw.size(1, len(shape))
    attributes = _reduction(draw, dtype)
    cells = int(np.prod(shape[:depth]))
    count = draw.size(1, min(cells, 6))
    flat = draw.rng.permutation(cells)[:count]
    if attributes.get("reduction", "none") != "none":
        flat = draw.array("int64", [count], 0, cells - 1)
    places = np.stack(np.unravel_index(flat, shape[:depth]), -1).astype("int64")
    if draw.opset >= 11 and draw.chance(0.4):
        places = places - np.array(shape[:depth])
    updates = draw.array(dtype, [count, *shape[depth:]], -3, 3)
    data = draw.array(dtype, shape, -3, 3)
    draw.node([draw.input(data), draw.tensor(places), draw.tensor(updates)], **attributes)


@generates("OneHot")
def one_hot(draw: Draw) -> None:
    source, dtype = draw.dtype("T1"), draw.dtype("T3", without=("bool",))
    # onnx's own inference refuses a scalar, and with it ONNX Runtime.
    depth, shape = draw.size(1, 9), draw.shape(1, 3)
    low = -depth if draw.opset >= 11 and np.dtype(source).kind != "u" else 0
    places = draw.array(source, shape, low, depth - 1)
    places = np.round(places).astype(source)
    size = np.array(depth, draw.choose(["int64", "int32", "float32"]))
    values = draw.array(dtype, [2], 0, 5)
    attributes = draw.maybe(axis=draw.size(-len(shape) - 1, len(shape)))
    common = source == "int64" and dtype == "float32" and size.dtype == "int64"
    shaped = size.reshape(draw.choose([[], [1]]) if common else [])
    draw.node([draw.input(places), draw.constant(shaped), draw.tensor(values)], **attributes)


@generates("EyeLike")
def eye_like(draw: Draw) -> None:
    x = draw.input(draw.array(draw.dtype("T1"), draw.sized(2)))
    to = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(draw.dtype("T2")))
    draw.node([x], **draw.maybe(dtype=to, k=draw.size(-4, 4)))


@generates("Constant")
def constant(draw: Draw) -> None:
    dtype, shape = draw.dtype("T"), draw.shape()
    array = draw.wide(dtype, shape)
    forms = {"value": onnx.numpy_helper.from_array(array)}
    if draw.opset >= 12:
        forms |= {
            "value_int": 7, "value_float": 0.5, "value_ints": [1, 2, 3], "value_floats": [0.5, 2.0],
        }  # fmt: skip
    form = draw.choose(list(forms))
    draw.node([], **{form: forms[form]})


@generates("ConstantOfShape")
def constant_of_shape(draw: Draw) -> None:
    value = onnx.numpy_helper.from_array(draw.array(draw.dtype("T2"), [1]))
    x = draw.input(draw.array("float32", draw.shape(0, 3)))
    if draw.chance(0.5):
        shape = draw.step("Shape", [x])[0]
    else:
        shape = draw.constant(np.array(draw.shape(0, 3, (0, 1, 2, 5)), "int64"))
    draw.node([shape], **draw.maybe(value=value))


@generates("Range")
def range_(draw: Draw) -> None:
    dtype = draw.dtype()
    step = draw.choose([1, 2, 3, -1, -2])
    start, stop = draw.size(-9, 9), draw.size(-9, 9)
    if draw.chance(0.9) and (stop - start) * step < 0:
        start, stop = stop, start
    values = [np.asarray(value, dtype) for value in (start, stop, step)]
    if dtype.startswith("float"):
        values = [value / np.asarray(2, dtype) for value in values]
    draw.node([draw.constant(np.asarray(value)) for value in values])
