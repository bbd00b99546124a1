"""What is measured: a network with fixed shapes, an input, and calibration samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.zoo import catalogue as zoo
from benchmarks.zoo import data as zoo_data
from benchmarks.zoo.packages import ZooError

Arrays = dict[str, NDArray]

#: The suite: what each network of the zoo is, for the quantizers.
SUITE = (
    "resnet18",
    "resnet50",
    "mobilenet-v2",
    "mobilenet-v3-large",
    "efficientnet-lite0",
    "squeezenet1.1",
    "vit-tiny",
    "minilm-128",
    "text-detector",
    "orientation",
    "densenet121",
    "shufflenet-v2",
    "inception-v1",
    "unet",
    "csp-detector",
    "preact-resnet18",
)
#: Few, as int8's speed hardly depends on them; the same for every engine.
CALIBRATION_SAMPLES = 8


@dataclass(frozen=True)
class Case:
    """A network to measure.

    Attributes:
        name: its name, fit for a file's.
        model: its ONNX file.
        shapes: its inputs' full shapes.
        inputs: one sample, with the batch axis of 1.
        calibration: input name -> (samples, ...).
        trained: whether its answers mean anything, so that accuracy is to be kept.
        batches: what our artifact is built for, where that is not ``shapes``.
    """

    name: str
    model: Path
    shapes: dict[str, tuple[int, ...]]
    inputs: Arrays
    calibration: Arrays
    trained: bool
    batches: tuple[int, ...] = ()

    @property
    def transformer(self) -> bool:
        """Whether it is built around attention: both quantizers treat that differently."""
        kinds = {
            node.op_type for node in onnx.load(self.model, load_external_data=False).graph.node
        }
        return {"Softmax", "MatMul"} <= kinds and bool(kinds & {"LayerNormalization", "Erf"})


def load(name: str) -> Case:
    """A network of the zoo by its name, or an ONNX file with fixed shapes by its path.

    Raises:
        ZooError: there is no such network, or its shapes are not fixed.
    """
    if name in zoo.NETWORKS:
        return _zoo_case(name)
    path = Path(name)
    if path.suffix != ".onnx":
        known = ", ".join(zoo.NETWORKS)
        raise ZooError(f"no network is called {name!r}; there are {known}, and any .onnx file")
    if not path.is_file():
        raise ZooError(f"there is no file {name}")
    return _file_case(path)


def _zoo_case(name: str) -> Case:
    network = zoo.NETWORKS[name]
    calibration, evaluation = zoo_data.load(name)
    return Case(
        name,
        zoo.fetch(name),
        network.inputs,
        {key: array[:1] for key, array in evaluation.inputs.items()},
        {key: array[:CALIBRATION_SAMPLES] for key, array in calibration.inputs.items()},
        network.trained,
    )


def _file_case(path: Path) -> Case:
    """An ONNX file, on random numbers: normal for floats, ones for integers."""
    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    rng = np.random.default_rng(0)
    shapes, arrays = {}, {}
    for value in graph.input:
        if value.name in weights:
            continue
        tensor = value.type.tensor_type
        shape = tuple(dim.dim_value for dim in tensor.shape.dim)
        shape = (shape[0] or 1, *shape[1:]) if shape else shape  # an open batch is bound to 1
        if 0 in shape or not shape or shape[0] != 1:
            raise ZooError(f"{path}: input {value.name!r} is not of a fixed shape of batch 1")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        full = (CALIBRATION_SAMPLES, *shape[1:])
        is_float = np.issubdtype(dtype, np.floating)
        values = rng.standard_normal(full) if is_float else np.ones(full)
        shapes[value.name], arrays[value.name] = shape, values.astype(dtype)
    inputs = {key: array[:1] for key, array in arrays.items()}
    return Case(path.stem, path, shapes, inputs, arrays, trained=False)
