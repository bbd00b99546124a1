"""Channels scaled at their makers and their readers: float results stay the same."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, operators, relax, run_plain, uniform

from tvmcomp import targets
from tvmcomp.passes.rewriter import const
from tvmcomp.quantize.calibrate import calibrate
from tvmcomp.quantize.channel_links import channel_links
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.equalize import Scales, find_scales, scale_channels
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.quantize.probe import Probe

RNG = np.random.default_rng(0)


def conv(emit, data, outputs, inputs, name, **attrs):
    options = {"padding": 1, "data_layout": "NHWC", "kernel_layout": "OHWI", **attrs}
    weight = const(uniform(RNG, outputs, 3, 3, inputs))
    return emit(relax.op.nn.conv2d(data, weight, **options), name)


def every_kind(emit, x):
    """Each operator that lets channels be scaled, a depthwise and a grouped convolution."""
    first = emit(relax.op.add(conv(emit, x, 8, 4, "c1"), const(uniform(RNG, 8))), "bias")
    first = emit(relax.op.nn.leakyrelu(first, 0.1), "leaky")
    deep = emit(relax.op.nn.relu(conv(emit, first, 8, 1, "dw", groups=8)), "relu")
    left, right = conv(emit, deep, 8, 8, "left"), conv(emit, deep, 8, 4, "right", groups=2)
    total = emit(relax.op.add(left, right), "sum")
    pool = emit(relax.op.nn.max_pool2d(total, (2, 2), (2, 2), layout="NHWC"), "pool")
    mean = emit(relax.op.mean(pool, [1, 2]), "mean")
    return [emit(relax.op.matmul(mean, const(uniform(RNG, 8, 3))), "y")]


def names(variables):
    return [str(var.name) for var in variables]


def test_scaling_changes_nothing_in_float() -> None:
    mod = module(every_kind, x=(1, 6, 6, 4))
    links = channel_links(mod)
    assert [(names(link.makers), names(link.readers)) for link in links] == [
        (["c1"], ["dw"]),
        (["dw"], ["left", "right"]),
        (["left", "right"], ["y"]),
    ]
    # Powers of two are exact; others up to float32's rounding.
    x = uniform(RNG, 1, 6, 6, 4)
    (wanted,) = run_plain(mod, x)
    powers = [(link, 2.0 ** RNG.integers(-5, 1, 8)) for link in links]
    np.testing.assert_array_equal(run_plain(scale_channels(mod, Scales(powers)), x)[0], wanted)
    others = [(link, RNG.uniform(0.01, 1, 8)) for link in links]
    scaled = run_plain(scale_channels(mod, Scales(others)), x)[0]
    np.testing.assert_allclose(scaled, wanted, rtol=1e-5, atol=1e-6)


def test_a_normalizations_gain_takes_the_scale() -> None:
    def build(emit, x):
        gain, shift = const(uniform(RNG, 8)), const(uniform(RNG, 8))
        normal = emit(relax.op.nn.layer_norm(x, gain, shift, [-1]), "normal")
        return [emit(relax.op.matmul(normal, const(uniform(RNG, 8, 5))), "y")]

    mod = module(build, x=(3, 8))
    (link,) = channel_links(mod)
    x = uniform(RNG, 3, 8)
    scaled = scale_channels(mod, Scales([(link, 2.0 ** RNG.integers(-5, 1, 8))]))
    np.testing.assert_array_equal(run_plain(scaled, x)[0], run_plain(mod, x)[0])


@pytest.mark.parametrize(
    "between",
    [
        lambda emit, c: emit(relax.op.sigmoid(c), "f"),
        lambda emit, c: emit(relax.op.clip(c, 0, 6), "f"),
        lambda emit, c: emit(relax.op.nn.softmax(c), "f"),
        lambda emit, c: emit(relax.op.multiply(c, emit(relax.op.sigmoid(c), "g")), "f"),
        lambda emit, c: emit(relax.op.concat([c, c], 1), "f"),
        lambda emit, c: emit(relax.op.maximum(c, relax.const(1.0, "float32")), "f"),
    ],
)
def test_what_is_not_homogeneous_pins_its_channels(between) -> None:
    mod = module(
        lambda emit, x: [conv(emit, between(emit, conv(emit, x, 8, 4, "c1")), 8, 8, "c2")],
        x=(1, 6, 6, 4),
    )
    assert channel_links(mod) == []


def test_the_networks_output_is_not_scaled() -> None:
    def build(emit, x):
        first = emit(relax.op.nn.relu(conv(emit, x, 8, 4, "c1")), "r")
        return [first, conv(emit, first, 8, 8, "c2")]

    assert channel_links(module(build, x=(1, 6, 6, 4))) == []


@pytest.mark.parametrize("spread", [1.0, 0.02])
def test_only_unequal_channels_are_worth_a_second_network(spread: float) -> None:
    factor = np.float32(spread) ** RNG.uniform(0, 1, 16).astype(np.float32)

    def build(emit, x):
        first = emit(relax.op.matmul(x, const(uniform(RNG, 12, 16) * factor)), "m1")
        second = const(uniform(RNG, 16, 4) / factor[:, None])
        return [emit(relax.op.matmul(emit(relax.op.nn.relu(first), "r"), second), "m2")]

    mod = module(build, x=(5, 12))
    probe = Probe(mod, plan_operators(mod), targets.detect())
    samples = [[uniform(RNG, 5, 12)] for _ in range(8)]
    found = find_scales(mod, probe, calibrate(probe, samples, QuantConfig()), samples)
    assert (found is None) == (spread == 1.0)


def test_a_tensor_that_is_pinned_is_multiplied_for_its_matrix_products() -> None:
    """A residual reads it as it is."""
    gain = np.float32(0.01) ** RNG.uniform(0, 1, 16).astype(np.float32)

    def build(emit, x):
        normal = emit(relax.op.nn.layer_norm(x, const(gain), const(gain), [-1]), "normal")
        a = emit(relax.op.matmul(normal, const(uniform(RNG, 16, 16) / gain[:, None])), "a")
        b = emit(relax.op.matmul(normal, const(uniform(RNG, 16, 16) / gain[:, None])), "b")
        total = emit(relax.op.add(emit(relax.op.multiply(a, b), "ab"), normal), "sum")
        return [emit(relax.op.nn.softmax(total), "y")]

    mod = module(build, x=(5, 16))
    probe = Probe(mod, plan_operators(mod), targets.detect())
    samples = [[uniform(RNG, 5, 16)] for _ in range(8)]
    scales = find_scales(mod, probe, calibrate(probe, samples, QuantConfig()), samples)
    assert scales is not None
    new = scale_channels(mod, scales)
    assert operators(new).count("multiply") == operators(mod).count("multiply") + 1
    x = samples[0][0]
    np.testing.assert_allclose(run_plain(new, x)[0], run_plain(mod, x)[0], rtol=1e-4, atol=1e-6)
    plan = {operator.name: operator for operator in plan_operators(new)}
    for name in ("a", "b"):
        assert [tensor.name for tensor in plan[name].reads] == ["normal_equalized"]


@pytest.mark.parametrize("pooled", [False, True])
def test_the_data_of_a_depthwise_convolution_is_multiplied_where_it_is_quantized(
    pooled: bool,
) -> None:
    """Behind a pool it comes in 8 bits already."""
    factor = np.float32(0.005) ** RNG.uniform(0, 1, 16).astype(np.float32)
    layout = {"data_layout": "NHWC", "kernel_layout": "OHWI"}
    first, deep = uniform(RNG, 16, 1, 1, 4), uniform(RNG, 16, 3, 3, 1)

    def build(emit, x):
        made = emit(relax.op.nn.conv2d(x, const(first), **layout), "c")
        scaled = emit(relax.op.nn.silu(made), "f")
        scaled = emit(relax.op.multiply(scaled, const(factor)), "m")
        if pooled:
            scaled = emit(relax.op.nn.max_pool2d(scaled, (2, 2), (1, 1), layout="NHWC"), "p")
        weight = const(deep / factor.reshape(-1, 1, 1, 1))
        return [emit(relax.op.nn.conv2d(scaled, weight, groups=16, padding=1, **layout), "dw")]

    mod = module(build, x=(1, 6, 6, 4))
    probe = Probe(mod, plan_operators(mod), targets.detect())
    samples = [[uniform(RNG, 1, 6, 6, 4)] for _ in range(8)]
    scales = find_scales(mod, probe, calibrate(probe, samples, QuantConfig()), samples)
    assert (scales is None) == pooled
    if scales is not None:
        new = scale_channels(mod, scales)
        x = samples[0][0]
        np.testing.assert_allclose(run_plain(new, x)[0], run_plain(mod, x)[0], rtol=1e-4, atol=1e-6)
