"""Random nodes, half of them nonsense: onnx's native code answers, or never sees them.

Each is a model of one node through the whole import, in a child process that a crash ends.
"""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tvmcomp.errors import ModelError
from tvmcomp.frontend import load_model

INTEGERS = [0, 1, 2, 3, -1, -2, 5, -7, 4, 2**31, -(2**31), 2**29, 2**40, 2**62, -(2**63), 2**63 - 1]
TEXTS = [
    "NOTSET",
    "SAME_UPPER",
    "VALID",
    "linear",
    "",
    "x",
    "DCR",
    "ij,jk->ik",
    "...a,b",
    "reflect",
]
FLOATS = [0.0, 1.0, -1.0, 0.5, 2.0, 1e30, float("nan")]
TYPES = {
    "tensor(float)": "float32", "tensor(int64)": "int64", "tensor(int32)": "int32",
    "tensor(uint8)": "uint8", "tensor(bool)": "bool", "tensor(double)": "float64",
}  # fmt: skip
OPSET = 21
SCHEMAS = sorted(
    {s.name for s in onnx.defs.get_all_schemas() if not s.deprecated and s.domain == ""}
)


def _integer(draw: Random) -> int:
    return draw.choice(INTEGERS[:9] if draw.random() < 0.6 else INTEGERS)


def _attribute(draw: Random, kind: str) -> Any:
    counts = [0, 1, 2, 2, 4, 4]
    match kind:
        case "INT":
            return _integer(draw)
        case "INTS":
            return [_integer(draw) for _ in range(draw.choice(counts))]
        case "FLOAT":
            return draw.choice(FLOATS)
        case "FLOATS":
            return [draw.choice(FLOATS) for _ in range(draw.choice(counts))]
        case "STRING":
            return draw.choice(TEXTS)
        case "TENSOR":
            return numpy_helper.from_array(np.array([1], draw.choice(["f4", "i8"])))
    return None


def random_model(seed: int) -> onnx.ModelProto | None:
    """A model of one node; None where the draw can't even be written down."""
    draw = Random(seed)
    try:
        schema = onnx.defs.get_schema(draw.choice(SCHEMAS), OPSET)
    except onnx.defs.SchemaError:
        return None
    attributes = {
        name: _attribute(draw, attribute.type.name)
        for name, attribute in schema.attributes.items()
        if draw.random() < (0.95 if attribute.required else 0.5)
    }
    base = [draw.choice([1, 2, 3, 4, 4, 8]) for _ in range(draw.choice([0, 1, 2, 3, 4, 4, 5]))]
    inputs, weights, names = [], [], []
    for index in range(
        draw.randint(schema.min_input, max(schema.min_input, min(schema.max_input, 5)))
    ):
        names.append(f"i{index}")
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        dtype = TYPES[draw.choice([t for t in TYPES if t in formal.types] or ["tensor(float)"])]
        other = [draw.choice([1, 2, 3, 4, 5]) for _ in range(draw.choice([0, 1, 2, 3, 4]))]
        shape = base if draw.random() < 0.6 else other
        if draw.random() < 0.5 or draw.random() < 0.3 * index:
            with np.errstate(all="ignore"):
                values = np.array([_integer(draw) for _ in range(int(np.prod(shape)))], "int64")
                array = np.asarray(values.reshape(shape).astype(dtype))
            weights.append(numpy_helper.from_array(array, names[-1]))
        else:
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            inputs.append(helper.make_tensor_value_info(names[-1], kind, shape))
    count = draw.randint(schema.min_output, max(schema.min_output, min(schema.max_output, 4)))
    outputs = [f"o{index}" for index in range(max(1, count))]
    kept = {name: value for name, value in attributes.items() if value is not None}
    try:
        node = helper.make_node(schema.name, names, outputs, name="node", **kept)
        results = [helper.make_tensor_value_info(name, 1, None) for name in outputs]
        graph = helper.make_graph([node], "g", inputs, results, weights)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10
        )
    except (ValueError, TypeError):
        return None


def import_all(seeds: range, path: Path, progress: int) -> None:
    """Import the models of ``seeds``; before each write a byte to the file ``progress``."""
    for seed in seeds:
        os.write(progress, b".")
        model = random_model(seed)
        if model is None:
            continue
        path.write_bytes(model.SerializeToString())
        signal.setitimer(signal.ITIMER_PROF, 15)
        try:
            load_model(path)
        except ModelError:
            continue


def failures(seeds: range, path: Path) -> list[str]:
    """What goes wrong for ``seeds``: a crash, more than 15 s of work, another error, 8 GiB."""
    found = []
    while seeds:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                import_all(seeds, path, write)
                status = 0
            finally:
                os._exit(status)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            done = len(pipe.read())
        status = os.waitpid(child, 0)[1]
        if status == 0:
            break
        last = seeds[done - 1]
        found.append(f"seed {last}: status {status}: {random_model(last).graph.node[0]}"[:600])
        seeds = seeds[done:]
    return found


def test_random_nodes(tmp_path):
    assert failures(range(60), tmp_path / "m.onnx") == []


@pytest.mark.slow
def test_many_random_nodes(tmp_path):
    assert failures(range(1000, 13000), tmp_path / "m.onnx") == []
