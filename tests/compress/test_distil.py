"""Distillation: what is harmed recovers, and a run is the same however often it was killed."""

from __future__ import annotations

import os
import random as random_numbers
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import random, save
from small_disk import small_disk

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from tvmcomp.compress.distil import DistilOptions, distil  # noqa: E402
from tvmcomp.compress.network import TrainableNetwork  # noqa: E402
from tvmcomp.compress.samples import divide  # noqa: E402
from tvmcomp.errors import ArtifactError, CalibrationError, ConfigError, ModelError  # noqa: E402
from tvmcomp.frontend.binding import Binding  # noqa: E402
from tvmcomp.frontend.onnx.prepare import prepare  # noqa: E402

node = helper.make_node
STEPS = DistilOptions(budget=None, steps=150, batch=16, rate=0.05)


def network(folder, nodes=None, weights=None, shape=(1, 12), outputs=("y",)):
    """Two layers and a Softmax, of a classifier that is sure; or what is given."""
    path = save(
        Path(folder) / "m.onnx",
        nodes
        or [
            node("Gemm", ["x", "v", "b"], ["h"]),
            node("Relu", ["h"], ["r"]),
            node("MatMul", ["r", "w"], ["s"]),
            node("Softmax", ["s"], ["y"]),
        ],
        {"x": shape},
        list(outputs),
        weights=weights
        or {"v": random(12, 24), "b": random(24, seed=1), "w": random(24, 5, seed=2)},
    )
    return prepare(onnx.load(path), Binding({}, {}, {}), where=str(path)).model


def harmed(model, amount=0.6):
    """``model`` with other weights."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for index, tensor in enumerate(copy.graph.initializer):
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.ndim:
            noise = amount * array.std() * random(*array.shape, seed=50 + index)
            tensor.CopyFrom(numpy_helper.from_array(array + noise, tensor.name))
    return copy


def samples(count=240, shape=(1, 12)):
    return [{"x": x} for x in random(count, *shape, seed=9)]


def weights_of(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def same_weights(one, other):
    mine, theirs = weights_of(one), weights_of(other)
    assert mine.keys() == theirs.keys()
    return all(np.array_equal(mine[name], theirs[name]) for name in mine)


def test_a_harmed_network_recovers_what_it_gave(tmp_path):
    teacher = network(tmp_path)
    student = harmed(teacher)
    found = distil(student, teacher, divide(samples(), 0), STEPS)
    assert found.start.agreement < 0.75
    assert found.best.agreement > 0.8 and found.best.loss < found.start.loss / 5
    assert found.steps == 150 and not found.interrupted
    assert not same_weights(found.model, student)
    assert [n.op_type for n in found.model.graph.node] == [n.op_type for n in student.graph.node]


def test_the_example_with_weights_of_two_bits_learns_its_digits_again():
    example = Path(__file__).parents[2] / "examples" / "mnist"
    teacher = prepare(onnx.load(example / "model.onnx"), Binding({}, {}, {}), where="mnist").model
    student = onnx.ModelProto()
    student.CopyFrom(teacher)
    for tensor in student.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim > 1:
            step = np.abs(array).max(tuple(range(1, array.ndim)), keepdims=True)
            rounded = (np.round(array / step) * step).astype("float32")
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    digits = [{"x": x[None]} for x in np.load(example / "calib.npz")["x"]]
    few = DistilOptions(budget=None, steps=30, batch=16, rate=0.01)
    found = distil(student, teacher, divide(digits, 0), few)
    held_out = np.load(example / "test.npz")["x"][::8]
    agreement = []
    for model in (student, found.model):
        networks = (TrainableNetwork(each) for each in (model, teacher))
        with torch.no_grad():
            mine, theirs = (each(torch.from_numpy(held_out))[0].argmax(1) for each in networks)
        agreement.append(float((mine == theirs).float().mean()))
    assert agreement[0] < 0.5 and agreement[1] > 0.8


def test_the_same_seed_gives_the_same_network(tmp_path):
    teacher = network(tmp_path)
    student, parts = harmed(teacher), divide(samples(), 0)
    few = DistilOptions(budget=None, steps=30)
    one, again = (distil(student, teacher, parts, few).model for _ in range(2))
    other = distil(student, teacher, parts, DistilOptions(budget=None, steps=30, seed=1)).model
    assert same_weights(one, again) and not same_weights(one, other)


def test_values_recover_too(tmp_path):
    nodes = [
        node("MatMul", ["x", "v"], ["h"]),
        node("Tanh", ["h"], ["t"]),
        node("MatMul", ["t", "w"], ["y"]),
    ]
    teacher = network(tmp_path, nodes, {"v": random(12, 24), "w": random(24, 1) + 3})
    found = distil(harmed(teacher, 0.3), teacher, divide(samples(), 0), STEPS)
    assert found.best.loss < found.start.loss / 5 and found.best.agreement > found.start.agreement


def test_labels_join(tmp_path):
    teacher = network(tmp_path)
    labels = [i % 5 for i in range(240)]
    found = distil(harmed(teacher), teacher, divide(samples(), 0, labels), STEPS)
    assert found.best.correct is not None and found.best.loss < found.start.loss


def test_what_needs_nothing_is_left_as_it_is(tmp_path):
    teacher = network(tmp_path)
    found = distil(teacher, teacher, divide(samples(), 0), STEPS)
    assert found.model == teacher and found.steps == 0
    assert "nothing to learn" in found.notes[0]


def test_a_network_without_weights_is_left_as_it_is(tmp_path):
    model = network(tmp_path, [node("Softmax", ["x"], ["y"])], {"unused": np.float32(1)})
    found = distil(model, model, divide(samples(), 0), STEPS)
    assert found.model is model and "no weights" in found.notes[0]


def test_numbers_of_formulas_and_masks_stay(tmp_path):
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Add", ["h", "mask"], ["m"]),
        node("Mul", ["m", "half"], ["y"]),
    ]
    mask = np.array([[0, 0, -10000, 0]], "float32")
    teacher = network(tmp_path, nodes, {"w": random(12, 4), "mask": mask, "half": np.float32(0.5)})
    student = onnx.ModelProto()
    student.CopyFrom(teacher)
    student.graph.initializer[0].CopyFrom(numpy_helper.from_array(random(12, 4, seed=4), "w"))
    found = distil(student, teacher, divide(samples(), 0), STEPS)
    assert found.best.loss < found.start.loss
    now = weights_of(found.model)
    assert now["half"] == np.float32(0.5) and np.array_equal(now["mask"], mask)


@pytest.mark.parametrize("count", [3, 5])
def test_a_few_samples_are_enough_to_run(tmp_path, count):
    teacher = network(tmp_path)
    found = distil(harmed(teacher), teacher, divide(samples(count), 0), STEPS)
    assert found.best.loss <= found.start.loss


def test_a_rate_that_ruins_the_weights_is_halved_until_it_does_not(tmp_path):
    teacher = network(tmp_path)
    wild = DistilOptions(budget=None, steps=300, rate=30.0)
    found = distil(harmed(teacher, 0.2), teacher, divide(samples(), 0), wild)
    assert found.best.loss <= found.start.loss
    assert all(np.isfinite(array).all() for array in weights_of(found.model).values())


def test_a_teacher_that_gives_nan_is_an_error(tmp_path):
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Log", ["h"], ["y"])]
    teacher = network(tmp_path, nodes, {"w": random(12, 4)})
    with pytest.raises(CalibrationError, match="NaN or Inf"):
        distil(harmed(teacher), teacher, divide(samples(), 0), STEPS)


def test_networks_of_other_inputs_are_refused(tmp_path):
    teacher = network(tmp_path)
    path = save(
        tmp_path / "o.onnx", [node("MatMul", ["z", "w"], ["y"])], {"z": (1, 12)}, ["y"],
        weights={"w": random(12, 5)},
    )  # fmt: skip
    other = prepare(onnx.load(path), Binding({}, {}, {}), where="o").model
    parts = divide([{"x": s["x"], "z": s["x"]} for s in samples()], 0)
    with pytest.raises(ModelError, match="other inputs"):
        distil(other, teacher, parts, STEPS)


def test_without_a_budget_or_steps_it_would_not_end():
    with pytest.raises(ConfigError, match="no end"):
        DistilOptions(budget=None)


def test_a_budget_of_time_ends_it(tmp_path):
    teacher = network(tmp_path)
    begun = time.monotonic()
    options = DistilOptions(budget=2.0, batch=16)
    found = distil(harmed(teacher), teacher, divide(samples(), 0), options)
    assert found.steps > 10 and time.monotonic() - begun < 6


def test_no_time_is_left(tmp_path):
    teacher = network(tmp_path)
    student = harmed(teacher)
    found = distil(student, teacher, divide(samples(), 0), DistilOptions(budget=0.0, batch=16))
    assert found.steps == 0 and found.model == student
    assert found.notes == ("No time was left to train; give a larger budget.",)


class Interrupting:
    """Presses Ctrl-C after so many steps."""

    def __init__(self, steps):
        self.left = steps

    def stage(self, name, total=None):
        def step():
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

        return step

    def status(self, text):
        self.text = text


def test_ctrl_c_keeps_the_best_so_far(tmp_path):
    teacher = network(tmp_path)
    student, parts = harmed(teacher), divide(samples(), 0)
    progress = Interrupting(60)
    found = distil(student, teacher, parts, STEPS, progress)
    assert found.interrupted and found.steps == 60
    assert found.best.loss < found.start.loss and not same_weights(found.model, student)
    assert "held out" in progress.text and "agreement" in progress.text


def test_it_goes_on_from_its_checkpoint(tmp_path):
    teacher = network(tmp_path)
    student, parts, path = harmed(teacher), divide(samples(), 0), tmp_path / "c.safetensors"
    whole = distil(student, teacher, parts, STEPS)
    distil(student, teacher, parts, STEPS, Interrupting(70), path)
    found = distil(student, teacher, parts, STEPS, None, path)
    assert "went on from step" in found.notes[0]
    assert same_weights(found.model, whole.model) and found.best == whole.best
    # What is done is done.
    again = distil(student, teacher, parts, STEPS, Interrupting(1), path)
    assert same_weights(again.model, whole.model) and not again.interrupted


def test_a_checkpoint_of_another_run_is_not_used(tmp_path):
    teacher = network(tmp_path)
    student, path = harmed(teacher), tmp_path / "c.safetensors"
    few = DistilOptions(budget=None, steps=20)
    distil(student, teacher, divide(samples(), 0), few, None, path)
    found = distil(student, teacher, divide(samples(), 1), few, None, path)
    assert "was not used" in found.notes[0] and found.steps == 20


def test_a_full_disk_is_an_error_before_any_step(tmp_path):
    teacher = network(tmp_path)
    with small_disk(tmp_path, 8) as disk, pytest.raises(ArtifactError, match="can't be written"):
        distil(harmed(teacher), teacher, divide(samples(), 0), STEPS, None, disk / "c")


SCRIPT = """
import sys
sys.path[:0] = [{tests!r}, {helpers!r}]
import onnx, torch
torch.set_num_threads(1)
from pathlib import Path
from test_distil import distil, divide, harmed, network, samples, STEPS
teacher = network({folder!r})
found = distil(harmed(teacher), teacher, divide(samples(), 0), STEPS, None, Path({folder!r}) / "c")
onnx.save(found.model, {folder!r} + "/done.onnx")
"""


@pytest.mark.slow
@pytest.mark.ci
def test_killed_at_any_moment_it_comes_to_the_same_network(tmp_path):
    here = Path(__file__).parent
    script = SCRIPT.format(
        tests=str(here), helpers=str(here.parent / "frontend" / "onnx"), folder=str(tmp_path)
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")]),
    }
    chance, path = random_numbers.Random(0), tmp_path / "c"
    kills = 0
    while kills < 6:
        process = subprocess.Popen([sys.executable, "-c", script], env=environment)
        while not path.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    teacher = network(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        want = distil(harmed(teacher), teacher, divide(samples(), 0), STEPS).model
    finally:
        torch.set_num_threads(threads)
    assert kills and same_weights(onnx.load(tmp_path / "done.onnx"), want)
