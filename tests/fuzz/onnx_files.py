"""ONNX files: valid models edited through protobuf's reflection, or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import odd
import onnx
import onnx.parser
from google.protobuf.descriptor import FieldDescriptor

from tvmcomp.frontend import load_model

_OPSET = '<ir_version: 9, opset_import: ["" : 18, "my" : 1]>\n'
_MODELS = (
    # A convolutional network.
    """net (float[1,3,8,8] x) => (float[1,4] y)
    <float[2,3,3,3] w = {"""
    + ", ".join(str(i / 54) for i in range(54))
    + """}, float[2] b = {1, 2},
     float[4,2] g = {1, 2, 3, 4, 5, 6, 7, 8}, float[4] h = {0, 1, 0, 1}> {
      c = Conv <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x, w, b)
      r = Clip (c)  p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
      a = GlobalAveragePool (p)  f = Flatten <axis = 1> (a)  z = Gemm <transB = 1> (f, g, h)
      y = Softmax <axis = 1> (z) }""",
    # Moves of data, with shapes in constants.
    """net (float[2,6] x) => (float[6,2] y, float[1,6] z)
    <int64[2] s = {6, 2}, int64[1] zero = {0}, int64[1] one = {1}, int64[2] k = {2, 1},
     int64[2] parts = {2, 4}> {
      r = Reshape (x, s)  t = Transpose <perm = [1, 0]> (x)  a = Add (r, t)
      u, v = Split <axis = 0> (a, parts)  c = Concat <axis = 0> (v, u)
      e = Tile (x, k)  q = Slice (e, zero, one, zero)  w = Unsqueeze (q, zero)
      z = Squeeze (w, zero)  i = Gather <axis = 0> (c, zero)  y = Add (c, i) }""",
    # Folding: shapes computed from shapes.
    """net (float[1,4] x) => (float[1,4] y)
    <int64 start = {0}, int64 limit = {4}, int64 delta = {1}, float k = {2}, int64[2] d = {3, 3}> {
      s = Shape (x)  c = ConstantOfShape (s)  r = Range (start, limit, delta)
      f = Cast <to = 1> (r)  n = Expand (k, s)  m = Mul (f, n)
      h = EyeLike (c)  p = Pow (c, k)  a = Add (m, p)  q = Add (a, h)
      o = OneHot (d, limit, s)  l = Size (o)  g = Cast <to = 1> (l)  b = Mul (q, g)
      y = Add (x, b) }""",
    # Quantized, as other tools write it.
    """net (float[1,4] x) => (float[1,2] y)
    <float s = {0.1}, uint8 z = {128}, int8[2,4] w = {1, 2, 3, 4, -5, -6, -7, -8},
     float[2] ws = {0.5, 0.25}, int8[2] wz = {0, 0}> {
      q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)
      v = DequantizeLinear <axis = 0> (w, ws, wz)  t = Transpose <perm = [1, 0]> (v)
      m = MatMul (d, t)  p = QuantizeLinear (m, s, z)  y = DequantizeLinear (p, s, z) }""",
    # Normalization, reductions and selections.
    """net (float[2,3,4] x, int64[2,1] i) => (float[2,3,4] y, int64[2,3,1] j)
    <float[4] g = {1, 1, 1, 1}, float[4] b = {0, 0, 0, 0}, int64[1] last = {2}, int64[1] k = {2}> {
      l = LayerNormalization <axis = -1> (x, g, b)  m = ReduceMean <keepdims = 1> (l, last)
      v, n = TopK <axis = 1> (x, k)  o = ArgMax <axis = 1> (x)  c = Less (x, m)
      w = Where (c, x, l)  a = CumSum (w, last)  e = Einsum <equation = "abc,abd->acd"> (a, x)
      j = ArgMax <axis = 2> (w)  y = Erf (w) }""",
    # An image resized, padded and normalized.
    """net (float[1,2,4,4] x) => (float[1,2,8,8] y)
    <float[4] s = {1, 1, 2, 2}, float[2] g = {1, 2}, int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}> {
      n = Resize <mode = "linear"> (x, , s)  i = InstanceNormalization (n, g, g)
      d = Pad <mode = "reflect"> (i, p)  a = AveragePool <kernel_shape = [3, 3]> (d)
      h = HardSwish (a)  u = Unsqueezed (h)  y = Identity (u) }""".replace(
        "u = Unsqueezed (h)  y = Identity (u)", "y = BatchNormalization (h, g, g, g, g)"
    ),
    # Indices, scatters and transposed convolutions.
    """net (float[1,2,4,4] x, int64[1,2] i) => (float[1,2,9,9] y, float[2,2] z)
    <float[2,2,3,3] w = {"""
    + ", ".join(["0.5"] * 36)
    + """}, int64[2,1] n = {0, 1},
     float[2,2] u = {1, 2, 3, 4}, float[3,2] t = {1, 2, 3, 4, 5, 6}> {
      y = ConvTranspose <strides = [2, 2]> (x, w)  g = GatherElements <axis = 0> (t, i)
      s = ScatterND (t, n, u)  e = GatherND (s, n)  m = MatMul (e, u)  z = Add (m, g) }""",
    # Functions of the model's own, one in the other.
    """net (float[1,4] x) => (float[1,4] y) { a = my.Twice (x)  y = my.Twice (a) }
    <domain: "my", opset_import: ["" : 18, "my" : 1]>
    Twice (a) => (b) { c = my.Once (a) b = Add (c, a) }
    <domain: "my", opset_import: ["" : 18]> Once (a) => (b) { b = Relu (a) }""",
    # A branch whose condition is known.
    """net (float[1,4] x) => (float[1,4] y) <bool c = {1}> {
      y = If (c) <
        then_branch = then () => (float[1,4] t) { t = Relu (x) },
        else_branch = other () => (float[1,4] e) { e = Neg (x) } > }""",
)
_SCALARS = {
    FieldDescriptor.CPPTYPE_INT32: 31,
    FieldDescriptor.CPPTYPE_INT64: 63,
    FieldDescriptor.CPPTYPE_UINT32: 32,
    FieldDescriptor.CPPTYPE_UINT64: 64,
}
_OPERATORS = tuple(
    sorted(
        {
            schema.name
            for schema in onnx.defs.get_all_schemas()
            if not schema.domain and schema.since_version <= 18
        }
    )
)


def _parsed() -> list[onnx.ModelProto]:
    models = [onnx.parser.parse_model(_OPSET + text) for text in _MODELS]
    for model in models:
        for node in model.graph.node[::2]:
            node.name = f"/{node.op_type}"
    return models


_SEEDS = _parsed()


def make(rng: Random, folder: Path) -> Path:
    """Write one input."""
    model = onnx.ModelProto()
    model.CopyFrom(rng.choice(_SEEDS))
    path = folder / "net.onnx"
    kind = rng.randrange(12)
    if kind == 0:
        path.write_bytes(odd.damaged(model.SerializeToString(), rng))
        return path
    if kind == 1:
        _deepen(model, rng)
    elif kind == 2:
        _store_outside(model, rng, folder)
    elif kind <= 5:
        for _ in range(rng.choice([1, 2])):
            _change_tensor(model, rng)
    elif kind <= 7:
        _change_node(model, rng)
    for _ in range(rng.choice([0, 1, 1, 2, 4]) if kind <= 7 else rng.choice([1, 1, 2, 5])):
        _change_anything(model, rng)
    path.write_bytes(model.SerializeToString())
    return path


def _messages(message: Any, depth: int = 0) -> Iterator[Any]:
    yield message
    if depth > 12:
        return
    for field, value in message.ListFields():
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for inner in value if field.is_repeated else (value,):
                yield from _messages(inner, depth + 1)


def _change_anything(model: onnx.ModelProto, rng: Random) -> None:
    """One field of one message, of those that are set or any."""
    message = rng.choice(list(_messages(model)))
    set_fields = [field for field, _ in message.ListFields()]
    if set_fields and rng.random() < 0.85:
        field = rng.choice(set_fields)
    else:
        field = rng.choice(message.DESCRIPTOR.fields)
    if rng.random() < 0.1:
        message.ClearField(field.name)
        return
    value = getattr(message, field.name)
    if field.is_repeated:
        _change_list(value, field, rng)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        others = [each for each in _messages(model) if each.DESCRIPTOR is value.DESCRIPTOR]
        if others and rng.random() < 0.7:
            copied = type(value)()
            copied.CopyFrom(rng.choice(others))
            value.CopyFrom(copied)
        else:
            value.SetInParent()
    else:
        setattr(message, field.name, _scalar(field, value, rng))


def _change_list(value: Any, field: FieldDescriptor, rng: Random) -> None:
    is_message = field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE
    if not len(value):
        if is_message:
            value.add()
        else:
            value.append(_scalar(field, None, rng))
        return
    at = rng.randrange(len(value))
    kind = rng.randrange(4)
    if kind == 0:
        del value[at]
    elif kind == 1:
        value.extend([value[at]] * rng.choice([1, 1, 2, 100]))
    elif kind == 2 and len(value) > 1:
        inner = list(value)
        rng.shuffle(inner)
        copies = [type(each)() for each in inner] if is_message else inner
        if is_message:
            for copy, each in zip(copies, inner, strict=True):
                copy.CopyFrom(each)
        del value[:]
        value.extend(copies)
    elif not is_message:
        value[at] = _scalar(field, value[at], rng)


def _scalar(field: FieldDescriptor, old: Any, rng: Random) -> Any:
    if field.cpp_type in _SCALARS:
        bits = _SCALARS[field.cpp_type]
        number = odd.integer(rng) if rng.random() < 0.7 else (old or 0) + rng.choice([-1, 1, 2])
        if bits in (32, 64):
            return number % (1 << bits)
        return (number + (1 << bits)) % (1 << (bits + 1)) - (1 << bits)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice([each.number for each in field.enum_type.values])
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice(odd.FLOATS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return odd.damaged(old or b"abc", rng)
    if field.name == "op_type":
        return rng.choice(_OPERATORS)
    return rng.choice([*odd.NAMES, *"xyabcswghz", (old or "") + "x"])


def _graphs(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    return [each for each in _messages(model) if isinstance(each, onnx.GraphProto)]


def _change_node(model: onnx.ModelProto, rng: Random) -> None:
    """Another operator, attribute or input of a node; or a node more."""
    graph = rng.choice(_graphs(model))
    if not graph.node:
        return
    node = rng.choice(graph.node)
    names = [name for each in graph.node for name in (*each.input, *each.output)]
    kind = rng.randrange(5)
    if kind == 0:
        node.op_type = rng.choice(_OPERATORS)
    elif kind == 1:
        schema = onnx.defs.get_schema(rng.choice([node.op_type, *_OPERATORS]), 18)
        if schema.attributes:
            attribute = schema.attributes[rng.choice(sorted(schema.attributes))]
            _add_attribute(node, attribute.name, rng)
    elif kind == 2 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice([*names, "", "missing"])
    elif kind == 3:
        node.output.append(rng.choice([*names, "new", ""]))
    else:
        graph.node.insert(rng.randrange(len(graph.node) + 1), node)


def _add_attribute(node: onnx.NodeProto, name: str, rng: Random) -> None:
    values: list[Any] = [
        *(_int64(rng), [_int64(rng) for _ in range(rng.choice([1, 2, 4]))], rng.choice(odd.FLOATS)),
        *(rng.choice(odd.NAMES), [rng.choice(odd.FLOATS)], rng.choice([0, 1, -1, 2])),
    ]
    kept = [each for each in node.attribute if each.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.append(onnx.helper.make_attribute(name, rng.choice(values)))


def _int64(rng: Random) -> int:
    return (odd.integer(rng) + (1 << 63)) % (1 << 64) - (1 << 63)


def _change_tensor(model: onnx.ModelProto, rng: Random) -> None:
    """Another value, type, size or form of an initializer; or an input's shape."""
    tensors = [each for each in _messages(model) if isinstance(each, onnx.TensorProto)]
    if not tensors or rng.random() < 0.15:
        dims = [
            each for each in _messages(model) if isinstance(each, onnx.TensorShapeProto.Dimension)
        ]
        if dims:
            rng.choice(dims).dim_value = _int64(rng)
        return
    tensor = rng.choice(tensors)
    kind = rng.randrange(5)
    if kind <= 1:
        for values in (tensor.float_data, tensor.int32_data, tensor.int64_data):
            if values:
                number = _int64(rng)
                at = rng.randrange(len(values))
                if values is tensor.float_data:
                    values[at] = rng.choice(odd.FLOATS)
                else:
                    values[at] = number if values is tensor.int64_data else number % (1 << 31)
    elif kind == 2:
        tensor.data_type = rng.randrange(26)
    elif kind == 3:
        dims = [*tensor.dims, rng.choice([0, 1, -1, 2, 1 << 40])]
        del tensor.dims[:]
        tensor.dims.extend(rng.sample(dims, rng.randrange(len(dims) + 1)))
    else:
        tensor.raw_data = odd.damaged(tensor.raw_data or bytes(16), rng)


def _deepen(model: onnx.ModelProto, rng: Random) -> None:
    """Much of one thing, or one in the other, in a few kilobytes."""
    kind = rng.randrange(5)
    if kind == 0:  # functions that call the one before ten times
        for level in range(1, rng.choice([3, 6, 12])):
            calls = [
                onnx.helper.make_node(
                    f"L{level - 1}",
                    ["a" if i == 0 else f"t{i}"],
                    [f"t{i + 1}" if i < 9 else "b"],
                    domain="my",
                )
                for i in range(10)
            ]
            body = calls if level > 1 else [onnx.helper.make_node("Relu", ["a"], ["b"])]
            opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("my", 1)]
            model.functions.append(
                onnx.helper.make_function("my", f"L{level}", ["a"], ["b"], body, opsets)
            )
        model.graph.node[0].op_type, model.graph.node[0].domain = f"L{level}", "my"
    elif kind == 1:  # branches in branches
        graph = onnx.GraphProto()
        graph.CopyFrom(model.graph)
        del graph.input[:]
        for _ in range(rng.choice([3, 10, 20])):  # protobuf allows some 100 levels of messages
            outer = onnx.GraphProto(name="outer")
            outer.initializer.append(onnx.helper.make_tensor("c", 9, [], [1]))
            outer.output.extend(graph.output)
            names = [value.name for value in graph.output]
            outer.node.append(
                onnx.helper.make_node("If", ["c"], names, then_branch=graph, else_branch=graph)
                if len(graph.SerializeToString()) < 100_000
                else onnx.helper.make_node("If", ["c"], names, then_branch=graph)
            )
            graph = outer
        graph.input.extend(model.graph.input)
        model.graph.CopyFrom(graph)
    elif kind == 2:  # a long chain
        name = model.graph.node[-1].output[0]
        for index in range(rng.choice([50, 400, 2000])):
            model.graph.node.append(onnx.helper.make_node("Neg", [name], [f"n{index}"]))
            name = f"n{index}"
        model.graph.output[0].name = name
    elif kind == 3:  # an axis of each size
        for value in (*model.graph.input, *model.graph.output):
            for dim in value.type.tensor_type.shape.dim:
                if rng.random() < 0.3:
                    dim.dim_value = max(0, _int64(rng))
    else:  # a function that calls itself
        body = [onnx.helper.make_node("Self", ["a"], ["b"], domain="my")]
        opsets = [onnx.helper.make_opsetid("my", 1)]
        model.functions.append(onnx.helper.make_function("my", "Self", ["a"], ["b"], body, opsets))
        model.graph.node[0].op_type, model.graph.node[0].domain = "Self", "my"


def _store_outside(model: onnx.ModelProto, rng: Random, folder: Path) -> None:
    """Initializers in a file beside, which may be short, elsewhere, or no file."""
    for tensor in model.graph.initializer:
        length = str(onnx.numpy_helper.to_array(tensor).nbytes)
        location = rng.choice(
            ["data.bin"] * 6 + [*odd.NAMES[:8], "folder", "/etc/hostname", "link"]
        )
        values = {"location": location, "offset": "0", "length": length}
        if rng.random() < 0.5:
            key = rng.choice(["offset", "length", "checksum", "other"])
            values[key] = rng.choice([str(odd.integer(rng)), "", "x", "1e3", "9" * 5000])
        for field in ("float_data", "int32_data", "int64_data", "raw_data"):
            tensor.ClearField(field)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in values.items():
            tensor.external_data.add(key=key, value=value)
    (folder / "data.bin").write_bytes(bytes(rng.choice([0, 16, 4096])))
    (folder / "folder").mkdir()
    if rng.random() < 0.3:
        (folder / "link").symlink_to("/etc/hostname")


def read(path: Path) -> None:
    """Import it: checked, folded, made into Relax."""
    load_model(path)


def warm_up() -> None:
    """Import a seed, so that what TVM loads at first is no input's time or memory."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        for index, model in enumerate(_SEEDS):
            onnx.save(model, Path(folder, f"{index}.onnx"))
            load_model(Path(folder, f"{index}.onnx"))
