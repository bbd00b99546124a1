"""Cases of operators that only move data, or say how it lies."""

from __future__ import annotations

import numpy as np

from operator_cases.draw import Draw, generates


@generates("Transpose")
def transpose(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(0, 5)
    order = [int(i) for i in draw.rng.permutation(len(shape))]
    attributes = draw.maybe(perm=order) if shape else {}
    draw.node([draw.tensor(draw.wide(dtype, shape))], **attributes)


@generates("Reshape")
def reshape(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(0, 4)
    pieces = [int(size) for size in shape]
    wanted = [*pieces, 1] if draw.chance(0.3) else [int(np.prod(pieces[:2])), *pieces[2:]]
    if draw.chance(0.5) and wanted:
        wanted[draw.size(0, len(wanted) - 1)] = -1
    elif draw.chance(0.4) and wanted and shape and wanted[0] == shape[0]:
        wanted[0] = 0
    if wanted.count(-1) == 0 and int(np.prod(wanted)) not in (int(np.prod(shape)), 0):
        wanted = pieces
    x = draw.tensor(draw.wide(dtype, shape))
    draw.node([x, draw.constant(np.array(wanted, "int64"))])


@generates("Flatten")
def flatten(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4)
    axis = draw.size(-len(shape) if draw.opset >= 11 else 0, len(shape))
    draw.node([draw.tensor(draw.wide(dtype, shape))], **draw.maybe(axis=axis))


@generates("Squeeze")
def squeeze(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 5, (1, 1, 2, 3))
    ones = [i for i, size in enumerate(shape) if size == 1]
    axes = [i - (len(shape) if draw.opset >= 11 and draw.chance(0.3) else 0) for i in ones]
    axes = axes[: draw.size(1, len(axes))] if axes else []
    x = draw.tensor(draw.wide(dtype, shape))
    if not axes or draw.chance(0.3):
        draw.node([x])
    elif draw.opset < 13:
        draw.node([x], axes=axes)
    else:
        draw.node([x, draw.constant(np.array(axes))])


@generates("Unsqueeze")
def unsqueeze(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(0, 3)
    rank = len(shape) + draw.size(1, 2)
    axes = draw.axes(rank, rank - len(shape), rank - len(shape))
    x = draw.tensor(draw.wide(dtype, shape))
    if draw.opset < 13:
        draw.node([x], axes=axes)
    else:
        draw.node([x, draw.constant(np.array(axes))])


@generates("Concat")
def concat(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4)
    axis = draw.axis(len(shape))
    names = []
    for _ in range(draw.size(1, 4)):
        part = list(shape)
        part[axis] = draw.size(1, 5)
        names.append(draw.tensor(draw.wide(dtype, part)))
    if draw.chance(0.2):
        names.insert(draw.size(0, len(names)), _nothing(draw, names[0], axis))
    draw.node(names, axis=axis)


def _nothing(draw: Draw, name: str, axis: int) -> str:
    """An empty part of the tensor ``name``."""
    if draw.opset < 10:
        return draw.step("Slice", [name], starts=[0], ends=[0], axes=[max(axis, 0)])[0]
    bounds = [draw.constant(np.array([value])) for value in (0, 0, axis)]
    return draw.step("Slice", [name, *bounds])[0]


@generates("Split")
def split(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4)
    axis = draw.axis(len(shape))
    parts = draw.size(1, 3)
    attributes = {"axis": axis}
    x_shape = list(shape)
    sizes = [draw.size(0 if draw.opset >= 13 and draw.chance(0.2) else 1, 4) for _ in range(parts)]
    sizes[0] = max(sizes[0], 1)
    x_shape[axis] = sum(sizes)
    given = draw.chance(0.6)
    if not given:
        x_shape[axis] = parts * draw.size(1, 4)
        if draw.opset >= 18:
            attributes["num_outputs"] = parts
            x_shape[axis] += draw.size(0, 1) if x_shape[axis] > parts * (parts - 1) else 0
            size = -(-x_shape[axis] // parts)
            x_shape[axis] = max(x_shape[axis], size * (parts - 1) + 1)
    x = draw.input(draw.wide(dtype, x_shape))
    if not given:
        draw.node([x], parts, **attributes)
    elif draw.opset < 13:
        draw.node([x], parts, split=sizes, **attributes)
    else:
        draw.node([x, draw.constant(np.array(sizes))], parts, **attributes)


@generates("Slice")
def slice_(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4)
    axes = draw.axes(len(shape))
    far = draw.choose([1, 2, 1000])
    starts = [draw.size(-shape[a] * far, shape[a] - 1) for a in axes]
    ends = [draw.size(1 - shape[a], shape[a] * far) for a in axes]
    steps = [draw.choose([1, 1, 2, 3]) for _ in axes]
    if draw.opset >= 10 and draw.chance(0.3):
        steps = [-step for step in steps]
        starts, ends = ends, [draw.choose([start - 1, -(2**62)]) for start in starts]
    x = draw.input(draw.wide(dtype, shape))
    if draw.opset < 10:
        draw.node([x], starts=starts, ends=ends, axes=[a % len(shape) for a in axes])
        return
    kind = draw.choose(["int32", "int64"])
    if kind == "int32":
        ends = [int(np.clip(end, -(2**31), 2**31 - 1)) for end in ends]
    values = [starts, ends, axes, steps]
    if draw.chance(0.2):
        values = values[:3]
    draw.node([x, *(draw.constant(np.array(value, kind)) for value in values)])


@generates("Expand")
def expand(draw: Draw) -> None:
    dtype = draw.dtype()
    left, right = draw.broadcast(2)
    x = draw.tensor(draw.wide(dtype, left))
    draw.node([x, draw.constant(np.array(right, "int64"))])


@generates("Tile")
def tile(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4, (1, 2, 3, 5))
    repeats = np.array([draw.size(1, 3) for _ in shape])
    draw.node([draw.tensor(draw.wide(dtype, shape)), draw.constant(repeats)])


@generates("DepthToSpace", "SpaceToDepth")
def space(draw: Draw) -> None:
    dtype, block = draw.dtype(), draw.size(1, 3)
    n, c, h, w = draw.size(1, 2), draw.size(1, 3), draw.size(1, 4), draw.size(1, 4)
    if draw.operator == "DepthToSpace":
        shape = [n, c * block * block, h, w]
        attributes = draw.maybe(mode=draw.choose(["DCR", "CRD"])) if draw.opset >= 11 else {}
    else:
        shape, attributes = [n, c, h * block, w * block], {}
    draw.node([draw.input(draw.wide(dtype, shape))], blocksize=block, **attributes)


@generates("Pad")
def pad(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4, (2, 3, 5, 8))
    modes = ["constant", "constant", "reflect", "edge"] + (["wrap"] if draw.opset >= 19 else [])
    mode = draw.choose(modes)
    pads = [draw.size(0, size - 1 if mode in ("reflect", "wrap") else 3) for size in shape * 2]
    if draw.chance(0.2) and mode == "constant" and dtype not in ("int16", "uint16"):
        cut = [draw.chance(0.3) and size > 2 for size in shape * 2]
        pads = [-1 if less else pad for less, pad in zip(cut, pads, strict=True)]
    x = draw.input(draw.wide(dtype, shape))
    if draw.opset < 11:
        draw.node([x], mode=mode, pads=pads, **draw.maybe(value=1.5))
        return
    value = np.asarray(draw.wide(dtype, []))
    inputs = [x]
    axes = draw.axes(len(shape)) if draw.opset >= 18 and draw.chance(0.3) else None
    if axes is not None:
        pads = [pads[a % len(shape) + half * len(shape)] for half in (0, 1) for a in axes]
    inputs.append(draw.constant(np.array(pads)))
    if mode == "constant" and draw.chance(0.6):
        inputs.append(draw.constant(value) if draw.chance(0.7) else draw.input(value))
    elif axes is not None:
        inputs.append("")
    if axes is not None:
        inputs += [""] * (3 - len(inputs))
        inputs.append(draw.constant(np.array(axes)))
    draw.node(inputs, mode=mode)


@generates("Trilu")
def triangle(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(2, 4)
    inputs = [draw.tensor(draw.wide(dtype, shape))]
    if draw.chance(0.6):
        inputs.append(draw.constant(np.asarray(draw.size(-9, 9))))
    draw.node(inputs, **draw.maybe(upper=draw.size(0, 1)))


@generates("Shape", "Size")
def shape_of(draw: Draw) -> None:
    x = draw.input(draw.wide(draw.dtype(), draw.shape()))
    attributes = {}
    if draw.operator == "Shape" and draw.opset >= 15:
        attributes = draw.maybe(start=draw.size(-5, 5), end=draw.size(-5, 5))
    draw.node([x], **attributes)


@generates("Dropout")
def dropout(draw: Draw) -> None:
    dtype = draw.dtype()
    x, outputs = draw.tensor(draw.array(dtype, draw.shape())), draw.size(1, 2)
    if draw.opset < 12:
        draw.node([x], 1, **draw.maybe(ratio=0.3))
    else:
        inputs = [x]
        if draw.chance(0.5):
            inputs.append(draw.constant(np.array(0.3, "float32")))
        draw.node(inputs, outputs)


@generates("If")
def condition(draw: Draw) -> None:
    import onnx

    dtype, shape = draw.dtype("V"), draw.shape()
    x, y = (draw.input(draw.wide(dtype, shape)) for _ in range(2))
    element_type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    branches = {}
    for name, operands in (("then_branch", [x, y]), ("else_branch", [y, x])):
        out = onnx.helper.make_tensor_value_info(f"{name}_out", element_type, shape)
        step = onnx.helper.make_node("Identity", operands[:1], [out.name])
        branches[name] = onnx.helper.make_graph([step], name, [], [out])
    draw.node([draw.tensor(draw.array("bool", draw.choose([[], [1]])))], **branches)
