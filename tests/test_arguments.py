"""What is plainly meant is accepted; any other argument is one error that says which and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tvmcomp
from tvmcomp import arguments
from tvmcomp.errors import ConfigError, TvmcompError
from tvmcomp.frontend import load_model
from tvmcomp.quantize import QuantConfig
from tvmcomp.runtime.session import Session

X = np.ones((1, 2, 4, 4), np.float32)
SHAPES = {"x": X.shape}


def network() -> onnx.ModelProto:
    """A convolution of ``x``, whose batch is dynamic."""
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture(scope="module")
def session() -> Session:
    return tvmcomp.load(tvmcomp.build(network(), shapes=SHAPES, log="none"))


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(TvmcompError) as caught:
        call()
    return str(caught.value)


def test_a_model_in_memory_is_built_and_stays_as_it_is(session):
    model = network()
    before = model.SerializeToString(deterministic=True)
    assert load_model(model, SHAPES).source == "the model in memory"
    assert model.SerializeToString(deterministic=True) == before
    np.testing.assert_allclose(session.run({"x": X})["y"], 2 * X)


@pytest.mark.parametrize("path_of", [str, Path, lambda path: str(path).encode()])
def test_a_path_may_be_text_bytes_or_an_object(tmp_path, path_of):
    path = tmp_path / "net.onnx"
    onnx.save(network(), path)
    assert load_model(path_of(path), SHAPES).source == str(path)


@pytest.mark.parametrize("model", [None, 5, [], object(), network().graph, X, "", b"", "a\0.onnx"])
def test_what_is_no_model(model):
    assert "model" in message(lambda: load_model(model, SHAPES))


@pytest.mark.parametrize(
    "shape", [[1, 2, 4, 4], np.array([1, 2, 4, 4]), (np.int64(1), np.int32(2), 4, np.uint8(4))]
)
def test_shapes_of_whole_numbers_of_any_kind(shape):
    assert arguments.shapes({"x": shape}) == {"x": (1, 2, 4, 4)}


@pytest.mark.parametrize(
    "shapes",
    [
        {"x": (1, 2, 4.0, 4)}, {"x": "1,2,4,4"}, {"x": 5}, {"x": None}, {5: (1,)}, [1], "x=1",
        {"x": (True, 2, 4, 4)}, {"x": (2**70, 2, 4, 4)}, {"x": (-1, 2, 4, 4)}, {"x": (1,) * 99},
        {"x": ((1, 2), 2, 4, 4)}, {"x": (1, 2, 4, "4")}, {"x": (float("nan"), 2, 4, 4)},
        {"x": ()}, {"x": X}, {"x": (2**40, 2, 4, 4)},
    ],
)  # fmt: skip
def test_what_is_no_shape(shapes):
    assert "input" in message(lambda: load_model(network(), shapes)) or not hasattr(shapes, "keys")


@pytest.mark.parametrize(
    "quant, expected",
    [(None, None), ("none", None), ("INT8", "int8"), (" bf16 ", "bf16"), (np.str_("FP16"), "fp16")],
)
def test_a_number_format_in_any_case(quant, expected):
    assert arguments.number_format(quant) == expected


@pytest.mark.parametrize(
    "argument, values",
    {
        "quant": [8, b"int8", True, "int4", ["int8"]],
        "target": [None, 5, ["native"], {}, "nope", "", "./nope.toml"],
        "calibration": [
            5, X, "nowhere", b"nowhere", [], [X], {"x": X}, [{"y": X}], [{"x": "s"}], [None],
            lambda: 0, [{5: X}], [{"x": X * np.nan}], [{"x": X.astype(object)}],
            [{"x": [[1], [2, 3]]}], [{"x": X.astype("c8")}],
        ],
        "trials": [-1, 1.5, "3", None, True, [1], 2**70],
        "log": [5, [5], {}, "", [None]],
        "config": [5, {}, "nowhere.toml", b"nowhere.toml"],
        "device": [5, "", b"x"],
        "linker": [5, "", ["cc"]],
        "dump": [5, ""],
        "progress": [5, print],
        "tuning_progress": [5, "x"],
    }.items(),
)  # fmt: skip
def test_arguments_of_a_build(argument, values):
    for value in values:
        given = {"shapes": SHAPES, "log": "none", "quant": "int8", argument: value}
        text = message(lambda given=given: tvmcomp.build(network(), **given))
        assert len(text) < 600


@pytest.mark.parametrize(
    "argument, values",
    {
        "trials": [0, 1.5], "budget": [-1, "x", float("nan")], "operators": [5, [5], "zzz"],
        "builders": [5], "progress": [5],
    }.items(),
)  # fmt: skip
def test_arguments_of_tuning(tmp_path, argument, values):
    for value in values:
        given = {"shapes": SHAPES, "log": tmp_path / "log", "trials": 1, "operators": "zzz"}
        message(lambda given={**given, argument: value}: tvmcomp.tune(network(), **given))


@pytest.mark.parametrize(
    "settings",
    [
        {"min_sqnr_db": "x"}, {"min_sqnr_db": -1}, {"observer": 5}, {"observer": "nope"},
        {"keep_float": 5}, {"operators": 5}, {"operators": {"a": 5}}, {"calibration": 5},
    ],
)  # fmt: skip
def test_settings_of_quantization(settings):
    assert (
        next(iter(settings)) in message(lambda: QuantConfig(**settings)) or "observer" in settings
    )


@pytest.mark.parametrize("artifact", [None, 5, b"x", "", [], "a\0"])
def test_what_is_no_artifact(artifact):
    message(lambda: tvmcomp.load(artifact))


@pytest.mark.parametrize(
    "options",
    [
        *({"threads": each} for each in (0, -1, 1.0, "1", True, 10**30)),
        *({"pin": each} for each in (None, "yes", 5, [0.5], ["a"], [-1], [], {0: 0})),
    ],
)
def test_threads_and_cores(session, options):
    message(lambda: tvmcomp.load(session.artifact, **options))
    tvmcomp.load(session.artifact, threads=np.int64(1)).close()


@pytest.mark.parametrize(
    "inputs",
    [
        None, 5, X, [X], "x", {}, {"x": X.tolist()}, {"x": None}, {"y": X}, {5: X},
        {"x": X, 5: X, "z": X}, {"x": X.astype("f8")}, {"x": X[0]}, {"x": X.astype(object)},
        {"x": X.astype(">f4")},
    ],
)  # fmt: skip
def test_inputs_of_a_run(session, inputs):
    message(lambda: session.run(inputs))
    message(lambda: session.set_inputs(inputs))


@pytest.mark.parametrize("runs", [0, -1, 1.5, "3", None, True, 10**30])
def test_numbers_of_runs(session, runs):
    session.set_inputs({"x": X})
    message(lambda: session.time(runs))


def test_data_to_evaluate_on(session):
    for data in (5, b"nowhere.npz", "nowhere.npz", None):
        message(lambda data=data: tvmcomp.evaluate(session, data))


def test_saving_takes_any_path(session, tmp_path):
    session.artifact.save(str(tmp_path / "a.tvmc").encode())
    assert (tmp_path / "a.tvmc").is_file()
    with pytest.raises(ConfigError):
        session.artifact.save(5)
