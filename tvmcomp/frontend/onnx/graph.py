"""Walk an ONNX graph and emit its Relax function, each variable under its node's name.

The converters are TVM's (``tvm.relax.frontend.onnx``) or ours; the walk is ours because TVM's
loses the nodes' names, prints to standard output, and reports one bad node at a time.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper

from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.converters import onnx_input, relax, resolve
from tvmcomp.frontend.onnx.empty_outputs import with_made_empties
from tvmcomp.frontend.onnx.indices import with_indices_in_range
from tvmcomp.frontend.onnx.kept_loops import is_kept_loop
from tvmcomp.frontend.onnx.large import check_sizes, hide_from_folding
from tvmcomp.frontend.onnx.limits import TensorLimits
from tvmcomp.frontend.onnx.loop_bodies import Bodies, Captured
from tvmcomp.frontend.onnx.named_builder import NamedBuilder
from tvmcomp.frontend.onnx.narrow import MOVES, NARROW, narrow_name, numpy_held
from tvmcomp.frontend.onnx.node_facts import GraphFacts, NodeFacts, TensorFacts
from tvmcomp.frontend.onnx.values import TensorSequence, constant, dtype_of, shape_of
from tvmcomp.loop_names import body_name
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr

#: How TVM writes an operator into its errors, in ten lines' length; its name says enough.
_OPERATOR = re.compile(r'ir\.Op\(.*?name="([\w.]+)".*support_level=\d+[^)]*\)')

#: Constants under these operators are hidden from constant folding: folding would turn an int8
#: weight and its scale back into a float weight.
_KEPT_UNFOLDED = {"relax.quantize", "relax.dequantize"}


def import_graph(model: onnx.ModelProto, opset: int, limits: TensorLimits) -> tvm.IRModule:
    """Convert a simplified, fully supported model of static shapes to Relax.

    Returns:
        A module whose ``main`` is one dataflow block. A variable that holds (the last operator
        of) a node's result carries the node's name as an identifier; the operators before it in
        the same node are called ``<node>__<operator>``.

    Raises:
        ModelError: a node can't be converted, or exceeds a limit.
    """
    return _GraphImporter(opset, limits).network(model.graph)


def _folded(mod: tvm.IRModule, kept: dict[Any, Any], limits: TensorLimits) -> tvm.IRModule:
    """``mod`` without what constants say, and without the parameters ``kept``."""
    check_sizes(mod, limits)
    mod, large = hide_from_folding(mod, limits)
    try:
        mod = relax.transform.FoldConstant()(mod)
    except Exception as error:
        raise ModelError(
            f"a constant expression can't be evaluated: {_reason(error)}",
            where=limits.where,
            hint="`tvmcomp --verbose …` shows where it stopped.",
        ) from error
    mod = relax.transform.BindParams("main", {**kept, **large})(mod)
    mod = relax.transform.CanonicalizeBindings()(mod)
    return relax.transform.DeadCodeElimination(["main"])(mod)


class _GraphImporter:
    """Emits one function; ``values`` maps the names of ONNX tensors to Relax expressions."""

    def __init__(self, opset: int, limits: TensorLimits) -> None:
        self.opset = opset
        self.limits, self.where = limits, limits.where
        self.block = relax.BlockBuilder()
        self.values: dict[str, Any] = {}
        self.kept: dict[Any, Any] = {}
        #: Names that are taken: TVM calls the network itself `main`.
        self.names: set[str] = {"main"}
        self.lone_output: str | None = None
        self.unsupported: set[str] = set()
        #: The tensors of a type that is held in another -> that type.
        self.narrow: dict[str, int] = {}
        #: The bodies of loops.
        self.bodies = Bodies()
        #: What the node that is imported is computed under; None for always.
        self.condition: Any = None
        #: Gives a body what it reads from outside.
        self.capture: Callable[[str], Any] | None = None

    def network(self, graph: onnx.GraphProto) -> tvm.IRModule:
        """The module of a network."""
        self._add_initializers(graph.initializer)
        inputs = [self._input(value) for value in graph.input]
        if len(graph.output) == 1:
            self.lone_output = graph.output[0].name
        mod, kept = self._function(graph, inputs, [], len(graph.output) > 1)
        return self.bodies.added_to(with_made_empties(_folded(mod, kept, self.limits)))

    def body(
        self, graph: onnx.GraphProto, first: Sequence[Any], outer: _GraphImporter
    ) -> tuple[tvm.IRModule, list[Any]]:
        """The module of a loop's body, and what it reads from ``outer``.

        Args:
            graph: takes the trip's number and the states.
            first: the states that the loop begins with.
            outer: imports what is around the loop.
        """
        self.names, self.narrow, self.bodies = outer.names, outer.narrow, outer.bodies
        types = [relax.TensorType((), "int64"), *(state.ty for state in first)]
        inputs = [
            relax.Var(self._identifier(value.name), ty)
            for value, ty in zip(graph.input, types, strict=True)
        ]
        self.values = dict(zip((value.name for value in graph.input), inputs, strict=True))
        captured = Captured(outer.value)
        self.capture = captured
        self._add_initializers(graph.initializer)
        mod, kept = self._function(graph, inputs, captured.parameters, True)
        return _folded(mod, kept, self.limits), captured.values

    def _function(
        self, graph: onnx.GraphProto, inputs: Sequence[Any], more: Sequence[Any], in_tuple: bool
    ) -> tuple[tvm.IRModule, dict[Any, Any]]:
        """A module whose ``main`` takes ``inputs`` and what ``more`` holds in the end.

        Returns:
            It, and the constants that are still parameters of it, at the end.
        """
        with self.block.function("main"):
            with self.block.dataflow():
                self._add_nodes(graph.node)
                outputs = [self._output(value.name) for value in graph.output]
                result = relax.Tuple(outputs) if in_tuple else outputs[0]
                if in_tuple or isinstance(result, relax.DataflowVar):
                    result = self.block.emit_output(result)
            inputs = [*inputs, *more]
            self.block.emit_func_output(result, params=[*inputs, *self.kept])
        mod = self.block.get()
        mod["main"] = mod["main"].with_attr("num_input", len(inputs))
        return mod, self.kept

    def _add_initializers(self, tensors: Iterable[onnx.TensorProto]) -> None:
        for tensor in tensors:
            array = onnx.numpy_helper.to_array(tensor)
            if tensor.data_type in NARROW:
                array = array.astype(numpy_held(tensor.data_type))
                self.narrow[tensor.name] = tensor.data_type
            try:
                self.values[tensor.name] = constant(array)
            except Exception as error:
                raise ModelError(
                    f"tensor {tensor.name!r} of {array.dtype} can't be compiled: {_reason(error)}",
                    where=self.where,
                ) from error

    def _input(self, value: onnx.ValueInfoProto) -> Any:
        tensor_type = value.type.tensor_type
        shape = [dim.dim_value for dim in tensor_type.shape.dim]
        dtype = numpy_held(tensor_type.elem_type)
        if tensor_type.elem_type in NARROW:
            self.narrow[value.name] = tensor_type.elem_type
        var = relax.Var(self._identifier(value.name), relax.TensorType(shape, str(dtype)))
        # A tensor without elements is a constant, whoever gives it.
        self.values[value.name] = constant(np.zeros(shape, dtype)) if 0 in shape else var
        return var

    def _output(self, name: str) -> Any:
        value = self.value(name)
        if isinstance(value, TensorSequence):
            raise ModelError(
                f"output {name!r} is a sequence of {len(value.tensors)}, and must be a tensor",
                where=self.where,
                hint="Let the model give the tensors, or concatenate them.",
            )
        if not _is_static_tensor(value):
            raise ModelError(
                f"output {name!r} is no tensor of a shape that is known at build time",
                where=self.where,
                hint="Leave the operators that make it out of the exported model.",
            )
        return value if isinstance(value, tvm.ir.Var) else self.block.emit(value)

    def value(self, name: str) -> Any:
        """The tensor ``name``.

        Raises:
            ModelError: there is none.
        """
        if name in self.unsupported:
            raise ModelError(
                f"tensor {name!r} is an extra output of its operator that is not supported",
                where=self.where,
                hint="Export the model without it.",
            )
        if name not in self.values and self.capture is not None:
            self.values[name] = self.capture(name)
        if name not in self.values:
            raise ModelError(
                f"tensor {name!r} is made by no node, and is no input",
                where=self.where,
                hint="The file is incomplete; export it again.",
            )
        return self.values[name]

    def _add_nodes(self, nodes: Iterable[onnx.NodeProto]) -> None:
        for index, node in enumerate(nodes):
            # Functions inlined by onnx may leave their nodes without a name.
            node.name = node.name or f"{node.op_type}_{index}"
            captured = io.StringIO()
            try:
                with warnings.catch_warnings(), contextlib.redirect_stdout(captured):
                    warnings.simplefilter("ignore")
                    self._add_node(node, self._identifier(node.name))
            except ModelError:
                raise
            except Exception as error:
                raise ModelError(
                    f"{self._facts(node)} can't be compiled: {_reason(error)}",
                    where=self.where,
                    hint="`tvmcomp --verbose …` shows where the importer stopped.",
                ) from error

    def _facts(self, node: onnx.NodeProto) -> NodeFacts:
        """What an error says of ``node``."""
        known = {
            name: _tensor_facts(self.values[name]) for name in node.input if name in self.values
        }
        return GraphFacts(known).node(node, self.opset)

    def _add_node(self, node: onnx.NodeProto, name: str) -> None:
        inputs = [self.value(input_) if input_ else None for input_ in node.input]
        attributes = {a.name: _attribute(a) for a in node.attribute}
        self._follow_narrow(node, attributes)
        if node.op_type == "If":
            results = self._if(inputs[0], attributes, name)
        elif is_kept_loop(node):
            results = self._loop(node, inputs, attributes, name)
        else:
            attributes["tvm_custom"] = {"name": name, "num_outputs": len(node.output)}
            converter = resolve(node).get_converter(self.opset)
            named = NamedBuilder(self.block, name)
            inputs = [
                value if value is None or _is_leaf(value) else named.emit(value)
                for value in with_indices_in_range(node.op_type, inputs, attributes)
            ]
            result = converter(named, onnx_input(inputs), attributes, [self.values, {}])
            if isinstance(result, TensorSequence):
                self.values[node.output[0]] = result
                return
            fields = self._fields(named, self._hidden(result), name)
            results = [named.flatten(field) for field in fields]
        for index, output in enumerate(node.output):
            if not output:
                continue
            if index < len(results):
                self.values[output] = self._bind(results[index], _nth(name, index), output)
            else:
                self.unsupported.add(output)

    def _bind(self, expr: Expr, name: str, output: str) -> Any:
        """Bind ``expr`` to a variable called ``name``, unless it is a value already bound.

        A tensor without elements is a constant, whatever computes it: no kernel runs for it.
        """
        if _is_leaf(expr):
            return expr
        expr = self.block.normalize(expr)
        if _is_static_tensor(expr) and 0 in shape_of(expr):
            return constant(np.zeros(shape_of(expr), numpy_dtype(dtype_of(expr))))
        # What leaves the dataflow block at once needs no second variable for the output.
        if output == self.lone_output:
            return self.block.emit_output(expr, name)
        return self.block.emit(expr, name)

    def _fields(self, named: NamedBuilder, result: Expr, name: str) -> list[Any]:
        """Return the outputs of a converter's result, which may be a tuple or hold one."""
        if isinstance(result, relax.Tuple):
            return list(result.fields)
        result = _as_tensor(result)
        if not isinstance(result, tvm.ir.Expr):
            raise ValueError("its result is not a tensor")
        result = named.normalize(result)
        if not isinstance(result.ty, relax.TupleType):
            return [result]
        if not _is_leaf(result):
            result = self.block.emit(result, f"{name}__tuple")
        return [relax.TupleGetItem(result, i) for i in range(len(result.ty.fields))]

    def _if(self, condition: Any, branches: dict[str, Any], name: str) -> list[Any]:
        """Compute both branches and select: operators have no side effects, and the function
        stays one dataflow block, which every later pass needs."""
        condition = self.block.emit(relax.op.reshape(condition, ()), f"{name}__condition")
        refused = relax.op.logical_not(condition)
        taken = self._branch(branches["then_branch"], condition)
        other = self._branch(branches["else_branch"], refused)
        for left, right in zip(taken, other, strict=True):
            if isinstance(left, TensorSequence) or isinstance(right, TensorSequence):
                raise ValueError("its branches give sequences, which can't be chosen from")
            if (shape_of(left), dtype_of(left)) != (shape_of(right), dtype_of(right)):
                raise ValueError(f"its branches give {left.ty} and {right.ty}")
        return [relax.op.where(condition, *pair) for pair in zip(taken, other, strict=True)]

    def _branch(self, graph: onnx.GraphProto, condition: Any) -> list[Any]:
        outer, around = dict(self.values), self.condition
        self.condition = self._both(condition, around)
        self._add_initializers(graph.initializer)
        self._add_nodes(graph.node)
        results = [self.value(output.name) for output in graph.output]
        self.values, self.condition = outer, around
        return results

    def _both(self, condition: Any, other: Any) -> Any:
        """Whether both hold; None for what always does."""
        if condition is None or other is None:
            return condition if other is None else other
        return self.block.emit(relax.op.logical_and(self.block.normalize(condition), other))

    def _loop(
        self, node: onnx.NodeProto, inputs: list[Any], attributes: dict[str, Any], name: str
    ) -> list[Any]:
        """A loop that stays one. In a branch it begins where the branch is taken: one that is not
        might have no end."""
        given, going, *first = [*inputs, None, None][: max(2, len(inputs))]
        if any(isinstance(state, TensorSequence) for state in first):
            raise ValueError("it carries a sequence")
        first = [state if _is_leaf(state) else self.block.emit(state) for state in first]
        mod, captured = _GraphImporter(self.opset, self.limits).body(
            attributes["body"], first, self
        )
        going = None if going is None else self.block.emit(relax.op.reshape(going, ()))
        going = self._both(going, self.condition)
        trips = None if given is None else self.block.emit(relax.op.reshape(given, ()))
        called = self.bodies.call(mod, attributes, body_name(name), [trips, going], first, captured)
        results = self.block.emit(called, f"{name}__loop")
        return [relax.TupleGetItem(results, i) for i in range(len(results.ty.fields))]

    def _follow_narrow(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        """Note that ``node`` gives a narrow type; refuse one that computes with one."""
        kinds = [self.narrow.get(name) for name in node.input]
        gives: int | None = None
        if node.op_type in MOVES:
            gives = kinds[0] if kinds else None
        elif node.op_type == "CastLike" and kinds[1] is not None:
            gives = attributes["to"] = kinds[1]
        elif node.op_type == "Cast":
            gives = attributes["to"]
        elif node.op_type == "QuantizeLinear":
            if len(kinds) > 2 and kinds[2] is not None:
                attributes["output_dtype"] = kinds[2]
            gives = attributes.get("output_dtype")
        elif node.op_type not in ("CastLike", "DequantizeLinear") and any(kinds):
            index = next(i for i, kind in enumerate(kinds) if kind is not None)
            raise ValueError(
                f"its input {node.input[index]!r} is {narrow_name(kinds[index] or 0)}, which can "
                "be cast, quantized to, dequantized and moved, but not computed with"
            )
        if gives in NARROW:
            self.narrow.update((name, gives) for name in node.output)

    def _hidden(self, expr: Expr) -> Any:
        """``expr`` with the constants of Q/DQ in it kept; see ``_KEPT_UNFOLDED``."""
        if not isinstance(expr, tvm.ir.Call) or tvm.ir.is_prim_expr(expr):
            return expr
        keep = self._keep if getattr(expr.op, "name", "") in _KEPT_UNFOLDED else self._hidden
        arguments = [keep(argument) for argument in expr.args]
        return tvm.ir.Call(expr.op, arguments, expr.attrs, expr.ty_args, expr.span)

    def _keep(self, value: Expr) -> Any:
        """Make a constant a parameter of the function for now; see ``_KEPT_UNFOLDED``."""
        if not isinstance(value, tvm.ir.GenericConst):
            return value
        var = relax.Var(f"kept_{len(self.kept)}", value.ty)
        self.kept[var] = value
        return var

    def _identifier(self, name: str) -> str:
        """Return ``name`` as a unique identifier with no ``__`` in it."""
        base = re.sub(r"_+", "_", re.sub(r"\W", "_", name, flags=re.ASCII)).strip("_") or "node"
        if base[0].isdigit():
            base = f"n{base}"
        unique, count = base, 1
        while unique in self.names:
            unique, count = f"{base}_{count}", count + 1
        self.names.add(unique)
        return unique


def _is_static_tensor(value: Expr) -> bool:
    return (
        not isinstance(value, TensorSequence)
        and isinstance(value.ty, relax.TensorType)
        and isinstance(value.ty.shape, relax.ShapeExpr)
        and all(isinstance(dim, tvm.tirx.IntImm) for dim in value.ty.shape)
    )


def _nth(name: str, index: int) -> str:
    return f"{name}__{index}" if index else name


def _is_leaf(expr: Expr) -> bool:
    return isinstance(expr, tvm.ir.Var | tvm.ir.GenericConst | TensorSequence)


def _as_tensor(expr: Expr) -> Any:
    """Turn the shapes and scalars that TVM's converters compute with into constants."""
    if isinstance(expr, relax.ShapeExpr):
        return constant(np.array([int(dim) for dim in expr.values], "int64"))
    if isinstance(expr, tvm.tirx.IntImm | tvm.tirx.FloatImm):
        return relax.const(expr.value, str(expr.dtype))
    return expr


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    return tuple(value) if isinstance(value, list) else value


def _tensor_facts(value: Expr) -> TensorFacts:
    if isinstance(value, TensorSequence):
        return TensorFacts()
    if not isinstance(value.ty, relax.TensorType) or value.ty.shape is None:
        return TensorFacts()
    sizes = (int(dim) if isinstance(dim, tvm.tirx.IntImm) else None for dim in value.ty.shape)
    return TensorFacts(str(value.ty.dtype), tuple(sizes))


def _reason(error: Exception) -> str:
    """The last line of an error, without the trace of TVM's native code before it."""
    line = " ".join(str(error).strip().split("\n")[-1].split())
    return _OPERATOR.sub(r"\1", line)[:300] or repr(error)
