"""An ONNX model, as it came, into the graph that is imported: checked, bound and simplified."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from tvmcomp.frontend.binding import Binding
from tvmcomp.frontend.onnx.checks import check_nodes
from tvmcomp.frontend.onnx.defaults import state_defaults
from tvmcomp.frontend.onnx.file import opset_version
from tvmcomp.frontend.onnx.fix_inputs import fix_inputs
from tvmcomp.frontend.onnx.fold import simplify
from tvmcomp.frontend.onnx.limits import TensorLimits, tensor_limits
from tvmcomp.frontend.onnx.native import check_attributes
from tvmcomp.frontend.onnx.notes import StateNote, take_states, with_default_shapes
from tvmcomp.frontend.onnx.shapes import bind_shapes
from tvmcomp.frontend.onnx.support import check_operators, is_plain, name_nodes


@dataclass(frozen=True)
class Prepared:
    """A model whose shapes are known, of operators that there are converters of.

    Attributes:
        model: inlined, folded, loops unrolled.
        inputs, outputs: names, as the file has them.
        notes: what the file says of states, for :func:`tvmcomp.frontend.onnx.notes.states_of`.
        limits: how large its tensors may be.
    """

    model: onnx.ModelProto
    inputs: list[str]
    outputs: list[str]
    notes: list[StateNote]
    limits: TensorLimits


def prepare(model: onnx.ModelProto, binding: Binding, *, where: str) -> Prepared:
    """Check, bind and simplify ``model``, which is changed.

    Args:
        model: of operator set 7 to the newest of the onnx package.
        binding: sizes and values of inputs.
        where: its file, for errors.

    Raises:
        ModelError: it is not right, a shape is missing, or an operator can't be compiled.
    """
    notes = take_states(model, where=where)
    fix_inputs(model, binding.fixed, where=where)
    shapes = with_default_shapes(model, binding.shapes, binding.dims)
    bind_shapes(model, shapes, binding.dims, where=where)
    inputs = [value.name for value in model.graph.input]
    outputs = [value.name for value in model.graph.output]
    name_nodes(model.graph)
    state_defaults(model.graph)
    limits = tensor_limits(model.graph, where=where)
    plain = is_plain(model)
    if plain:  # An error says most before anything is folded or inlined.
        check_attributes(model, where=where)
        check_nodes(model, opset_version(model), where=where)
    sequences = any(node.op_type == "SplitToSequence" for node in model.graph.node)
    model = simplify(model, limits)
    outputs += [value.name for value in model.graph.output[len(outputs) :]]
    check_operators(model.graph, where=where)
    # The folding makes a Split of set 13 of a sequence, in a model of any set.
    if not (plain and sequences):
        check_nodes(model, opset_version(model), where=where)
    return Prepared(model, inputs, outputs, notes, limits)
