"""`tvmcomp.compress`: from a file and samples to a smaller file, or to the original kept."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import coarse_weights
import numpy as np
import onnx
import pytest
from needed import package
from networks import NetworkWriter, classifier, images, tiny
from small_disk import small_disk

torch = package("torch", "compress")

import onnxruntime  # noqa: E402
from onnx import numpy_helper  # noqa: E402

import tvmcomp  # noqa: E402
from tvmcomp.compress.fake_quantize.plan import plan_model  # noqa: E402
from tvmcomp.compress.original import read_original  # noqa: E402
from tvmcomp.errors import (  # noqa: E402
    CalibrationError,
    ConfigError,
    InputError,
    ModelError,
    TargetError,
    ToolError,
)


@pytest.fixture(autouse=True)
def technique():
    coarse_weights.register()
    yield
    coarse_weights.unregister()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return classifier(tmp_path / "net.onnx", softmax=True)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, x=images(60, 3, 16, 16))
    return path


def compress(model, output=None, data=None, **options):
    options = {"mantissa": 8, "measure": False, **options}
    return tvmcomp.compress(model, output, data, **options)


def outputs_of(model, **inputs):
    content = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def test_a_network_is_written_with_its_proof(model, samples, tmp_path):
    before = model.read_bytes()
    result = compress(model, tmp_path / "small.onnx", samples)
    assert result.accepted and result.proof.output == str(tmp_path / "small.onnx")
    assert onnx.load(tmp_path / "small.onnx") == result.model
    assert model.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx", "samples.npz", "small.onnx"]
    proof = result.proof
    assert sum(proof.samples.values()) == 60 and proof.samples["judge"] == 12
    assert proof.score.metric == "agreement" and proof.score.samples == 12
    assert proof.before.macs == proof.after.macs > 0
    assert proof.before.onnx_bytes == len(before)
    (step,) = proof.steps
    assert step.technique == "coarse" and step.options == {"mantissa": 8}
    assert step.notes == ("rounded all",) and step.drop_before == 0
    x = images(1, 3, 16, 16)
    (small,), (whole,) = outputs_of(result.model, x=x), outputs_of(str(model), x=x)
    np.testing.assert_allclose(small, whole, atol=0.05 * np.ptp(whole))
    assert np.abs(small - whole).max() > 0


def test_what_is_worse_than_allowed_is_not_written(model, samples, tmp_path):
    (tmp_path / "small.onnx").write_bytes(b"of an earlier run")
    result = compress(
        model, tmp_path / "small.onnx", samples, mantissa=0, metric="sqnr", max_drop=0.1
    )
    assert not result.accepted and result.proof.output is None
    assert result.proof.score.drop > 0.1
    assert (tmp_path / "small.onnx").read_bytes() == b"of an earlier run"
    assert not (tmp_path / "small.onnx.checkpoint").exists()
    assert compress(model, None, samples, mantissa=0, metric="sqnr", max_drop=100).accepted


def test_a_function_judges(model, samples):
    def all_right(outputs, labels):
        assert labels is None
        return 100.0 - len(next(iter(outputs.values()))) * 0.0

    result = compress(model, None, samples, metric=all_right, measure=False)
    assert result.proof.score.metric == "all_right"
    assert result.accepted and result.proof.score.drop == 0


def test_labels_judge_where_they_are_given(model, samples, tmp_path):
    x = images(30, 3, 16, 16, seed=5)
    whole = np.concatenate([outputs_of(str(model), x=each[None])[0] for each in x]).argmax(1)
    labels = whole.copy()
    labels[:3] = (labels[:3] + 1) % 10  # the original gets these wrong
    np.savez(tmp_path / "test.npz", x=x, label=labels)
    proof = compress(model, None, samples, eval=tmp_path / "test.npz", mantissa=12).proof
    assert proof.score.metric == "top1" and proof.score.before == 90.0
    assert proof.samples["judge"] == 30 and "test.npz" in proof.judged_on
    # Of the samples' own labels a part is held out, too.
    given = np.arange(60) % 10
    proof = compress(model, None, samples, labels=given).proof
    assert proof.score.metric == "top1" and proof.score.samples == 12
    # They may lie in the samples' file, and are used where that is named.
    both = tmp_path / "labelled.npz"
    np.savez(both, x=images(60, 3, 16, 16), label=given)
    assert compress(model, None, both, labels=both).proof.score == proof.score
    assert compress(model, None, both).proof.score.metric == "agreement"


def test_the_same_seed_gives_the_same_network(model, samples):
    first, second = (compress(model, None, samples, seed=3) for _ in range(2))
    assert first.model == second.model and first.proof.score == second.proof.score
    # Another seed divides the samples otherwise.
    other = compress(model, None, samples, seed=4, metric="sqnr").proof.score
    assert other != compress(model, None, samples, seed=3, metric="sqnr").proof.score


def test_samples_may_come_from_python(model):
    result = compress(model, None, ({"x": each[None]} for each in images(40, 3, 16, 16)))
    assert result.accepted and "Python samples" in result.proof.judged_on


def test_nothing_asked_for_is_suggestions(model):
    result = tvmcomp.compress(model)
    assert result.model is None and result.proof is None and not result.accepted
    assert any("--coarse" in each.options for each in result.suggestions)


def test_an_open_batch_stays_open_and_names_stay(tmp_path):
    model = tiny(tmp_path / "net.onnx", batch="N")
    proto = onnx.load(model)
    proto.metadata_props.add(key="of", value="mine")
    proto.graph.doc_string = "a network"
    onnx.save(proto, model)
    x = images(60, 3, 8, 8)
    result = compress(model, None, [{"x": each[None]} for each in x], dims={"N": 1})
    made = result.model
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert made.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert made.graph.doc_string == "a network" and made.metadata_props[0].value == "mine"
    assert {p.key for p in made.metadata_props} == {"of", "tvmcomp.compress"}
    (together,) = outputs_of(made, x=x[:5])
    assert together.shape == (5, 8, 8, 8) and not result.proof.notes


def test_a_network_that_was_compressed_is_one_again(model, samples, tmp_path):
    compress(model, tmp_path / "once.onnx", samples)
    result = compress(tmp_path / "once.onnx", tmp_path / "twice.onnx", samples)
    assert result.accepted and result.proof.score.after == 100
    assert [p.key for p in result.model.metadata_props] == ["tvmcomp.compress"]


def in_half(model: Path, path: Path) -> Path:
    """``model`` in float16, inputs and outputs too."""
    proto = onnx.load(model)
    for tensor in proto.graph.initializer:
        half = numpy_helper.to_array(tensor).astype("float16")
        tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(proto, path)
    return path


@pytest.mark.parametrize(
    "options, codes",
    [
        ({"macs": 0.6}, False),
        ({"sparsity": 0.5}, False),
        ({"mantissa": 12}, False),
        ({"clusters": 8}, True),
        ({"bits": 4}, True),
    ],
)
def test_weights_of_half_precision_stay_so(options, codes, model, samples, tmp_path):
    options = {"mantissa": None, "max_drop": 100, **options}
    half = in_half(model, tmp_path / "half.onnx")
    made = compress(half, tmp_path / "small.onnx", samples, **options)
    large = [
        numpy_helper.to_array(tensor)
        for tensor in made.model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1
    ]
    assert sum(array.size for array in large) < 64
    wide = compress(model, None, samples, **options).model.ByteSize()
    assert made.model.ByteSize() < (1.3 if codes else 0.75) * wide
    x = images(1, 3, 16, 16).astype("float16")
    (given,) = outputs_of(made.model, x=x)
    built = tvmcomp.build(tmp_path / "small.onnx", reference=False, log="none")
    with tvmcomp.load(built) as session:
        (ours,) = session.run({"x": x}).values()
    np.testing.assert_allclose(ours, given, atol=0.02 * np.ptp(given.astype("f4")))
    again = read_original(tmp_path / "small.onnx").prepared.graph
    constants = {tensor.name for tensor in again.initializer}
    assert not any(n.op_type == "Cast" and n.input[0] in constants for n in again.node)


def test_a_network_in_half_precision_is_worked_on_in_float32(model, samples, tmp_path):
    in_half(model, tmp_path / "half.onnx")
    small = compress(tmp_path / "half.onnx", None, samples, mantissa=9).model
    # What is known of tensors decides what becomes integers.
    whole, half = (plan_model(read_original(p).prepared) for p in (model, tmp_path / "half.onnx"))
    assert [w.node for w in whole.weights] == [w.node for w in half.weights]
    assert [each.node for each in whole.weights] == ["conv_0", "conv_2", "conv_4", "logits"]
    x = images(1, 3, 16, 16).astype("float16")
    (given,), (whole,) = outputs_of(small, x=x), outputs_of(str(tmp_path / "half.onnx"), x=x)
    assert given.dtype == whole.dtype == np.float16
    np.testing.assert_allclose(given, whole, atol=0.05 * np.ptp(whole))


def test_a_module_of_torch_is_a_network_too():
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5))
    x = images(40, 3, 4, 4)
    example = (torch.from_numpy(x[:1]),)
    name = tvmcomp.convert(module, example_inputs=example).graph.input[0].name
    result = compress(module, None, [{name: each[None]} for each in x], example_inputs=example)
    (given,) = outputs_of(result.model, **{name: x[:1]})
    np.testing.assert_allclose(given, module(example[0]).detach(), atol=0.05)


def test_a_constant_output_stays_what_it_is(tmp_path):
    """A detector's anchors, which a weight may be, too."""
    net = NetworkWriter()
    weight = net.weight(8, 8)
    net.op("Identity", weight, name="anchors")
    net.op("Relu", net.op("Gemm", "x", weight), name="y")
    path = net.save(tmp_path / "net.onnx", {"x": (1, 8)}, ["anchors", "y"])
    given = [{"x": each} for each in np.random.default_rng(0).normal(size=(30, 1, 8)).astype("f")]
    recipe = [{"name": "quantize", "bits": 4}, {"name": "distil", "steps": 2}]
    made = compress(path, data=given, recipe=recipe, mantissa=None, max_drop=100).model
    wanted, _ = outputs_of(str(path), **given[0])
    np.testing.assert_array_equal(outputs_of(made, **given[0])[0], wanted)


def test_a_fixed_input_and_closed_dimensions_are_told_of(tmp_path):
    net = NetworkWriter()
    scaled = net.op("Mul", "x", "factor")
    net.op("MatMul", scaled, net.weight(8, 4), name="y")
    model = net.save(tmp_path / "net.onnx", {"x": ("N", "T", 8), "factor": (1,)}, ["y"])
    x = np.random.default_rng(0).normal(size=(40, 1, 6, 8)).astype("float32")
    result = compress(
        model, None, [{"x": each} for each in x], fixed={"factor": [2.0]}, dims={"N": 1, "T": 6}
    )
    assert set(result.proof.notes) == {
        "input 'factor' is a constant in it",
        "dimension T of input 'x', which was open, is 6 in it",
    }
    assert [value.name for value in result.model.graph.input] == ["x"]
    (y,) = outputs_of(result.model, x=np.repeat(x[0], 3, axis=0))
    assert y.shape == (3, 6, 4)


def refused(kind, *arguments, **options) -> str:
    with pytest.raises(kind) as found:
        compress(*arguments, **options)
    return str(found.value)


def test_outputs_that_cant_be(model, samples, tmp_path):
    before = hashlib.sha256(model.read_bytes()).digest()
    assert "is the model itself" in refused(ConfigError, model, model, samples)
    (tmp_path / "link.onnx").symlink_to(model)
    assert "is the model itself" in refused(ConfigError, model, tmp_path / "link.onnx", samples)
    assert "no folder" in refused(ModelError, model, tmp_path / "absent" / "s.onnx", samples)
    assert "a folder" in refused(ModelError, model, tmp_path, samples)
    (tmp_path / "s.onnx.checkpoint").mkdir()
    (tmp_path / "s.onnx.checkpoint" / "thesis.tex").write_text("years of work")
    message = refused(ConfigError, model, tmp_path / "s.onnx", samples)
    assert "s.onnx.checkpoint" in message and "--checkpoint" in message
    assert (tmp_path / "s.onnx.checkpoint" / "thesis.tex").read_text() == "years of work"
    assert hashlib.sha256(model.read_bytes()).digest() == before


def test_a_full_disk_is_told_of_and_nothing_is_half_written(model, samples, tmp_path):
    (tmp_path / "disk").mkdir()
    before = model.read_bytes()
    for kib in (4, 12):  # no room for a checkpoint, and none for the result
        with small_disk(tmp_path / "disk", kib) as disk:
            message = refused(ModelError, model, disk / "s.onnx", samples)
            assert "No space left on device" in message and str(disk) in message
            assert not (disk / "s.onnx").exists()
    assert model.read_bytes() == before


def test_samples_that_do_not_do(model, samples, tmp_path):
    x = images(60, 3, 16, 16)
    assert "--data" in refused(ConfigError, model)
    assert "too few" in refused(CalibrationError, model, None, [{"x": each} for each in x[:2]])
    assert "alike" in refused(CalibrationError, model, None, [{"x": x[0]}] * 50)
    bad = x.copy()
    bad[7, 0, 0, 0] = np.nan
    assert "NaN" in refused(CalibrationError, model, None, [{"x": each} for each in bad])
    assert "shape" in refused(CalibrationError, model, None, [{"x": each[:, 1:]} for each in x])
    assert "'z'" in refused(CalibrationError, model, None, [{"z": each} for each in x])
    np.savez(tmp_path / "bad.npz", x=bad)
    assert "NaN" in refused(InputError, model, None, samples, eval=tmp_path / "bad.npz")
    np.savez(tmp_path / "wrong.npz", x=x[:, :, 1:])
    assert "shape" in refused(InputError, model, None, samples, eval=tmp_path / "wrong.npz")


def test_three_samples_do_and_are_told_of(model):
    result = compress(model, None, [{"x": each[None]} for each in images(3, 3, 16, 16)])
    assert result.proof.samples == {"fit": 1, "watch": 1, "judge": 1}
    assert any("3 different samples" in note for note in result.proof.notes)


def test_labels_that_do_not_fit(model, samples, tmp_path):
    message = refused(CalibrationError, model, None, samples, labels=np.zeros(7, int))
    assert "60 samples and 7 labels" in message
    assert "10 classes" in refused(InputError, model, None, samples, labels=np.full(60, 10))
    np.save(tmp_path / "l.npy", np.zeros((60, 3)))
    assert "l.npy" in refused(InputError, model, None, samples, labels=tmp_path / "l.npy")
    np.savez(tmp_path / "l.npz", y=np.zeros(60, int))
    assert "'label'" in refused(InputError, model, None, samples, labels=tmp_path / "l.npz")
    np.savez(tmp_path / "test.npz", x=images(9, 3, 16, 16), label=np.full(9, 11))
    assert "classes" in refused(InputError, model, None, samples, eval=tmp_path / "test.npz")


def test_options_that_are_none(model, samples):
    assert "max_drop" in refused(ConfigError, model, None, samples, max_drop=-1)
    assert "budget" in refused(ConfigError, model, None, samples, budget="soon")
    assert "metric" in refused(ConfigError, model, None, samples, metric="f1")
    assert "seed" in refused(ConfigError, model, None, samples, seed=-1)
    assert "no target" in refused(TargetError, model, None, samples, target="cray", measure=True)
    assert "'speed'" in refused(ConfigError, model, None, samples, speed=2)
    assert "stage" in refused(ConfigError, model, None, samples, progress=print)


def test_a_network_without_weights_is_refused_by_the_technique(tmp_path):
    net = NetworkWriter()
    net.op("Relu", "x", name="y")
    model = net.save(tmp_path / "relu.onnx", {"x": (1, 8)}, ["y"])
    x = np.random.default_rng(0).normal(size=(40, 1, 8)).astype("float32")
    message = refused(ConfigError, model, tmp_path / "s.onnx", [{"x": each} for each in x])
    assert message == "coarse: the network has no weights"
    assert [p.name for p in tmp_path.iterdir()] == ["relu.onnx"]


def test_without_torch_it_says_what_to_install(model, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    for missing in ("torch", "safetensors"):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, m=missing: None if name == m else find(name)
        )
        with pytest.raises(ToolError, match=f"'{missing}'") as found:
            tvmcomp.compress(model)
        assert "pip install 'tvmcomp[compress]'" in str(found.value)


def test_the_package_is_the_function_and_imports_torch_only_when_called():
    import subprocess

    code = (
        "import sys, tvmcomp; c = tvmcomp.compress; assert callable(c), c; "
        "import tvmcomp.compress; assert tvmcomp.compress is c; "
        "from tvmcomp import compress; assert compress is c; "
        "assert 'torch' not in sys.modules and 'onnx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
