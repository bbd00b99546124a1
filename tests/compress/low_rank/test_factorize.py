"""Networks in factors: what pays is taken, what does harm is not, and goals are kept.

Times are those of a modelled target, so that they are the same on every machine.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("torch")

import tvmcomp
from tests.compress.fake_quantize.rounded_networks import node, normal, prepared, samples_of
from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.cost import OperatorTimes
from tvmcomp.compress.fake_quantize.measure import Yardstick
from tvmcomp.compress.low_rank import LowRankSettings, factorize
from tvmcomp.compress.low_rank.choose import descents, saved
from tvmcomp.compress.low_rank.study import study, table
from tvmcomp.compress.samples import divide
from tvmcomp.errors import ConfigError
from tvmcomp.progress import NoProgress

TIMES = OperatorTimes("rpi4")


def network(rank: int | None):
    """A convolution, a wide product whose weight is of ``rank``, or of all ranks, and a head."""
    wide = normal(256, 256, seed=1, scale=1 / 16)
    if rank is not None:
        wide = normal(256, rank, seed=2, scale=1 / 16) @ normal(rank, 256, seed=3, scale=0.2)
    return prepared(
        [
            node("Conv", ["x", "w0", "b0"], ["c"], "conv", pads=[1, 1, 1, 1]),
            node("Reshape", ["c", "shape"], ["rows"], "rows"),
            node("MatMul", ["rows", "w1"], ["m"], "wide"),
            node("Add", ["m", "b1"], ["p"], "bias"),
            node("Relu", ["p"], ["r"], "relu"),
            node("MatMul", ["r", "w2"], ["y"], "head"),
        ],
        {"x": [1, 2, 16, 16]}, ["y"],
        {
            "w0": normal(8, 2, 3, 3), "b0": normal(8), "shape": np.array([8, 256]),
            "w1": wide, "b1": normal(256), "w2": normal(256, 4, seed=4),
        },
    )  # fmt: skip


def factorized(model, **settings):
    given = {"drop": 1.0, **settings}
    parts = divide(samples_of(model, 60), 0)
    yardstick = Yardstick(model, parts.watch)

    def lost(other):
        return yardstick.loss(BatchedNetwork(other, parts.watch))

    return factorize(
        model, lost, parts, LowRankSettings(**given), TIMES, "float", NoProgress()
    ), parts  # fmt: skip


def outputs(model, sample):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, dict(sample))[0]


def test_a_weight_of_low_rank_is_factored_and_nothing_is_lost() -> None:
    model = network(rank=24)
    made, parts = factorized(model, drop=1e-6)
    assert set(made.chosen) == {"wide"}
    assert 24 <= made.chosen["wide"].form.ranks[0] < 128
    assert [n.name for n in made.model.graph.node if n.op_type == "MatMul"] == [
        "wide.0", "wide", "head",
    ]  # fmt: skip
    assert "(modelled)" in made.notes[0] and "factored 1 of 3" in made.notes[1]
    for sample in parts.judge:
        np.testing.assert_allclose(
            outputs(made.model, sample), outputs(model, sample), rtol=1e-3, atol=1e-2
        )


def test_what_does_harm_is_left_and_the_reason_is_told() -> None:
    made, _ = factorized(network(rank=None), drop=0.0)
    assert not made.chosen
    told = "\n".join(made.notes)
    assert "wide: each rank that is faster does too much harm for what it saves" in told
    assert "head" in told and "no rank takes less work in whole vectors" in told


def test_a_goal_of_speed_is_reached_whatever_it_costs() -> None:
    model = network(rank=None)
    made, _ = factorized(model, faster=1.3)
    before, after = TIMES.in_turns([model, made.model])
    assert before > 1.25 * after
    slower, _ = factorized(model, faster=1.1)
    assert TIMES.seconds(slower.model) > after


def test_descents_get_faster_and_noisier_and_keep_what_is_asked_for() -> None:
    made, _ = factorized(network(rank=None), drop=0.0, ranks={"conv": 2})
    steps = list(descents(made.prospects))
    gains = [saved(made.prospects, each) for each in steps]
    assert gains == sorted(gains) and len(steps) > 2
    assert all(each["conv"].form.ranks == (2,) for each in steps)


def test_rules_by_operator() -> None:
    model = network(rank=24)
    made, _ = factorized(model, kept=("wide",))
    assert not made.chosen and made.model is model
    with pytest.raises(ConfigError, match="matches 'absent'"):
        factorized(model, ranks={"absent": 3})


def test_it_goes_with_int8_and_other_tools_run_it(tmp_path) -> None:
    model = network(rank=24)
    samples = samples_of(model, 60)
    result = tvmcomp.compress(
        model, tmp_path / "small.onnx", samples, low_rank=True, quant="int8", round="nearest",
        max_drop=20, target="rpi4", measure=False,
    )  # fmt: skip
    assert result.accepted and result.proof is not None
    assert [step.technique for step in result.proof.steps] == ["low_rank", "quantize"]
    assert result.proof.after.macs < result.proof.before.macs
    small = outputs(result.model, samples[0])
    assert np.abs(small - outputs(model, samples[0])).max() < 0.2 * np.abs(small).max()


def test_the_table_says_what_ranks_save_and_harm() -> None:
    model = network(rank=None)
    parts = divide(samples_of(model, 60), 0)
    found = study(model, parts, LowRankSettings(drop=0), TIMES, "float", NoProgress())
    rows = table(found, TIMES.seconds(model))
    assert {row.name for row in rows} == {"wide"} and {row.kind for row in rows} == {"ranks"}
    assert all(row.count == 256 and 0 < row.saved < 1 for row in rows)
    by_rank = sorted(rows, key=lambda row: row.left)
    assert [row.saved for row in by_rank] == sorted((r.saved for r in rows), reverse=True)
    assert [row.harm for row in by_rank] == sorted((r.harm for r in rows), reverse=True)
