"""Models with one thing wrong, made out of ONNX's own node tests by one change each."""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper
from onnx_node_suite import SETTINGS, array_of

from tvmcomp.errors import TvmcompError

#: What an integer, a number and a word of a model are changed to.
INTEGERS = (-(2**40), -100, -3, -2, -1, 0, 1, 2, 3, 5, 100, 2**31, 2**40)
NUMBERS = (float("nan"), float("inf"), -1.0, 0.0, 0.5, 3.0)
WORDS = (
    "", "nonsense", "same_upper", "SAME_UPPER", "VALID", "NOTSET", "linear", "cubic", "nearest",
    "constant", "reflect", "edge", "wrap", "DCR", "CRD", "half_pixel", "asymmetric", "antialias",
    "floor", "max", "avg", "mul", "add", "none", "tanh", "zeros", "border", "LINEAR", "Constant",
)  # fmt: skip
TYPES = (
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64,
    TensorProto.INT32, TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL,
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A model of one node, what is fed to it, and what was changed in it."""

    model: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    change: str


def base(case: Any) -> Variant | None:
    """The node test ``case`` with its settings as constants; None where it has no such form."""
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    if len(model.graph.node) != 1 or model.functions or model.graph.initializer:
        return None
    if any(
        value.type.tensor_type.elem_type in (TensorProto.UNDEFINED, TensorProto.STRING)
        for value in model.graph.input
    ):
        return None
    (node,) = model.graph.node
    feeds = {
        v.name: array_of(a) for v, a in zip(model.graph.input, case.data_sets[0][0], strict=False)
    }
    names = set(feeds)
    bound = {node.input[i] for i in SETTINGS.get(node.op_type, []) if i < len(node.input)} & names
    model.graph.initializer.extend(numpy_helper.from_array(feeds.pop(name), name) for name in bound)
    kept = [value for value in model.graph.input if value.name not in bound]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    model.ir_version = min(model.ir_version, 10)
    return Variant(model, feeds, "none")


def variants(start: Variant) -> Iterator[Variant]:
    """Every change of ``start``."""
    node = start.model.graph.node[0]
    version = next(e.version for e in start.model.opset_import if e.domain == node.domain)
    schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    yield start
    yield from _attributes(start, schema)
    yield from _inputs(start, schema)
    yield from _constants(start)
    yield from _shapes_and_types(start)


def _copy(start: Variant, change: str) -> Variant:
    return Variant(copy.deepcopy(start.model), dict(start.feeds), change)


def _attributes(start: Variant, schema: Any) -> Iterator[Variant]:
    old = {a.name: onnx.helper.get_attribute_value(a) for a in start.model.graph.node[0].attribute}
    for name, definition in schema.attributes.items():
        for value in _values(definition, old.get(name)):
            yield _with_attribute(start, name, value, definition.type.value)
    yield _with_attribute(start, "unheard_of", 1, AttributeProto.INT)


def _with_attribute(start: Variant, name: str, value: Any, kind: int) -> Variant:
    variant = _copy(start, f"{name} = {value!r}")
    node = variant.model.graph.node[0]
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
    if value is not None:
        node.attribute.append(onnx.helper.make_attribute(name, value, attr_type=kind))
    return variant


def _values(definition: Any, old: Any) -> Iterator[Any]:
    kind = definition.type.value
    if old is not None:
        yield None
    if kind == AttributeProto.INT:
        yield from INTEGERS
    elif kind == AttributeProto.FLOAT:
        yield from NUMBERS
    elif kind == AttributeProto.STRING:
        yield from WORDS
    elif kind == AttributeProto.INTS:
        yield from _lists(list(old) if old else [1, 1], INTEGERS)
    elif kind == AttributeProto.FLOATS:
        yield from _lists(list(old) if old else [1.0, 1.0], NUMBERS)


def _lists(old: list[Any], values: tuple[Any, ...]) -> Iterator[list[Any]]:
    for value in values:
        for index in range(len(old)):
            yield [*old[:index], value, *old[index + 1 :]]
    yield []
    yield old[:-1]
    yield [*old, old[-1] if old else 1]


def _inputs(start: Variant, schema: Any) -> Iterator[Variant]:
    given = list(start.model.graph.node[0].input)
    changes = [
        (f"input {i} left out", [*given[:i], "", *given[i + 1 :]]) for i in range(len(given))
    ]
    if given:
        changes += [("one input fewer", given[:-1]), ("one input more", [*given, given[0]])]
        changes += [("an input of no name here", ["nowhere", *given[1:]])]
    for change, names in changes:
        variant = _copy(start, change)
        node = variant.model.graph.node[0]
        del node.input[:]
        node.input.extend(names)
        yield variant
    for more in (1, 3):
        variant = _copy(start, f"{more} outputs more")
        extra = [f"extra_{i}" for i in range(more)]
        variant.model.graph.node[0].output.extend(extra)
        yield variant


def _constants(start: Variant) -> Iterator[Variant]:
    """Other values, lengths, ranks and types of the constants that the node reads."""
    for position, tensor in enumerate(start.model.graph.initializer):
        array = numpy_helper.to_array(tensor)
        for text, changed in _arrays(array):
            variant = _copy(start, f"constant {tensor.name}: {text}")
            variant.model.graph.initializer[position].CopyFrom(
                numpy_helper.from_array(changed, tensor.name)
            )
            yield variant


def _arrays(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    kind = array.dtype.kind
    values = {"i": INTEGERS, "u": (0, 1, 2, 3, 100), "f": NUMBERS}.get(kind, ())
    for value in values:
        if kind == "f" or np.iinfo(array.dtype).min <= value <= np.iinfo(array.dtype).max:
            for index in range(min(array.size, 3)):
                changed = array.copy()
                changed.reshape(-1)[index] = value
                yield f"{value} at {index}", changed
    flat = array.reshape(-1)
    yield "empty", flat[:0]
    yield "one more", np.concatenate([flat, flat[-1:]])
    yield "one fewer", flat[:-1]
    yield "two dimensions", array.reshape(1, -1)
    yield "scalar", np.array(flat[0] if array.size else 0, array.dtype)
    for dtype in (np.float32, np.int64, np.int32, np.uint8):
        if dtype != array.dtype:
            with np.errstate(all="ignore"):
                yield f"of {dtype.__name__}", array.astype(dtype)


def _shapes_and_types(start: Variant) -> Iterator[Variant]:
    for name, array in start.feeds.items():
        shape = array.shape
        others = [(*shape, 1), (1, *shape), (2, *shape), shape[1:], shape[:-1], ()]
        others += [(*shape[:i], size, *shape[i + 1 :]) for i in range(len(shape))
                   for size in {max(shape[i] - 1, 0), shape[i] + 1, 0}]  # fmt: skip
        for other in dict.fromkeys(others):
            if other != shape:
                yield _with_input(start, name, _resized(array, other), f"shape {other}")
        for kind in TYPES:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
            if dtype != array.dtype:
                with np.errstate(all="ignore"):
                    yield _with_input(start, name, array.astype(dtype), f"type {dtype}")


def _with_input(start: Variant, name: str, array: np.ndarray, change: str) -> Variant:
    variant = _copy(start, f"input {name}: {change}")
    for value in variant.model.graph.input:
        if value.name == name:
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            value.CopyFrom(onnx.helper.make_tensor_value_info(name, kind, array.shape))
    variant.feeds[name] = array
    return variant


def _resized(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.resize(array, shape) if array.size else np.ones(shape, array.dtype)


def outcomes(function: Callable[[Any], Any], items: list[Any], seconds: int = 60) -> list[str]:
    """What ``function`` makes of each item: ``ok``, ``refused …``, ``raised …`` or ``died …``.

    It runs in forked processes, as a wrong model may end one; the next goes on after that item.
    """
    done: list[str] = []
    while len(done) < len(items):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _answer(function, items[len(done) :], writer, seconds)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            answers = pipe.read().split(b"\0")[:-1]
        status = os.waitpid(child, 0)[1]
        done += [answer.decode() for answer in answers]
        if len(done) < len(items):
            done.append(f"died with status {status}")
    return done


def _answer(
    function: Callable[[Any], Any], items: list[Any], writer: int, seconds: int
) -> NoReturn:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        for item in items:
            signal.alarm(seconds)
            try:
                function(item)
                text = "ok"
            except TvmcompError as error:
                text = f"refused {error}"
            except Exception as error:  # noqa: BLE001  whatever it is, it is the answer
                text = f"raised {type(error).__name__}: {error}"
            os.write(writer, " ".join(text.split())[:3000].encode(errors="replace") + b"\0")
    finally:
        os._exit(0)
