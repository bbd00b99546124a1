"""Convert a network of TensorFlow Lite to ONNX, operator by operator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.notes import DEFAULT_SHAPE
from tvmcomp.frontend.onnx.quantized_lstm import add_function, is_quantized_lstm
from tvmcomp.frontend.onnx.support import nodes_of
from tvmcomp.frontend.tflite.call import Call, Converter, Values
from tvmcomp.frontend.tflite.network import Network, Operator, Subgraph, Tensor
from tvmcomp.frontend.tflite.ops_activation import ACTIVATION
from tvmcomp.frontend.tflite.ops_complex import COMPLEX
from tvmcomp.frontend.tflite.ops_control import CONTROL
from tvmcomp.frontend.tflite.ops_conv import CONV, CUSTOM_CONV
from tvmcomp.frontend.tflite.ops_detect import CUSTOM_DETECT, DETECT
from tvmcomp.frontend.tflite.ops_gather import GATHER
from tvmcomp.frontend.tflite.ops_math import MATH
from tvmcomp.frontend.tflite.ops_move import MOVE
from tvmcomp.frontend.tflite.ops_pool import POOL
from tvmcomp.frontend.tflite.ops_product import PRODUCT
from tvmcomp.frontend.tflite.ops_quantize import QUANTIZE
from tvmcomp.frontend.tflite.ops_recurrent import RECURRENT
from tvmcomp.frontend.tflite.ops_reduce import REDUCE
from tvmcomp.frontend.tflite.ops_shape import SHAPE
from tvmcomp.frontend.tflite.ops_slice import SLICE
from tvmcomp.frontend.tflite.ops_space import SPACE
from tvmcomp.frontend.tflite.ops_svdf import SVDF
from tvmcomp.frontend.tflite.read import read_network
from tvmcomp.frontend.tflite.variables import VARIABLES, Variables
from tvmcomp.frontend.tflite.writer import Writer, onnx_type

#: The operator set that is written, and the first version of the file format that has it: for
#: numbers of 16 and 4 bits, and for all else. (ONNX Runtime 1.32 fails on quantized networks of the
#: newer one: it converts int8 to uint8 but not the attribute that came with it.)
_WIDE = (21, 10)
_PLAIN = (20, 9)

#: Subgraphs inside of each other, and operators of all that are run.
_DEEPEST = 16
_MOST_OPERATORS = 200_000

CONVERTERS: dict[str, Converter] = {
    **ACTIVATION,
    **COMPLEX,
    **CONTROL,
    **CONV,
    **DETECT,
    **GATHER,
    **MATH,
    **MOVE,
    **POOL,
    **PRODUCT,
    **QUANTIZE,
    **RECURRENT,
    **REDUCE,
    **SHAPE,
    **SLICE,
    **SPACE,
    **SVDF,
    **VARIABLES,
}


#: Operators that are none of TensorFlow Lite's own.
CUSTOM: dict[str, Converter] = {**CUSTOM_CONV, **CUSTOM_DETECT}


def convert(path: Path) -> onnx.ModelProto:
    """Convert the TensorFlow Lite file in ``path``.

    Raises:
        ModelError: the file is damaged, or an operator can't be converted; it is named.
    """
    network = read_network(path)
    where = str(path)
    check_kinds(network, where)
    return _Converter(network, where).model()


def check_kinds(network: Network, where: str) -> None:
    """Refuse a network with operators that have no converter.

    Raises:
        ModelError: naming each of them, with the tensors that they make.
    """
    unknown: dict[str, list[str]] = {}
    for subgraph in network.subgraphs:
        for operator in subgraph.operators:
            if _converter(operator) is None:
                names = [subgraph.tensors[i].name for i in operator.outputs[:1]]
                kind = f"custom {operator.kind}" if operator.custom else operator.kind
                unknown.setdefault(kind, []).extend(names)
    if unknown:
        lines = [f"{kind}: {', '.join(names[:8])}" for kind, names in sorted(unknown.items())]
        raise ModelError(
            f"uses {len(unknown)} operator(s) that can't be compiled:\n    " + "\n    ".join(lines),
            where=where,
            hint="Convert the model without them, or compute these parts outside of it.",
        )


class _Converter:
    """Writes the model.

    Attributes:
        variables: of all subgraphs.
        depth: of the subgraph being converted; the network itself is at 1.
    """

    def __init__(self, network: Network, where: str) -> None:
        self.network = network
        self.where = where
        self.writer = Writer()
        self.variables = Variables(self.writer)
        self.depth = 0
        self.converted = 0

    def model(self) -> onnx.ModelProto:
        main = self.network.subgraphs[0]
        values = Values(main)
        self.writer.names.outputs = frozenset(main.tensors[index].name for index in main.outputs)
        inputs = [self.input(main, values, index) for index in main.inputs]
        self.operators(main, values, self.writer)
        outputs = [self.output(main, values, index) for index in main.outputs]
        graph = helper.make_graph(
            self.writer.nodes,
            main.name or "main",
            inputs,
            outputs,
            list(self.writer.initializers.values()),
        )
        opset, ir_version = _WIDE if _has_wide(self.network) else _PLAIN
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
        )
        model.producer_name = "tvmcomp"
        if any(is_quantized_lstm(node) for node in nodes_of(graph)):
            add_function(model)
        self.variables.add_to(model)
        for index in main.inputs:
            tensor = main.tensors[index]
            if min(tensor.shape or (), default=0) < 0:
                sizes = ",".join(map(str, tensor.default_shape))
                model.metadata_props.add(key=f"{DEFAULT_SHAPE}{values.stored[index]}", value=sizes)
        return model

    def input(self, main: Subgraph, values: Values, index: int) -> onnx.ValueInfoProto:
        tensor = main.tensors[index]
        if tensor.dtype is None:
            raise self.error(f"input {tensor.name!r} is no tensor of numbers")
        name = values.stored[index] = self.writer.names.unique(tensor.name)
        return helper.make_tensor_value_info(name, onnx_type(tensor.dtype), _dims(name, tensor))

    def output(self, main: Subgraph, values: Values, index: int) -> onnx.ValueInfoProto:
        """The value of an output, under a name of its own."""
        tensor = main.tensors[index]
        if tensor.dtype is None:
            raise self.error(f"output {tensor.name!r} is no tensor of numbers")
        call = Call(_NO_OPERATOR, values, self.writer, self.network, None)
        name = call.stored_of(index)
        taken = name in self.writer.initializers or index in main.inputs
        if (
            taken
            or sum(values.stored.get(i) == name for i in main.outputs) > 1
            or (name != tensor.name)
        ):
            wanted = self.writer.names.unique(tensor.name)
            self.writer.nodes.append(
                helper.make_node("Identity", [name], [wanted], name=f"{wanted}/output")
            )
            name = wanted
        return helper.make_tensor_value_info(name, onnx_type(tensor.dtype), _dims(name, tensor))

    def run(
        self,
        subgraph: Subgraph,
        inputs: Sequence[str],
        arrays: Sequence[np.ndarray | None],
        writer: Writer,
    ) -> list[str]:
        """Write a subgraph where another one runs it.

        Args:
            subgraph: what runs.
            inputs: the ONNX values that it is given, as they are stored.
            arrays: what is known of them.
            writer: of the graph that it is written in.

        Returns:
            The ONNX values that it gives, as they are stored.
        """
        if len(inputs) != len(subgraph.inputs):
            raise ValueError(f"it gives {len(inputs)} tensors to a subgraph that takes others")
        values = Values(subgraph)
        for index, name, array in zip(subgraph.inputs, inputs, arrays, strict=True):
            values.stored[index] = name
            if array is not None:
                values.arrays[index] = array
        self.operators(subgraph, values, writer)
        call = Call(_NO_OPERATOR, values, writer, self.network, None)
        return [call.stored_of(index) for index in subgraph.outputs]

    def operators(self, subgraph: Subgraph, values: Values, writer: Writer) -> None:
        """Convert the operators of a subgraph, whose inputs have their values."""
        self.depth += 1
        self.converted += len(subgraph.operators)
        if self.depth > _DEEPEST or self.converted > _MOST_OPERATORS:
            raise self.error("runs subgraphs inside of each other without an end")
        for operator in subgraph.operators:
            names = [subgraph.tensors[i].name for i in operator.outputs]
            base = names[0] if names else operator.kind.lower()
            writer.begin(base)
            call = Call(operator, values, writer, self.network, self)
            try:
                converter = _converter(operator)
                assert converter is not None, "check_kinds refuses it"
                converter(call)
            except ModelError:
                raise
            # What a converter stumbles over is the operator's: a shape that does not fit, a
            # number that is none.
            except Exception as error:
                raise self.error(
                    f"operator {base!r} ({operator.kind}) can't be converted: "
                    f"{str(error)[:300] or repr(error)}"
                ) from error
        writer.end()
        self.depth -= 1

    def error(self, what: str) -> ModelError:
        return ModelError(
            what,
            where=self.where,
            hint="If LiteRT's interpreter runs the file, this is a limit of tvmcomp; else convert "
            "the model again.",
        )


def _converter(operator: Operator) -> Converter | None:
    return (CUSTOM if operator.custom else CONVERTERS).get(operator.kind)


def _dims(name: str, tensor: Tensor) -> list[int | str]:
    return [size if size >= 0 else f"{name}_{axis}" for axis, size in enumerate(tensor.shape or ())]


def _has_wide(network: Network) -> bool:
    tensors = (each for subgraph in network.subgraphs for each in subgraph.tensors)
    return any(
        tensor.quantized and tensor.dtype is not None and tensor.dtype.name in ("int16", "int4")
        for tensor in tensors
    )


class _None:
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()


_NO_OPERATOR: Any = _None()
