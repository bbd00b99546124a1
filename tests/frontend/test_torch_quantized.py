"""Modules quantized in PyTorch (pt2e): every anchor runs in int8, and gives what torch gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from needed import package

import tvmcomp
from tvmcomp.frontend.torch import pt2

torch = package("torch", "torch")
pt2e = package("torchao.quantization.pt2e.quantize_pt2e", "frameworks")
quantization = package("torchao.quantization", "frameworks")
x86 = package("torchao.quantization.pt2e.quantizer.x86_inductor_quantizer", "frameworks")
xnnpack = package("torchao.testing.pt2e._xnnpack_quantizer", "frameworks")
nn = torch.nn


class Network(nn.Module):
    """Convolutions of each kind, a residual sum and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16))
        self.deep = nn.Sequential(
            nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU6()
        )
        self.point = nn.Conv2d(16, 16, 1)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(self.point(self.deep(x)) + x)
        return self.head(x.mean((2, 3)))


def batch() -> object:
    return torch.randn(2, 3, 16, 16)


def quantized(how: str) -> nn.Module:
    if how == "x86":
        quantizer = x86.X86InductorQuantizer()
        quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    else:
        config = xnnpack.get_symmetric_quantization_config(
            is_qat=how == "trained", is_per_channel=True
        )
        quantizer = xnnpack.XNNPACKQuantizer().set_global(config)
    module = torch.export.export(Network().eval(), (batch(),)).module()
    if how != "trained":
        module = pt2e.prepare_pt2e(module, quantizer)
        for _ in range(4):
            module(batch())
        return pt2e.convert_pt2e(module)
    module = pt2e.prepare_qat_pt2e(module, quantizer)
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    for _ in range(5):
        optimizer.zero_grad()
        module(batch()).square().mean().backward()
        optimizer.step()
    return pt2e.convert_pt2e(module)


@pytest.mark.parametrize("how", ["trained", "calibrated", "x86"])
def test_every_anchor_in_int8(how: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    module, x = quantized(how), batch()
    art = tvmcomp.build(module, quant="int8", reference=False, example_inputs=(x,))
    anchors = [op for op in art.metadata.operators if op.macs]
    assert len(anchors) == 4
    assert {op.dtype for op in anchors} == {"int8"}
    with torch.no_grad():
        expected = module(x).numpy()
    with tvmcomp.load(art) as session:
        (got,) = session.run({"x": x.numpy()}).values()
    # One step of the output's scale is about a hundredth of its largest value.
    assert np.abs(got - expected).max() <= 0.02 * np.abs(expected).max()
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(module, (x,)), path)
    kinds = [node.op_type for node in pt2.convert(path, tmp_path).graph.node]
    assert kinds.count("QuantizeLinear") >= 4 and kinds.count("Conv") == 3


class Products(nn.Module):
    """Two products and what lies between them, over rows of several axes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(32, 48), nn.Linear(48, 24, bias=False)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


@pytest.mark.parametrize("shape", [(4, 32), (2, 5, 32)])
def test_torchao_s_dynamic_products_are_integers(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module, x = Products().eval(), torch.randn(shape)
    quantization.quantize_(module, quantization.Int8DynamicActivationInt8WeightConfig())
    art = tvmcomp.build(module, reference=False, example_inputs=(x,))
    assert [op.dtype for op in art.metadata.operators if op.macs] == ["int8", "int8"]
    with torch.no_grad():
        expected = module(x).numpy()
    with tvmcomp.load(art) as session:
        (got,) = session.run({"x": x.numpy()}).values()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
