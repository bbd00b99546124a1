"""Joins and parts in place: the numbers stay, and no kernel that only moves data."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, relax, run_plain, uniform
from slow_variants import first_and_slow

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import (
    CALLS,
    BindingRewriter,
    const,
    main_bindings,
    op_name,
    shape_of,
)
from tvmcomp.qparams import activation_qparams
from tvmcomp.quantize.annotate import annotate
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.quantize.shared_scales import share_scales

HERE = targets.detect()
NHWC = {"data_layout": "NHWC", "kernel_layout": "OHWI"}


def conv(emit, rng, x, channels, size=1, **attrs):
    groups = attrs.get("groups", 1)
    kernel = uniform(rng, channels, size, size, shape_of(x)[-1] // groups)
    call = relax.op.nn.conv2d(x, const(kernel), padding=size // 2, **NHWC, **attrs)
    return emit(relax.op.nn.relu(emit(call, "conv")), "relu")


def join(emit, *parts):
    return emit(relax.op.concat(list(parts), 3), "joined")


def halves(emit, x):
    both = emit(relax.op.split(x, 2, axis=3), "both")
    return [emit(relax.TupleGetItem(both, i), f"half{i}") for i in range(2)]


def pool(emit, x):
    return emit(relax.op.nn.max_pool2d(x, 3, padding=1, layout="NHWC"), "pool")


def kernels(mod):
    """The names of the kernels that are called once ``mod`` is lowered.

    For one target: with narrower vectors some of these convolutions need borders.
    """
    lowered = lower(mod, targets.load("x86-64-v4")).mod
    calls = [b.value for b in main_bindings(lowered) if op_name(b.value) in CALLS]
    return [str(call.args[0].name_hint) for call in calls]


def moves(mod):
    """How many of them only move data."""
    return sum(
        name.startswith(("join", "part", "copy", "concat", "split")) for name in kernels(mod)
    )


def check(mod, *inputs, tolerance=1e-4):
    actual, _ = run_here(mod, HERE, inputs)
    expected = run_plain(mod, *inputs)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=tolerance * max(1.0, np.abs(e).max()))


def dense(emit, x, rng):
    """Each layer reads all that came before."""
    parts = [conv(emit, rng, x, 14)]
    for _ in range(3):
        parts.append(conv(emit, rng, conv(emit, rng, join(emit, *parts) if parts[1:] else parts[0],
                                          24), 8, 3))  # fmt: skip
    return conv(emit, rng, join(emit, *parts), 16)


def growing(emit, x, rng):
    """The same by a join of two at a time."""
    y = conv(emit, rng, x, 14)
    for _ in range(3):
        scaled = emit(relax.op.multiply(y, const(uniform(rng, shape_of(y)[-1]))), "scaled")
        y = join(emit, y, conv(emit, rng, scaled, 10, 3))
    return conv(emit, rng, y, 16)


def inception(emit, x, rng):
    y = conv(emit, rng, x, 24)
    paths = [conv(emit, rng, y, 26), conv(emit, rng, conv(emit, rng, y, 8), 14, 3), pool(emit, y)]
    return conv(emit, rng, join(emit, *paths), 40, 3)  # The join has a border.


def cross_stage(emit, x, rng):
    a, b = (conv(emit, rng, x, 16) for _ in range(2))
    parts = [a, b]
    for _ in range(2):
        b = emit(relax.op.add(b, conv(emit, rng, b, 16, 3)), "sum")
        parts.append(b)
    return conv(emit, rng, join(emit, *parts), 16)


def shuffle_unit(emit, x, rng):
    first, second = halves(emit, conv(emit, rng, x, 28))
    branch = conv(emit, rng, conv(emit, rng, second, 14), 14, 3, groups=14)
    return conv(emit, rng, join(emit, first, branch), 16)


def windows_of_parts(emit, x, rng):
    """Each half is read by windows that reach beyond it: its border is a piece of the whole's."""
    first, second = halves(emit, conv(emit, rng, x, 28))
    paths = conv(emit, rng, first, 14, 3, groups=14), conv(emit, rng, second, 14, 5, groups=14)
    return conv(emit, rng, join(emit, *paths), 16)


def part_of_bordered_join(emit, x, rng):
    whole = join(emit, conv(emit, rng, x, 12), conv(emit, rng, x, 14))
    axes, first, last = ([3], [9], [21])
    part = emit(relax.op.strided_slice(whole, axes, first, last), "part")
    paths = conv(emit, rng, whole, 8, 5), conv(emit, rng, part, 8, 3), conv(emit, rng, part, 8)
    return conv(emit, rng, join(emit, *paths), 16)


def part_of_part(emit, x, rng):
    """A border of a part of a part is a piece of the whole's, too."""
    some = emit(relax.op.strided_slice(conv(emit, rng, x, 20), [3], [2], [18]), "some")
    fewer = emit(relax.op.strided_slice(some, [3], [3], [11]), "fewer")
    paths = conv(emit, rng, fewer, 8, 5, groups=8), conv(emit, rng, some, 8, 3)
    return conv(emit, rng, join(emit, *paths), 16)


def cropped(emit, x, rng):
    """What lies around the middle is no border of it: what a transposed convolution cuts off."""
    axes, first, last = ([1, 2], [1, 1], [8, 6])
    middle = emit(relax.op.strided_slice(conv(emit, rng, x, 16), axes, first, last), "middle")
    return conv(emit, rng, middle, 16, 3)


@pytest.mark.parametrize(
    ("build", "left"),
    # The half that goes round is copied; what has a border for one reader and lies in a join for
    # another is copied once.
    [
        (dense, 0),
        (growing, 0),
        (inception, 0),
        (cross_stage, 0),
        (shuffle_unit, 1),
        (windows_of_parts, 0),
        (part_of_bordered_join, 0),
        (part_of_part, 0),
        (cropped, 1),
    ],
)
def test_numbers_stay_and_moves_go(build, left):
    mod = module(lambda emit, x: build(emit, x, np.random.default_rng(0)), x=(1, 9, 7, 3))
    assert moves(mod) <= left
    check(mod, uniform(np.random.default_rng(1), 1, 9, 7, 3))


def random_network(seed):
    rng = np.random.default_rng(seed)

    def build(emit, x):
        tensors = [x, conv(emit, rng, x, 14)]
        for _ in range(7):
            chosen = [tensors[i] for i in rng.integers(len(tensors), size=3)]
            kind = rng.integers(6)
            if kind < 2:
                new = join(emit, *chosen[: 2 + kind])
            elif kind == 2 and shape_of(chosen[0])[-1] % 2 == 0:
                new = halves(emit, chosen[0])[int(rng.integers(2))]
            elif kind == 3:
                new = pool(emit, chosen[0])
            elif kind == 4:
                channels = shape_of(chosen[0])[-1]
                new = conv(emit, rng, chosen[0], channels, 3, groups=channels)
            else:
                new = conv(emit, rng, chosen[0], int(rng.choice([8, 14, 26])), 1 + 2 * (seed % 2))
            tensors.append(new)
        if seed % 3 == 0:  # No join reads the last parts: windows do.
            first, second = halves(emit, conv(emit, rng, tensors[-1], 28))
            return [conv(emit, rng, first, 8, 3), conv(emit, rng, second, 14, 5, groups=14)]
        return [conv(emit, rng, join(emit, *tensors[-3:]), 16), tensors[-1]]

    return module(build, x=(2, 5, 6, 4))


@pytest.mark.parametrize("seed", first_and_slow(*range(12), first=3))
def test_random_networks_of_joins_and_parts(seed):
    check(random_network(seed), uniform(np.random.default_rng(1), 2, 5, 6, 4))


@pytest.mark.parametrize("seed", first_and_slow(*range(8), first=2))
def test_random_networks_in_integers(seed):
    """Against the fake-quantized network, through no pass of ours."""
    mod, x = random_network(seed), uniform(np.random.default_rng(1), 2, 5, 6, 4)
    plan = plan_operators(mod)
    everything = [b.var for b in main_bindings(mod) if isinstance(b.var.ty, relax.TensorType)]
    values = dict(zip(everything, run_plain(returning(mod, everything), x), strict=True))
    values[mod["main"].params[0]] = x
    params = {
        tensor: activation_qparams(values[tensor].min(), values[tensor].max(), "uint8")
        for operator in plan
        for tensor in operator.reads
    }
    fake = annotate(mod, plan, share_scales(mod, params, lambda _: 40.0))
    actual, _ = run_here(fake, HERE, [x])
    for a, e in zip(actual, run_plain(fake, x), strict=True):
        noise = np.square(a - e).mean() / np.square(e).mean()
        assert 10 * np.log10(noise + 1e-12) < -30


def returning(mod, tensors):
    """``mod`` with ``tensors`` for outputs."""

    class Returning(BindingRewriter):
        def result(self, output):
            return relax.Tuple([self.env[var] for var in tensors])

    return Returning(mod).run()
