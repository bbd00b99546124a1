"""Variables, which keep their value from run to run: inputs and outputs of the ONNX model.

A variable is an input under its own name, with its first value as the input's default (an
initializer of the same name, as ONNX has it), and an output of what the next run is to be given.
The model's metadata names the pairs; :mod:`tvmcomp.frontend.onnx.notes` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tvmcomp.frontend.onnx.notes import STATE
from tvmcomp.frontend.tflite.arrays import zeros
from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.network import Operator, Subgraph
from tvmcomp.frontend.tflite.read import options_of
from tvmcomp.frontend.tflite.writer import Writer, onnx_type


@dataclass
class Variable:
    """One variable while the network is converted.

    Attributes:
        start: its first value.
        source: the name of the model's input, once it was read.
        value: the ONNX value that it has at this point.
        assigned: whether the network changes it.
    """

    start: np.ndarray
    source: str = ""
    value: str = ""
    assigned: bool = False


class Variables:
    """The variables of a network."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.starts: dict[str, np.ndarray] = {}
        self.known: dict[str, Variable] = {}

    def read(self, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> str:
        """The value of a variable of that type; where nothing set its first value, it is 0."""
        variable = self.known.get(name)
        if variable is None:
            start = self.starts.get(name)
            if start is None:
                start = zeros(shape, dtype)
            if start.dtype != dtype or start.shape != shape:
                raise ValueError(
                    f"variable {name!r} starts as {start.dtype}{list(start.shape)} and is read as "
                    f"{dtype}{list(shape)}"
                )
            source = self.writer.names.unique(name)
            variable = self.known[name] = Variable(start, source, source)
        return variable.value

    def assign(self, name: str, value: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        """Make ``value`` what the variable is from here on."""
        if name not in self.known:  # set before it is read: what it was does not matter
            start = self.starts.get(name)
            self.known[name] = Variable(zeros(shape, dtype) if start is None else start)
        variable = self.known[name]
        variable.value, variable.assigned = value, True

    def start(self, subgraph: Subgraph) -> None:
        """Read the first values out of the subgraph that sets them.

        Raises:
            ValueError: it computes them.
        """
        handles: dict[int, str] = {}
        for operator in subgraph.operators:
            if operator.kind == "VAR_HANDLE":
                handles[operator.outputs[0]] = handle_name(operator)
            elif operator.kind == "ASSIGN_VARIABLE":
                array = subgraph.tensors[operator.inputs[1]].array
                if array is None:
                    raise ValueError("the first value of a variable is computed")
                self.starts[handles[operator.inputs[0]]] = array
            else:
                raise ValueError(f"{operator.kind} in the subgraph that sets variables")

    def add_to(self, model: onnx.ModelProto) -> None:
        """Add the variables that were read to the inputs, outputs and metadata of ``model``."""
        graph = model.graph
        for variable in self.known.values():
            if not variable.source:
                continue
            graph.initializer.append(numpy_helper.from_array(variable.start, variable.source))
            if not variable.assigned:
                continue  # it is a constant
            kind, shape = onnx_type(variable.start.dtype), variable.start.shape
            after = self.writer.names.unique(f"{variable.source}/next")
            graph.node.append(
                helper.make_node("Identity", [variable.value], [after], name=f"{after}/output")
            )
            graph.input.append(helper.make_tensor_value_info(variable.source, kind, shape))
            graph.output.append(helper.make_tensor_value_info(after, kind, shape))
            model.metadata_props.add(key=f"{STATE}{variable.source}", value=after)


def handle_name(operator: Operator) -> str:
    """The name that a VAR_HANDLE's variable is shared by."""
    options = options_of(operator, "VarHandleOptions")
    parts = [options.Container() or b"", options.SharedName() or b""]
    return "/".join(part[:4096].decode(errors="replace") for part in parts if part) or "variable"


def var_handle(call: Call) -> None:
    """VAR_HANDLE names a variable."""
    call.values.variables[call.operator.outputs[0]] = handle_name(call.operator)


def _handle(call: Call) -> str:
    name = call.values.variables.get(call.operator.inputs[0])
    if name is None:
        raise ValueError("its variable is named nowhere in its subgraph")
    if call.state.depth > 1:
        raise ValueError("a variable inside of a loop or branch is not supported")
    return name


def read_variable(call: Call) -> None:
    """READ_VARIABLE."""
    out = call.out()
    if out.dtype is None:
        raise ValueError("its variable is no tensor of numbers")
    call.give_stored(call.state.variables.read(_handle(call), out.dtype, out.default_shape))


def assign_variable(call: Call) -> None:
    """ASSIGN_VARIABLE."""
    tensor = call.tensor(1)
    if tensor.dtype is None:
        raise ValueError("its value is no tensor of numbers")
    call.state.variables.assign(_handle(call), call.stored(1), tensor.dtype, tensor.default_shape)


def call_once(call: Call) -> None:
    """CALL_ONCE: the subgraph that gives variables their first values."""
    index = call.options("CallOnceOptions").InitSubgraphIndex()
    if not 0 < index < len(call.network.subgraphs):
        raise ValueError(f"it runs subgraph {index} of {len(call.network.subgraphs)}")
    call.state.variables.start(call.network.subgraphs[index])


#: Operator of the source -> converter.
VARIABLES = {
    "ASSIGN_VARIABLE": assign_variable,
    "CALL_ONCE": call_once,
    "READ_VARIABLE": read_variable,
    "VAR_HANDLE": var_handle,
}
