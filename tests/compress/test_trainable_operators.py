"""Operators in torch: each one's generated cases against ONNX Runtime, gradients against
differences."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from operator_cases.batches import batches  # noqa: E402
from operator_cases.check import difference, merged, reference  # noqa: E402
from operator_cases.draw import GENERATORS, draw, opsets_of  # noqa: E402

from tvmcomp.compress.network import TrainableNetwork  # noqa: E402
from tvmcomp.errors import ModelError  # noqa: E402
from tvmcomp.frontend.binding import Binding  # noqa: E402
from tvmcomp.frontend.onnx.file import check_model  # noqa: E402
from tvmcomp.frontend.onnx.prepare import prepare  # noqa: E402

#: What a trainable network says that it can't compute, with the reason.
REFUSED = {
    "com.microsoft.DynamicQuantizeLSTM": "its states are rounded by steps that they decide",
    "com.microsoft.GroupQueryAttention": "its caches are of language models",
    "If": "its branch depends on data",
    "Loop": "its end depends on data",
    "MaxRoiPool": "neither torch nor onnx's reference has it",
    "TfIdfVectorizer": "onnx's reference computes it wrongly",
}
#: Types that onnx's reference computes, as far as it does.
UNSIGNED = ("uint16", "uint32", "uint64")


def is_left_out(case):
    """What no trainable network holds: unsigned types, and pictures of integers smoothed."""
    arrays = [*case.inputs.values(), *case.weights.values()]
    smoothed = any(each.name == "antialias" for node in case.nodes for each in node.attribute)
    return any(str(getattr(array, "dtype", "")) in UNSIGNED for array in arrays) or (
        smoothed and arrays[0].dtype.kind in "iu"
    )


def network_of(case):
    model = merged([case])
    check_model(model, "case", None)
    return TrainableNetwork(prepare(model, Binding({}, {}, {}), where="case").model)


def feeds_of(case):
    return [torch.from_numpy(np.array(array)) for array in case.inputs.values()]


def outputs_of(case):
    with torch.no_grad():
        return [tensor.numpy() for tensor in network_of(case)(*feeds_of(case))]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "cases", list(batches(2 * len(GENERATORS), seed=0)), ids=lambda cases: f"opset{cases[0].opset}"
)
def test_operators_equal_onnxruntime(cases):
    wrong = {}
    for case in cases:
        if case.operator in REFUSED or is_left_out(case):
            continue
        if problem := difference(case, outputs_of(case), reference(case)):
            wrong[case.describe()] = problem
    assert not wrong


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("operator", REFUSED)
def test_what_is_not_computed_is_refused(operator):
    cases = [draw(operator, opsets_of(operator)[-1], seed) for seed in range(9)]
    refused = 0
    for case in cases:
        try:
            got = outputs_of(case)
        except ModelError:
            refused += 1
        else:  # its course was known, and folded
            assert operator in ("If", "Loop")
            assert difference(case, got, reference(case)) is None
    assert refused


#: Smooth enough for differences.
SMOOTH = (
    "Attention", "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "Einsum", "Gemm",
    "GRU", "GroupNormalization", "InstanceNormalization", "LSTM", "LayerNormalization", "MatMul",
    "RMSNormalization", "RNN", "Resize", "Softmax", "com.microsoft.Attention",
    "com.microsoft.SkipLayerNormalization",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("operator", SMOOTH)
def test_gradients_are_those_of_differences(operator):
    """Of what is fed, in double precision; constants' gradients come by the same way."""
    checked = 0
    for seed in range(40):
        case = draw(operator, opsets_of(operator)[-1], seed)
        feeds = feeds_of(case)
        size = sum(feed.numel() for feed in feeds)
        if size > 300 or not any(feed.dtype == torch.float32 for feed in feeds):
            continue
        network = network_of(case).double()
        inputs = [
            feed.double().requires_grad_() if feed.is_floating_point() else feed for feed in feeds
        ]
        assert torch.autograd.gradcheck(
            lambda *given, network=network: tuple(
                network.run(given, network.outputs)[name] for name in network.outputs[:1]
            ),
            inputs,
            atol=1e-4,
            fast_mode=True,
        )
        checked += 1
        if checked == 2:
            return
    assert checked
