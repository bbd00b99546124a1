"""Code books are taken where weights lie in heaps, and even steps where they do not."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from needed import package

from tests.compress.fake_quantize.rounded_networks import node, normal, prepared, samples_of

package("torch", "compress")

import onnx  # noqa: E402

import tvmcomp  # noqa: E402
from tvmcomp.compress.clusters.instead import clusters_instead  # noqa: E402
from tvmcomp.compress.fake_quantize.plan import plan_model  # noqa: E402
from tvmcomp.compress.samples import divide  # noqa: E402


def heaps(*shape: int) -> np.ndarray:
    """Weights that lie close to seven values at no even distance."""
    rng = np.random.default_rng(0)
    values = rng.choice([-1.0, -0.83, -0.11, 0.02, 0.19, 0.47, 0.94], shape)
    return (values + rng.normal(0, 0.002, shape)).astype("f4")


def network() -> onnx.ModelProto:
    nodes = [
        node("MatMul", ["x", "heaps.w"], ["a"], "heaps"),
        node("Tanh", ["a"], ["t"], "tanh"),
        node("MatMul", ["t", "smooth.w"], ["b"], "smooth"),
        node("Tanh", ["b"], ["u"], "tanh2"),
        node("MatMul", ["u", "head.w"], ["y"], "head"),
    ]
    weights = {
        "heaps.w": heaps(32, 64) * 0.3,
        "smooth.w": normal(64, 64, seed=1, scale=0.2),
        "head.w": normal(64, 8, seed=2, scale=0.3),
    }
    return prepared(nodes, {"x": (4, 32)}, ["y"], weights)


MODEL = network()
SAMPLES = samples_of(MODEL, 60)


@pytest.mark.parametrize("bits", [4, 3])
def test_heaps_get_a_book_and_what_is_smooth_even_steps(bits):
    weights = plan_model(MODEL).weights
    seen = []
    chosen = clusters_instead(
        MODEL,
        weights,
        {weight.tensor: bits for weight in weights},
        divide(SAMPLES, 0),
        lambda: seen.append(1),
    )
    assert chosen.keys() == {"heaps"} and 4 <= chosen["heaps"] <= 16
    assert len(seen) == 3


def test_with_many_bits_nothing_is_asked():
    weights = plan_model(MODEL).weights
    assert not clusters_instead(MODEL, weights, {w.tensor: 8 for w in weights}, divide(SAMPLES, 0))


def test_in_a_recipe_it_loses_less_at_no_more_bytes(tmp_path):
    onnx.save(MODEL, tmp_path / "net.onnx")
    found = {}
    others = {"head": {"bits": 8}, "smooth": {"bits": 8}}
    for values in ("even", "best"):
        step = {"name": "quantize", "values": values, "operators": others, "bits": 4}
        result = tvmcomp.compress(
            tmp_path / "net.onnx", None, SAMPLES, recipe=[step], measure=False, max_drop=100
        )
        artifact = tvmcomp.build(result.model, reference=False, log="none")
        found[values] = result, artifact.small().constants_nbytes_in_file
    (even, even_bytes), (best, best_bytes) = found["even"], found["best"]
    assert any("values of code books" in note for note in best.proof.steps[0].notes)
    assert best.proof.steps[0].sqnr_db_after > even.proof.steps[0].sqnr_db_after + 1
    assert best_bytes <= 1.05 * even_bytes
    session = onnxruntime.InferenceSession(best.model.SerializeToString())
    assert np.isfinite(session.run(None, dict(SAMPLES[0]))[0]).all()
    learned = tvmcomp.compress(
        tmp_path / "net.onnx", None, SAMPLES, measure=False, max_drop=100,
        recipe=[step, {"name": "distil", "steps": 12}],
    )  # fmt: skip
    assert learned.proof.steps[1].sqnr_db_after >= best.proof.steps[0].sqnr_db_after - 0.1
