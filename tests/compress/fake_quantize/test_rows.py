"""The rows that a weight is multiplied by: with its matrix they give the operator's results."""

from __future__ import annotations

import numpy as np
import pytest
from rounded_networks import node, normal, prepared

torch = pytest.importorskip("torch")

from tvmcomp.compress.fake_quantize.plan import plan_model  # noqa: E402
from tvmcomp.compress.fake_quantize.rows import mean_square, rows_of  # noqa: E402
from tvmcomp.compress.network import TrainableNetwork  # noqa: E402


@pytest.mark.parametrize(
    ("kind", "data", "weight", "attributes"),
    [
        ("Conv", (1, 4, 7, 6), (6, 2, 3, 2), {"group": 2, "strides": [2, 1], "pads": [1, 0, 2, 1]}),
        ("Conv", (1, 3, 9), (5, 3, 3), {"dilations": [2]}),
        ("Conv", (2, 4, 5, 5), (4, 1, 3, 3), {"group": 4, "auto_pad": "SAME_UPPER"}),
        ("Conv", (1, 2, 4, 4, 4), (3, 2, 2, 2, 2), {}),
        ("ConvTranspose", (1, 4, 5, 4), (4, 3, 3, 2), {"group": 2, "strides": [2, 3]}),
        ("ConvTranspose", (1, 4, 5), (4, 3, 3), {"dilations": [2]}),
        ("Gemm", (3, 4), (5, 4), {"transB": 1}),
        ("MatMul", (2, 3, 4), (4, 5), {}),
    ],
)
def test_rows_times_the_matrix_are_the_results(kind, data, weight, attributes):
    model = prepared([node(kind, ["x", "w"], ["y"], "n", **attributes)], {"x": data}, ["y"],
                     {"w": normal(*weight)})  # fmt: skip
    (planned,) = plan_model(model).weights
    network = TrainableNetwork(model)
    x = torch.from_numpy(normal(3, *data, seed=1))
    rows = rows_of(planned, network.nodes[0], x, 10**9, 0)
    with torch.no_grad():
        results = torch.stack([network(each)[0] for each in x]).numpy()
    matrices = torch.from_numpy(np.ascontiguousarray(planned.matrices(normal(*weight))))
    got = (rows @ matrices.mT).numpy()  # [G, rows, O]
    if kind in ("Conv", "ConvTranspose"):
        count = got.shape[1] // (len(x) * data[0])
        got = got.reshape(got.shape[0], len(x), data[0], count, -1)
        got = np.moveaxis(got, (1, 2, 0, 4, 3), (0, 1, 2, 3, 4)).reshape(results.shape)
    np.testing.assert_allclose(got.reshape(results.shape), results, atol=1e-5)


def test_matrices_and_back():
    for shape, kind in (((4, 3, 2, 2), "ConvTranspose"), ((6, 2, 3, 3), "Conv")):
        attributes = {"group": 2}
        model = prepared([node(kind, ["x", "w"], ["y"], "n", **attributes)], {"x": (1, 4, 5, 5)},
                         ["y"], {"w": normal(*shape)})  # fmt: skip
        (planned,) = plan_model(model).weights
        weight = normal(*shape)
        matrices = planned.matrices(weight)
        assert matrices.ndim == 3 and len(matrices) == 2
        np.testing.assert_array_equal(planned.from_matrices(matrices), weight)


def test_some_rows_stand_for_all():
    model = prepared([node("Conv", ["x", "w"], ["y"], "n")], {"x": (1, 2, 128, 128)}, ["y"],
                     {"w": normal(3, 2, 2, 2)})  # fmt: skip
    (planned,) = plan_model(model).weights
    x = torch.from_numpy(normal(4, 1, 2, 128, 128))
    (square,) = mean_square(planned, TrainableNetwork(model).nodes[0], [x])
    np.testing.assert_allclose(square, np.eye(8), atol=0.08)
