"""The end of a detector against LiteRT's interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from flatbuffers import flexbuffers
from litert import agree, converted, litert
from tflite_models import Graph, Op, Tensor, constant, model

import tvmcomp
from tvmcomp.errors import ModelError

ANCHORS, CLASSES, MOST = 40, 3, 6
SETTINGS = {
    "max_detections": MOST, "max_classes_per_detection": 1, "detections_per_class": 5,
    "use_regular_nms": False, "nms_score_threshold": 0.3, "nms_iou_threshold": 0.4,
    "num_classes": CLASSES, "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
}  # fmt: skip


def detector(tmp_path, settings, seed=0):
    rng = np.random.default_rng(seed)
    anchors = np.concatenate([rng.uniform(0.2, 0.8, (ANCHORS, 2)),
                              rng.uniform(0.1, 0.5, (ANCHORS, 2))], 1).astype("f4")  # fmt: skip
    rows = MOST * settings["max_classes_per_detection"]
    tensors = [
        Tensor("boxes", (1, ANCHORS, 4)), Tensor("scores", (1, ANCHORS, CLASSES + 1)),
        constant("anchors", anchors), Tensor("where", (1, rows, 4)), Tensor("what", (1, rows)),
        Tensor("score", (1, rows)), Tensor("count", (1,)),
    ]  # fmt: skip
    outputs = ["where", "what", "score", "count"]
    op = Op("TFLite_Detection_PostProcess", ["boxes", "scores", "anchors"], outputs,
            custom=bytes(flexbuffers.Dumps(settings)))  # fmt: skip
    path = tmp_path / "m.tflite"
    path.write_bytes(model(Graph(tensors, [op], ["boxes", "scores"], outputs)))
    scores = rng.permutation(ANCHORS * (CLASSES + 1)) / (ANCHORS * (CLASSES + 1))  # no two alike
    return path, {
        "boxes": rng.normal(0, 1, (1, ANCHORS, 4)).astype("f4"),
        "scores": scores.reshape(1, ANCHORS, CLASSES + 1).astype("f4"),
    }


@pytest.mark.parametrize("changes", [
    {}, {"nms_score_threshold": 0.985}, {"nms_iou_threshold": 0.05}, {"use_regular_nms": True},
    {"max_classes_per_detection": 2}, {"use_regular_nms": True, "detections_per_class": 1},
])  # fmt: skip
def test_detection(tmp_path, changes):
    for seed in range(3):
        path, feeds = detector(tmp_path, {**SETTINGS, **changes}, seed)
        ours, theirs = converted(path, feeds), litert(path, feeds)
        real = int(theirs[3][0])
        assert real and (real < MOST or not changes.get("nms_score_threshold"))
        agree(ours[3:], theirs[3:])
        real *= changes.get("max_classes_per_detection", 1)
        agree([each[:, :real] for each in ours[:3]], [each[:, :real] for each in theirs[:3]])
        assert not any(each[:, real:].any() for each in ours[:3])


def test_a_detector_is_compiled(tmp_path):
    path, feeds = detector(tmp_path, SETTINGS)
    with tvmcomp.load(tvmcomp.build(path)) as session:
        outputs = session.run(feeds)
    wanted = litert(path, feeds)
    real = int(wanted[3][0])
    agree([outputs["count"]], wanted[3:])
    agree([outputs["where"][:, :real]], [wanted[0][:, :real]])


@pytest.mark.parametrize("custom", [b"", b"\0" * 12, b"\xff" * 40])
def test_damaged_attributes_are_refused(tmp_path, custom):
    path, _ = detector(tmp_path, SETTINGS)
    data = path.read_bytes()
    held = bytes(flexbuffers.Dumps(SETTINGS))
    assert held in data
    path.write_bytes(data.replace(held, custom.ljust(len(held), b"\0")))
    with pytest.raises(ModelError, match="TFLite_Detection_PostProcess"):
        tvmcomp.convert(path)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(("overlap", "least"), [(0.5, 0.3), (0.05, -1.0), (0.9, 0.95)])
def test_suppression_alone(tmp_path, version, overlap, least):
    rng = np.random.default_rng(version)
    corners = rng.uniform(0, 1, (30, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.1, 0.6, (30, 2))], 1).astype("f4")
    scores = (rng.permutation(30) / 30).astype("f4")
    floats = {"overlap": overlap, "least": least, "sigma": 0}
    numbers = [constant(name, np.array(number, "f4")) for name, number in floats.items()]
    numbers.append(constant("most", np.array(8, "i4")))
    outputs = ["chosen", *(["found"] if version == 5 else []), "count"]
    inputs = ["boxes", "scores", "most", "overlap", "least"] + ["sigma"] * (version == 5)
    made = [Tensor("chosen", (8,), "int32"), Tensor("found", (8,)), Tensor("count", (), "int32")]
    tensors = [Tensor("boxes", (30, 4)), Tensor("scores", (30,)), *numbers, *made]
    kind = f"NON_MAX_SUPPRESSION_V{version}"
    op = Op(kind, inputs, outputs, options=f"NonMaxSuppressionV{version}Options")
    path = tmp_path / "m.tflite"
    path.write_bytes(model(Graph(tensors, [op], ["boxes", "scores"], outputs)))
    feeds = {"boxes": boxes, "scores": scores}
    agree(converted(path, feeds), litert(path, feeds))
    with tvmcomp.load(tvmcomp.build(path, log="none", reference=False)) as session:
        got = session.run(feeds)
    agree([got[name] for name in outputs], litert(path, feeds))
