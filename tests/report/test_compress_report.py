"""The table of a compression: what it says of gains, losses, and of what was not measured."""

from __future__ import annotations

import io

import pytest
from msgspec.structs import replace
from rich.console import Console

from tvmcomp.compress.proof import Built, Proof, Side, StepProof
from tvmcomp.compress.score import Score
from tvmcomp.compress.technique import Suggestion
from tvmcomp.report.compress import compress_report, print_proof, print_suggestions

SCORE = Score("top1", "y", "%", 200, 97.0, 96.5, 92.95, 98.29, 0.5, -1.3, 2.4)
FLOAT = Built(400_000, 300_000, 0.2, 0.3, 50.0, 97.0)
INT8 = Built(200_000, 80_000, 0.1, 0.2, 49.0, 96.0)
STEP = StepProof(
    "quantize", {"bits": 4}, 12.34, 400_000, 60_000, "agreement", 0.0, 1.5, float("inf"), 21.5,
    ("6 of 8 bits",),
)  # fmt: skip
PROOF = Proof(
    model="net.onnx",
    output="small.onnx",
    accepted=True,
    max_drop=1.0,
    score=SCORE,
    before=Side(400_000, 1234, 56_789, {"float": FLOAT, "int8": INT8}),
    after=Side(60_000, 1240, 56_789, {"int8": replace(INT8, constants_bytes=40_000, p50_ms=0.05)}),
    steps=(STEP,),
    samples={"fit": 65, "watch": 15, "judge": 200},
    judged_on="test.npz",
    seed=0,
    target="native",
    resumed=False,
    notes=("dimension T is 6 in it",),
)


def printed(proof: Proof) -> str:
    out = io.StringIO()
    print_proof(proof, Console(file=out, width=120))
    return out.getvalue()


def line(text: str, start: str) -> str:
    (found,) = [each for each in text.splitlines() if each.startswith(f"│ {start} ")]
    return found


def test_the_score_has_its_interval():
    row = line(printed(PROOF), "top1 of y")
    for part in ("97.00%", "96.50%", "-0.50 points, 95% confidence -2.40 to +1.30"):
        assert part in row


def test_without_labels_the_original_is_the_measure():
    likeness = replace(SCORE, metric="sqnr", unit="dB", before=None, after=23.4567)
    row = line(printed(replace(PROOF, score=likeness)), "sqnr of y with the original")
    assert "–" in row and "23.46 dB" in row and "92.95 to 98.29" in row


def test_what_is_quantized_stands_beside_float_too():
    text = printed(PROOF)
    assert "6.67 times less" in line(text, "ONNX file")
    assert "2.00 times less, beside float 7.50 times less" in line(text, "int8: weights in it")
    assert "2.00 times less, beside float 4.00 times less" in line(text, "int8: p50 latency")
    assert "the same" in line(text, "multiply-accumulates")
    assert "0.2 ms" in line(text, "float: p50 latency")


def test_steps_say_what_they_cost_and_gained():
    text = printed(PROOF)
    row = line(text, "quantize")
    for part in ("12.3 s", "390.6 KiB → 58.6 KiB", "0 → 1.50 points", "inf → 21.5"):
        assert part in row
    assert "note: quantize: 6 of 8 bits" in text and "note: dimension T is 6 in it" in text
    assert "judged on 200 samples (test.npz); fitted on 65, watched on 15" in text


def test_a_run_that_went_on_says_so():
    assert "went on from a run" in printed(replace(PROOF, resumed=True))
    assert "went on from a run" not in printed(PROOF)


def test_what_was_not_measured_says_why():
    built = Built(problem="error: code for rpi4 does not run on this machine")
    side = replace(PROOF.after, builds={"int8": built})
    text = printed(replace(PROOF, after=side))
    assert "note: int8 after, not measured: error: code for rpi4" in text
    assert "–" in line(text, "int8: p50 latency")
    assert "latency" not in printed(
        replace(PROOF, before=replace(PROOF.before, builds={}), after=replace(side, builds={}))
    )


def test_what_was_refused_says_so():
    text = printed(replace(PROOF, accepted=False, output=None, max_drop=0.25))
    assert "the original is kept: 0.50 points lost, 0.25 allowed (--max-drop)" in text
    assert "wrote" not in text and "wrote small.onnx" in printed(PROOF)


def test_json_has_everything():
    document = compress_report(PROOF)
    assert document["after"]["builds"]["int8"]["p50_ms"] == 0.05
    assert document["score"]["drop_high"] == 2.4
    assert document["steps"][0]["options"] == {"bits": 4}


@pytest.mark.parametrize("suggestions", [(), (Suggestion("--bits 4", "an eighth"),)])
def test_suggestions(suggestions):
    out = io.StringIO()
    print_suggestions(suggestions, Console(file=out, width=120))
    wanted = "--bits 4: an eighth" if suggestions else "nothing that would make"
    assert wanted in out.getvalue()
