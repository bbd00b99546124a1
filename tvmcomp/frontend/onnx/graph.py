"""Walk an ONNX graph and emit its Relax function, each variable under its node's name.

The converters are TVM's (``tvm.relax.frontend.onnx``) or ours; the walk is ours because TVM's
loses the nodes' names, prints to standard output, and reports one bad node at a time.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper

from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.branches import both, chosen
from tvmcomp.frontend.onnx.converters import onnx_input, relax, resolve
from tvmcomp.frontend.onnx.empty_outputs import with_made_empties
from tvmcomp.frontend.onnx.folded_module import KeptConstants, folded
from tvmcomp.frontend.onnx.identifiers import Identifiers
from tvmcomp.frontend.onnx.indices import with_indices_in_range
from tvmcomp.frontend.onnx.kept_loops import is_kept_loop
from tvmcomp.frontend.onnx.limits import TensorLimits
from tvmcomp.frontend.onnx.loop_bodies import Bodies, Captured
from tvmcomp.frontend.onnx.named_builder import NamedBuilder
from tvmcomp.frontend.onnx.narrow import NARROW, follow_narrow, numpy_held
from tvmcomp.frontend.onnx.node_attributes import attributes_with_defaults
from tvmcomp.frontend.onnx.node_facts import GraphFacts, NodeFacts
from tvmcomp.frontend.onnx.node_results import is_leaf, is_static_tensor, outputs_of, tensor_facts
from tvmcomp.frontend.onnx.reasons import reason
from tvmcomp.frontend.onnx.values import TensorSequence, constant, dtype_of, shape_of
from tvmcomp.loop_names import body_name
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr


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


class _GraphImporter:
    """Emits one function; ``values`` maps the names of ONNX tensors to Relax expressions."""

    def __init__(self, opset: int, limits: TensorLimits) -> None:
        self.opset = opset
        self.limits, self.where = limits, limits.where
        self.block = relax.BlockBuilder()
        self.values: dict[str, Any] = {}
        self.kept = KeptConstants()
        self.names = Identifiers()
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
        mod = self._function(graph, inputs, [], len(graph.output) > 1)
        return self.bodies.added_to(with_made_empties(mod))

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
            relax.Var(self.names.unique(value.name), ty)
            for value, ty in zip(graph.input, types, strict=True)
        ]
        self.values = dict(zip((value.name for value in graph.input), inputs, strict=True))
        captured = Captured(outer.value)
        self.capture = captured
        self._add_initializers(graph.initializer)
        mod = self._function(graph, inputs, captured.parameters, True)
        return mod, captured.values

    def _function(
        self, graph: onnx.GraphProto, inputs: Sequence[Any], more: Sequence[Any], in_tuple: bool
    ) -> tvm.IRModule:
        """A module whose ``main`` takes ``inputs`` and what ``more`` holds in the end."""
        with self.block.function("main"):
            with self.block.dataflow():
                self._add_nodes(graph.node)
                outputs = [self._output(value.name) for value in graph.output]
                result = relax.Tuple(outputs) if in_tuple else outputs[0]
                if in_tuple or isinstance(result, relax.DataflowVar):
                    result = self.block.emit_output(result)
            inputs = [*inputs, *more]
            self.block.emit_func_output(result, params=[*inputs, *self.kept.values])
        mod = self.block.get()
        mod["main"] = mod["main"].with_attr("num_input", len(inputs))
        return folded(mod, self.kept, self.limits)

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
                    f"tensor {tensor.name!r} of {array.dtype} can't be compiled: {reason(error)}",
                    where=self.where,
                ) from error

    def _input(self, value: onnx.ValueInfoProto) -> Any:
        tensor_type = value.type.tensor_type
        shape = [dim.dim_value for dim in tensor_type.shape.dim]
        dtype = numpy_held(tensor_type.elem_type)
        if tensor_type.elem_type in NARROW:
            self.narrow[value.name] = tensor_type.elem_type
        var = relax.Var(self.names.unique(value.name), relax.TensorType(shape, str(dtype)))
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
        if not is_static_tensor(value):
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
                    self._add_node(node, self.names.unique(node.name))
            except ModelError:
                raise
            except Exception as error:
                raise ModelError(
                    f"{self._facts(node)} can't be compiled: {reason(error)}",
                    where=self.where,
                    hint="`tvmcomp --verbose …` shows where the importer stopped.",
                ) from error

    def _facts(self, node: onnx.NodeProto) -> NodeFacts:
        """What an error says of ``node``."""
        known = {
            name: tensor_facts(self.values[name]) for name in node.input if name in self.values
        }
        return GraphFacts(known).node(node, self.opset)

    def _add_node(self, node: onnx.NodeProto, name: str) -> None:
        inputs = [self.value(input_) if input_ else None for input_ in node.input]
        attributes = attributes_with_defaults(node, self.opset)
        follow_narrow(node, attributes, self.narrow)
        if node.op_type == "If":
            results = self._if(inputs[0], attributes, name)
        elif is_kept_loop(node):
            results = self._loop(node, inputs, attributes, name)
        else:
            attributes["tvm_custom"] = {"name": name, "num_outputs": len(node.output)}
            converter = resolve(node).get_converter(self.opset)
            named = NamedBuilder(self.block, name)
            inputs = [
                value if value is None or is_leaf(value) else named.emit(value)
                for value in with_indices_in_range(node.op_type, inputs, attributes)
            ]
            result = converter(named, onnx_input(inputs), attributes, [self.values, {}])
            if isinstance(result, TensorSequence):
                self.values[node.output[0]] = result
                return
            results = outputs_of(named, self.kept.hidden(result), name)
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
        if is_leaf(expr):
            return expr
        expr = self.block.normalize(expr)
        if is_static_tensor(expr) and 0 in shape_of(expr):
            return constant(np.zeros(shape_of(expr), numpy_dtype(dtype_of(expr))))
        # What leaves the dataflow block at once needs no second variable for the output.
        if output == self.lone_output:
            return self.block.emit_output(expr, name)
        return self.block.emit(expr, name)

    def _if(self, condition: Any, branches: dict[str, Any], name: str) -> list[Any]:
        condition = self.block.emit(relax.op.reshape(condition, ()), f"{name}__condition")
        refused = relax.op.logical_not(condition)
        taken = self._branch(branches["then_branch"], condition)
        other = self._branch(branches["else_branch"], refused)
        return chosen(condition, taken, other)

    def _branch(self, graph: onnx.GraphProto, condition: Any) -> list[Any]:
        outer, around = dict(self.values), self.condition
        self.condition = both(self.block, condition, around)
        self._add_initializers(graph.initializer)
        self._add_nodes(graph.node)
        results = [self.value(output.name) for output in graph.output]
        self.values, self.condition = outer, around
        return results

    def _loop(
        self, node: onnx.NodeProto, inputs: list[Any], attributes: dict[str, Any], name: str
    ) -> list[Any]:
        """A loop that stays one. In a branch it begins where the branch is taken: one that is not
        might have no end."""
        given, going, *first = [*inputs, None, None][: max(2, len(inputs))]
        if any(isinstance(state, TensorSequence) for state in first):
            raise ValueError("it carries a sequence")
        first = [state if is_leaf(state) else self.block.emit(state) for state in first]
        mod, captured = _GraphImporter(self.opset, self.limits).body(
            attributes["body"], first, self
        )
        going = None if going is None else self.block.emit(relax.op.reshape(going, ()))
        going = both(self.block, going, self.condition)
        trips = None if given is None else self.block.emit(relax.op.reshape(given, ()))
        called = self.bodies.call(mod, attributes, body_name(name), [trips, going], first, captured)
        results = self.block.emit(called, f"{name}__loop")
        return [relax.TupleGetItem(results, i) for i in range(len(results.ty.fields))]


def _nth(name: str, index: int) -> str:
    return f"{name}__{index}" if index else name
