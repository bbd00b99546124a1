"""Networks of concatenations, splits and shuffles: against ONNX Runtime, on several targets."""

from __future__ import annotations

import numpy as np
import pytest
from networks import NetworkWriter
from precise_onnxruntime import precise_onnxruntime

from tvmcomp import frontend, targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.progress import NoProgress
from tvmcomp.quantize import QuantConfig
from tvmcomp.quantize.data import load_samples
from tvmcomp.quantize.precision import choose_precision

SIZE = 9
HERE = targets.detect()


class Network(NetworkWriter):
    """Writes operators over x (1, 6, 9, 9), and knows their channels."""

    def __init__(self):
        super().__init__()
        self.channels = {"x": 6}

    def give(self, name, channels):
        self.channels[name] = channels
        return name

    def relu_conv(self, x, channels, size=1, groups=1):
        inner = self.channels[x] // groups
        pads = [size // 2] * 4
        y = self.conv(x, (channels, inner), (size, size), pads=pads, group=groups)
        return self.give(self.op("Relu", y), channels)

    def join(self, *parts):
        return self.give(self.op("Concat", *parts, axis=1), sum(map(self.channels.get, parts)))

    def half(self, x, which):
        begin, end = which * self.channels[x] // 2, (which + 1) * self.channels[x] // 2
        limits = [self.constant(np.array([number])) for number in (begin, end, 1)]
        return self.give(self.op("Slice", x, *limits), self.channels[x] // 2)

    def shuffle(self, x, groups):
        channels = self.channels[x]
        apart = self.constant(np.array([1, groups, channels // groups, SIZE, SIZE]))
        moved = self.op("Transpose", self.op("Reshape", x, apart), perm=[0, 2, 1, 3, 4])
        together = self.constant(np.array([1, channels, SIZE, SIZE]))
        return self.give(self.op("Reshape", moved, together), channels)

    def scaled(self, x):
        """Batch norm and ReLU that no convolution precedes."""
        channels = self.channels[x]
        numbers = [self.constant(np.linspace(low, high, channels, dtype="float32"))
                   for low, high in ((0.5, 1.5), (-0.2, 0.3), (-0.1, 0.2), (0.5, 2))]  # fmt: skip
        y = self.op("BatchNormalization", x, *numbers)
        return self.give(self.op("Relu", y), channels)


def dense(net):
    parts = [net.relu_conv("x", 14)]
    for _ in range(3):
        y = net.scaled(net.join(*parts) if parts[1:] else parts[0])
        parts.append(net.relu_conv(net.relu_conv(y, 26), 10, 3))
    return net.relu_conv(net.scaled(net.join(*parts)), 8)


def shuffle_units(net):
    y = net.relu_conv("x", 40)
    for _ in range(3):
        branch = net.relu_conv(net.half(y, 1), 20)
        branch = net.relu_conv(net.relu_conv(branch, 20, 3, groups=20), 20)
        y = net.shuffle(net.join(net.half(y, 0), branch), 2)
    return net.relu_conv(y, 8)


def grouped_shuffles(net):
    y = net.shuffle(net.relu_conv(net.relu_conv("x", 12), 24, groups=3), 3)
    return net.relu_conv(net.join(net.relu_conv(y, 24, 3, groups=24), y), 14, groups=2)


def cross_stage(net):
    y = net.relu_conv("x", 28)
    parts = [net.half(y, 0), net.half(y, 1)]
    for _ in range(2):
        parts.append(net.relu_conv(net.relu_conv(parts[-1], 14, 3), 14, 3))
    return net.relu_conv(net.join(*parts), 14)


@pytest.mark.slow
@pytest.mark.parametrize("build", [dense, shuffle_units, grouped_shuffles, cross_stage])
def test_float_equals_onnx_runtime_and_integers_come_close(build, tmp_path):
    net = Network()
    path = net.save(tmp_path / "network.onnx", {"x": (1, 6, SIZE, SIZE)}, [build(net)])
    rng = np.random.default_rng(1)
    samples = [{"x": rng.normal(size=(1, 6, SIZE, SIZE)).astype("float32")} for _ in range(8)]
    expected = precise_onnxruntime(path).run(None, samples[0])[0]
    config = QuantConfig(min_sqnr_db=None, round="nearest")
    for quant, name, least_db in ((None, None, 100), ("int8", None, 25), ("int8", "x86-64-v3", 25)):
        target = targets.load(name) if name else HERE
        if targets.runs_here(target):
            continue
        network = frontend.load_model(path, {}, for_quantization=quant is not None)
        data = load_samples(samples, network.signature) if quant else None
        choice = choose_precision(network, target, HERE, quant, data, config, NoProgress(), None)
        (actual,), _ = run_here(choice.mod, target, [samples[0]["x"]])
        noise = np.square(actual - expected).mean() / np.square(expected).mean()
        assert -10 * np.log10(noise + 1e-15) > least_db
