"""Keras models, in memory and in files: what is built gives what Keras gives, to 1e-5."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from needed import package

os.environ.setdefault("KERAS_BACKEND", "torch")
torch = package("torch", "keras")
keras = package("keras", "keras")

import tvmcomp  # noqa: E402
from tvmcomp.errors import ModelError  # noqa: E402
from tvmcomp.frontend.keras import files  # noqa: E402

layers = keras.layers
KERAS2 = Path(__file__).parent / "keras_files" / "keras2.h5"


@pytest.fixture(autouse=True)
def seed() -> None:
    keras.utils.set_random_seed(0)
    torch.set_num_threads(1)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def agrees(made: object, inputs: dict[str, np.ndarray], expected: list[np.ndarray]) -> None:
    """Build it for the shapes of ``inputs`` and compare."""
    shapes = {name: value.shape for name, value in inputs.items()}
    with tvmcomp.load(tvmcomp.build(made, shapes=shapes, reference=False)) as session:
        got = session.run(inputs)
    for value, wanted in zip(got.values(), expected, strict=True):
        assert np.abs(value - wanted).max() <= 1e-5 * max(1.0, np.abs(wanted).max())


def given(model: keras.Model, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What Keras gives."""
    values = list(inputs.values())
    with torch.no_grad():
        found = model(values if len(values) > 1 else values[0], training=False)
    return [keras.ops.convert_to_numpy(value) for value in keras.tree.flatten(found)]


def convolutional() -> keras.Model:
    image = layers.Input((19, 21, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image)
    x = layers.BatchNormalization(moving_mean_initializer="random_normal")(x)
    x = layers.ReLU(max_value=6.0)(x)
    x = layers.DepthwiseConv2D(5, padding="same", name="deep")(x)
    x = x * layers.Activation("hard_sigmoid")(layers.Conv2D(8, 1)(x))
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(layers.ZeroPadding2D(1)(x))
    x = layers.LayerNormalization()(
        layers.SeparableConv2D(6, 3, activation="gelu", name="apart")(x)
    )
    first = layers.Dense(4, activation="softmax", name="kind")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, [first, layers.Flatten(name="map")(x)])


def attention() -> keras.Model:
    text = layers.Input((11,), dtype="int32", name="text")
    x = layers.Embedding(30, 16)(text)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 4, name="heads")(x, x))
    x = x + layers.Dense(16)(layers.Dense(32, activation="gelu")(x))
    return keras.Model(text, layers.Dense(5)(x[:, 0]))


def test_a_convolutional_model() -> None:
    inputs = {"image": random(2, 19, 21, 3)}
    model = convolutional()
    agrees(model, inputs, given(model, inputs))


def test_attention_in_a_file(tmp_path: Path) -> None:
    path, model = tmp_path / "model", attention()
    model.save(tmp_path / "m.keras")
    (tmp_path / "m.keras").rename(path)
    inputs = {"text": np.arange(22, dtype="int32").reshape(2, 11) % 30}
    agrees(path, inputs, given(model, inputs))


RECURRENT = {
    "lstm": (lambda: layers.LSTM(5, return_sequences=True), {"LSTM": 1}),
    "last": (lambda: layers.LSTM(5, use_bias=False), {"LSTM": 1}),
    "backwards": (lambda: layers.GRU(5, go_backwards=True, return_sequences=True), {"GRU": 1}),
    "both": (lambda: layers.Bidirectional(layers.LSTM(5, return_sequences=True)), {"LSTM": 1}),
    "bigru": (lambda: layers.Bidirectional(layers.GRU(5), merge_mode="sum"), {"GRU": 1}),
    "states": (lambda: layers.LSTM(5, return_state=True), {"LSTM": 1}),
    # What torch's layer has not is unrolled, and right.
    "relu": (lambda: layers.LSTM(5, activation="relu"), {}),
    "reset": (lambda: layers.GRU(5, reset_after=False), {}),
    "simple": (lambda: layers.SimpleRNN(5), {}),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_stay_nodes(name: str) -> None:
    make, nodes = RECURRENT[name]
    sound = layers.Input((7, 4), name="sound")
    model = keras.Model(sound, make()(sound))
    for variable in model.weights:  # Biases are zero at the start.
        variable.assign(random(*variable.shape) * 0.5)
    inputs = {"sound": random(2, 7, 4)}
    made = tvmcomp.convert(model, shapes={"sound": (2, 7, 4)})
    counts = Counter(node.op_type for node in made.graph.node)
    assert {kind: counts[kind] for kind in ("LSTM", "GRU", "RNN") if counts[kind]} == nodes
    agrees(made, inputs, given(model, inputs))


def test_a_masked_sequence() -> None:
    text = layers.Input((6,), dtype="int32", name="text")
    x = layers.Embedding(9, 4, mask_zero=True)(text)
    model = keras.Model(text, layers.LSTM(3)(x))
    inputs = {"text": np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 1]], "int32")}
    agrees(model, inputs, given(model, inputs))


def test_two_inputs_of_a_file_of_keras_2() -> None:
    with np.load(KERAS2.with_suffix(".npz")) as data:
        expected = data["kind"]
        agrees(KERAS2, {name: data[name] for name in ("sound", "image")}, [expected])


def test_names_are_those_of_the_layers(tmp_path: Path) -> None:
    convolutional().save(tmp_path / "m.keras")
    made = files.convert(tmp_path / "m.keras", tmp_path, backend="torch")
    assert [value.name for value in made.graph.input] == ["image"]
    assert [value.name for value in made.graph.output] == ["kind", "map"]
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    names = {node.name for node in made.graph.node}
    assert {"deep/Conv", "apart/Conv_1", "kind/MatMul"} <= names


def test_shapes_that_do_not_fit_are_one_error(tmp_path: Path) -> None:
    sound = layers.Input((None, 4), name="sound")
    model = keras.Model(sound, layers.GRU(3)(sound))
    with pytest.raises(ModelError, match="open dimension 1") as caught:
        tvmcomp.build(model)
    assert caught.value.hint == "Bind it: --shape sound=1,1,4"
    with pytest.raises(ModelError, match="is of shape"):
        tvmcomp.build(model, shapes={"sound": (1, 5, 5)})
    with pytest.raises(ModelError, match="has no input 'noise'"):
        tvmcomp.build(convolutional(), shapes={"noise": (1, 5, 5)})
    agrees(model, {"sound": random(3, 5, 4)}, given(model, {"sound": random(3, 5, 4)}))


class Scale(layers.Layer):
    def call(self, x):
        return x * 2


def test_custom_layers_come_in_through_memory_only(tmp_path: Path) -> None:
    model = keras.Sequential([layers.Input((4,), name="x"), Scale(), layers.Dense(3)])
    agrees(model, {"x": random(2, 4)}, given(model, {"x": random(2, 4)}))
    model.save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="which is not Keras's own") as caught:
        tvmcomp.build(tmp_path / "m.keras")
    assert "give it to tvmcomp.build" in caught.value.hint
