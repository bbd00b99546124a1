"""AMX kernels, run instruction by instruction (see amx_machine.py), give what numpy gives.

Whatever the model would choose: any plan of an operator has to be right.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from schedules.amx_machine import AMX_TARGET, amx
from schedules.anchor_cases import EPILOGUES, Case, convolve, epilogues, windows

from tvmcomp import targets
from tvmcomp.passes.scheduled.schedule import schedule_module
from tvmcomp.schedules import apply_schedule
from tvmcomp.schedules.amx.choose import plan_amx, plans
from tvmcomp.schedules.amx.conv import amx_conv
from tvmcomp.schedules.amx.pack import pack_amx_weight
from tvmcomp.schedules.amx.plan import BF16, INT8, AmxPlan
from tvmcomp.schedules.anchor import Anchor, Window
from tvmcomp.schedules.dot import bfloat16_kernel, int8_kernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

relax, te = tvm.relax, tvm.te
SPR = msgspec.structs.replace(targets.load("sapphirerapids"), cores=2)

few = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # Shrinking would compile for minutes.
    suppress_health_check=list(HealthCheck),
)


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    """A convolution over 1 to 3 dimensions, or a matrix product, with channels of all residues."""
    rank = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 1, 1, 2, 4]))
    per_group = 40 if groups > 1 else 200
    channels = groups * draw(st.integers(1, per_group))
    out_channels = groups * draw(st.one_of(st.integers(1, 70), st.sampled_from([16, 32, 48, 64])))
    window = draw(windows(rank, groups, st.integers(0, 255)))
    if draw(st.booleans()):
        window = Window((1,) * rank, (1,) * rank, (1,) * rank, ((0, 0),) * rank, groups)
    smallest = [
        max(1, dil * (k - 1) + 1 - before - after)
        for k, dil, (before, after) in zip(
            window.kernel, window.dilation, window.padding, strict=True
        )
    ]
    spatial = tuple(draw(st.integers(low, low + (40, 14, 3)[rank - 1])) for low in smallest)
    lead = tuple(draw(st.lists(st.integers(1, 2), max_size=2)))
    return Case(lead, spatial, channels, out_channels, window, draw(epilogues()))


def conv2d(channels: int, out_channels: int, size: int, kernel: int = 3, **changes: Any) -> Case:
    pad = changes.pop("pad", kernel // 2)
    stride = changes.pop("stride", 1)
    window = Window((kernel, kernel), (stride, stride), (1, 1), ((pad, pad), (pad, pad)), **changes)
    return Case((1,), (size, size), channels, out_channels, window)


def module(plan: AmxPlan, case: Case) -> Any:
    """Relax ``main(data, weight, operands…)``: the kernel and its epilogue, fused and scheduled."""

    def var(name: str, size: tuple[int, ...], dtype: str) -> Any:
        return relax.Var(name, relax.TensorType(size, dtype))

    acc = plan.kernel.acc
    data = var("data", (*plan.lead, *plan.padded, plan.channels), plan.kernel.data)
    weight = var("weight", plan.weight_shape, plan.kernel.weight)
    named = [(name, EPILOGUES[name]) for name in case.epilogue]
    operands = {
        name: var(name, case.operand_shape(kind), acc) for name, (kind, _, _) in named if kind
    }
    bb = relax.BlockBuilder()
    with bb.function("main", [data, weight, *operands.values()]):
        with bb.dataflow():
            kernel = bb.add_func(amx_conv(plan), "kernel")
            result = relax.TensorType(case.output, acc)
            value = bb.emit(relax.call_tir(kernel, [data, weight], result))
            for name, (_, operation, _) in named:
                args = [value, operands[name]] if name in operands else [value]
                value = bb.emit_te(_element_wise(operation), *args)
            out = bb.emit_output(value)
        bb.emit_func_output(out)
    mod = relax.transform.AnnotateTIROpPattern()(bb.get())
    for var, func in mod.functions.items():
        if var.name_hint.startswith("compute"):
            mod.update_func(var, func.with_attr("op_pattern", 0))  # as passes/pipeline.py does
    mod = tvm.transform.Sequential(
        [
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            relax.transform.DeadCodeElimination(),
        ]
    )(mod)
    kernels = [f for f in mod.functions.values() if isinstance(f, tvm.tirx.PrimFunc)]
    assert len(kernels) == 1, "the epilogue is not fused"
    return schedule_module(mod, AMX_TARGET)


def _element_wise(operation: Any) -> Any:
    def compute(value: Any, operand: Any = None) -> Any:
        def at(*i: Any) -> Any:
            if operand is None:
                return operation(value[i])
            lead = len(i) - len(operand.shape)
            sizes = zip(i[lead:], operand.shape, value.shape[lead:], strict=True)
            there = tuple(x if int(own) == int(whole) else 0 for x, own, whole in sizes)
            return operation(value[i], operand[there])

        return te.compute(value.shape, at, name="epilogue")

    return compute


def run(
    plan: AmxPlan, case: Case, arguments: list[np.ndarray]
) -> tuple[np.ndarray, dict[str, int]]:
    """What the kernel gives, and the tile instructions that it took."""
    target = tvm.target.Target(AMX_TARGET.tvm_target_dict())
    vm = relax.VirtualMachine(tvm.compile(module(plan, case), target), tvm.cpu())
    tensors = [tvm.runtime.tensor(np.ascontiguousarray(a)) for a in arguments]
    with amx(tensors[:2]) as counts:
        result = vm["main"](*tensors).numpy()
    return result, counts


def operands(case: Case, dtype: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        name: rng.integers(-3, 4, case.operand_shape(EPILOGUES[name][0])).astype(dtype)
        for name in case.epilogue
        if EPILOGUES[name][0]
    }


def followed(case: Case, value: np.ndarray, second: dict[str, np.ndarray]) -> np.ndarray:
    for name in case.epilogue:
        args = [second[name].astype(value.dtype)] if name in second else []
        value = EPILOGUES[name][2](value, *args)
    return value


def bordered(data: np.ndarray, plan: AmxPlan, value: int) -> np.ndarray:
    return np.pad(data, plan.widths, constant_values=value)


def check_int8(case: Case, plan: AmxPlan) -> dict[str, int]:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, case.input).astype(np.uint8)
    weight_shape = (*case.window.kernel, case.channels // case.window.groups)
    weight = rng.integers(-127, 128, (case.out_channels, *weight_shape)).astype(np.int8)
    second = operands(case, "int32", rng)
    arguments = [
        bordered(data, plan, case.window.pad_value),
        pack_amx_weight(weight, plan),
        *second.values(),
    ]
    expected = convolve(data.astype(np.int64), weight.astype(np.int64), case.window)
    actual, counts = run(plan, case, arguments)
    np.testing.assert_array_equal(actual, followed(case, expected, second).astype(np.int32))
    return counts


def any_plan(case: Case, kernel: Any, number: int) -> AmxPlan | None:
    found = list(plans(case.anchor, kernel, AMX_TARGET))
    return found[number % len(found)][1] if found else None


@few
@given(convolutions(), st.integers(0, 10**6))
@example(conv2d(64, 64, 14), 0)
@example(conv2d(3, 32, 17, kernel=7, stride=2), 0)
@example(conv2d(5, 24, 9), 1)  # an odd number of inputs in a row
@example(conv2d(144, 40, 7, kernel=1), 3)
@example(conv2d(32, 32, 9, groups=8), 5)  # groups that are merged
def test_integers_are_exact(case: Case, number: int) -> None:
    plan = any_plan(case, INT8, number)
    if plan is not None:
        check_int8(case, plan)


@few
@given(convolutions(), st.integers(0, 10**6))
@example(conv2d(64, 64, 14), 0)
@example(conv2d(5, 24, 9), 1)  # a channel of zeros behind
@example(conv2d(3, 24, 16, kernel=7, stride=2, pad=0), 0)
def test_bfloat16_is_as_near_as_float32(case: Case, number: int) -> None:
    plan = any_plan(case, BF16, number)
    if plan is None:
        return
    case = dataclasses.replace(case, window=dataclasses.replace(case.window, pad_value=0))
    rng = np.random.default_rng(0)
    data = rng.standard_normal(case.input).astype(ml_dtypes.bfloat16)
    groups = case.window.groups
    weight_shape = (case.out_channels, *case.window.kernel, case.channels // groups)
    weight = rng.standard_normal(weight_shape).astype(ml_dtypes.bfloat16)
    second = operands(case, "float32", rng)
    arguments = [
        bordered(data.view(np.uint16), plan, 0),
        pack_amx_weight(weight.view(np.uint16), plan),
        *second.values(),
    ]
    expected = _convolve_float64(data, weight, case.window)
    actual, _ = run(plan, case, arguments)
    # The sums grow with the root of their length; the epilogue multiplies by up to 3, twice.
    atol = 1e-5 * math.sqrt(math.prod(weight_shape[1:]))
    np.testing.assert_allclose(actual, followed(case, expected, second), atol=atol, rtol=1e-5)


def _convolve_float64(data: np.ndarray, weight: np.ndarray, window: Window) -> np.ndarray:
    """``convolve`` works in int64: bfloat16 times 2**20 loses nothing that matters here."""
    step = 2.0**20
    left = np.rint(data.astype(np.float64) * step).astype(np.int64)
    right = np.rint(weight.astype(np.float64) * step).astype(np.int64)
    return convolve(left, right, window).astype(np.float64) / step**2


def test_two_loads_of_each_side_make_four_products() -> None:
    """What the register block promises: no more loads than products, and a store an accumulator."""
    case = conv2d(128, 64, 16)
    plan = plan_amx(case.anchor, int8_kernel(AMX_TARGET), AMX_TARGET)
    assert plan is not None
    counts = check_int8(case, plan)
    if counts:  # a machine with AMX of its own doesn't count
        steps = plan.depth.steps
        assert counts["products"] == counts["tilestored"] * steps
        assert counts["tileloadd"] <= 1.25 * counts["products"]
        assert counts["ldtilecfg"] == counts["tilerelease"] <= 4 * AMX_TARGET.cores


@pytest.mark.parametrize("target", [SPR, AMX_TARGET], ids=lambda t: t.name)
@pytest.mark.parametrize("kernel", [INT8, BF16], ids=lambda k: k.instruction)
def test_the_reduction_stays_in_tiles(target: TargetDescription, kernel: Any) -> None:
    """In the machine code, the loop over the reduction loads and multiplies, and stores nothing."""
    case = conv2d(1024, 256, 56)
    dot = int8_kernel(target) if kernel is INT8 else bfloat16_kernel(target)
    assert dot is not None
    plan = plan_amx(case.anchor, dot, target)
    assert plan is not None
    assert plan.kernel == kernel
    mod = schedule_module(tvm.IRModule({"main": amx_conv(plan)}), target)
    code = tvm.compile(mod, tvm.target.Target(target.tvm_target_dict())).mod.inspect_source("asm")
    # A loop of one block: from its label to the jump back.
    loops = re.findall(r"^(\.LBB\w+):((?:(?!^\.LBB).)*?)\bj\w+\s+\1$", code, re.M | re.S)
    inner = [body for _, body in loops if kernel.instruction in body]
    assert inner
    for body in inner:
        assert not re.search(r"\b(tilestored|tilezero|callq|vmov\w+)\b", body)
    loads = [body.count("tileloadd") for body in inner]
    products = [body.count(kernel.instruction) for body in inner]
    # Two by two accumulators take a load a product; two by one, where tiles are odd, 1.5.
    assert min(load / product for load, product in zip(loads, products, strict=True)) == 1


PRODUCT = Window((1,), (1,), (1,), ((0, 0),))


@pytest.mark.parametrize(
    "case",
    [
        conv2d(32, 64, 13, kernel=1),
        conv2d(32, 40, 19),
        conv2d(32, 64, 14, stride=2),
        dataclasses.replace(conv2d(32, 48, 28, kernel=1), lead=(3,)),
        Case((), (197,), 64, 96, PRODUCT),
        Case((2,), (1024,), 64, 96, PRODUCT),
        Case((2, 3), (30,), 64, 96, PRODUCT),
    ],
    ids=str,
)
def test_a_task_computes_its_own_band_and_no_other(case: Case) -> None:
    """Where the last band is smaller, too."""
    found = [plan for _, plan in plans(case.anchor, BF16, SPR)]
    for plan in found[:: max(1, len(found) // 25)]:
        sch = tvm.s_tir.Schedule(amx_conv(plan))
        apply_schedule(sch, SPR)
        tasks, *rest = (int(sch.get(x).extent) for x in sch.get_loops(sch.get_sblock("conv")))
        assert tasks == math.prod(plan.grid[0]) * math.prod(plan.bands) * plan.channel_blocks
        assert set(rest) <= {1}


@pytest.mark.parametrize("channels", [26, 40, 72])
def test_channels_that_fill_no_vector_leave_in_the_fewest(channels: int) -> None:
    """The last vector of a band's channels is stored under a mask."""
    case = conv2d(64, channels, 14)
    found = plans(case.anchor, INT8, SPR)
    plan = next(plan for _, plan in found if plan.band.channels == channels)
    mod = schedule_module(tvm.IRModule({"main": amx_conv(plan)}), SPR)
    assert "T.vectorized(T.int64(16))" in mod.script()
    code = tvm.compile(mod, tvm.target.Target(SPR.tvm_target_dict())).mod.inspect_source("asm")
    assert "vpmul" not in code, "each lane's place is divided out"
    assert re.search(r"vmov\w+\s+%zmm\d+, .*{%k", code)


def test_blocks_of_channels_need_no_divisor() -> None:
    """251 channels: two blocks of 128, of which the last has fewer, or three of 96."""
    case = conv2d(64, 251, 14, kernel=1)
    found = [plan for _, plan in plans(case.anchor, INT8, AMX_TARGET)]
    assert {251, 128, 96} <= {plan.band.channels for plan in found}
    check_int8(case, next(plan for plan in found if plan.band.channels == 96))


@pytest.mark.parametrize(
    ("case", "steps", "chunk"),
    [
        (conv2d(3, 32, 112, stride=2), 3, 12),
        (conv2d(3, 64, 224, kernel=7, stride=2, pad=3), 7, 28),
        (conv2d(3, 96, 224, kernel=11, stride=4, pad=2), 22, 18),  # two pieces in any case
        (conv2d(3, 32, 112, kernel=1), 2, 2),
    ],
)
def test_few_channels_have_one_of_zeros_behind(case: Case, steps: int, chunk: int) -> None:
    """Pairs of bfloat16 fill a row of the window."""
    for _, plan in plans(case.anchor, BF16, AMX_TARGET):
        assert (plan.depth.steps, plan.depth.chunk) == (steps, chunk)
        assert plan.widths[-1] == (0, plan.channels - case.channels)


@pytest.mark.parametrize(
    ("case", "steps", "chunk"),
    [
        (conv2d(3, 64, 224, kernel=7, stride=2, pad=3), 7, 24),  # a row of the window at once
        (conv2d(16, 32, 56), 3, 48),
        (conv2d(96, 96, 28, kernel=1), 2, 48),  # two equal pieces, none mostly empty
        (conv2d(144, 24, 28, kernel=1), 3, 48),
        (conv2d(64, 64, 56), 9, 64),
        (conv2d(3, 192, 224, kernel=16, stride=16, pad=0), 16, 48),
    ],
)
def test_the_depth_of_a_tile_is_used(case: Case, steps: int, chunk: int) -> None:
    found = [
        plan.depth
        for _, plan in plans(case.anchor, INT8, SPR)
        if plan.depth.beyond == 0 or case.channels == 3
    ]
    assert (steps, chunk) in {(depth.steps, depth.chunk) for depth in found}


def test_many_weights_of_few_pixels_are_fetched_ahead() -> None:
    for case, ahead in ((conv2d(512, 512, 7), True), (conv2d(64, 64, 7), False)):
        plan = plan_amx(case.anchor, int8_kernel(AMX_TARGET), AMX_TARGET)
        assert plan is not None
        assert ("prefetch" in amx_conv(plan).script()) == ahead
        check_int8(case, plan)


def test_small_maps_are_one_run_of_pixels() -> None:
    """7 x 7: a tile a row would be half empty."""
    case = conv2d(512, 512, 7)
    plan = plan_amx(case.anchor, int8_kernel(AMX_TARGET), AMX_TARGET)
    assert plan is not None
    assert plan.band.flat
    assert plan.band.tiles == 4


@pytest.mark.parametrize("target", [SPR, AMX_TARGET], ids=lambda t: t.name)
def test_vectors_where_they_are_faster(target: TargetDescription) -> None:
    window = Window((1,), (1,), (1,), ((0, 0),))
    assert plan_amx(Anchor((1, 16), window, 10), int8_kernel(target), target) is None
    assert plan_amx(Anchor((1, 3), window, 10), int8_kernel(target), target) is None
    assert plan_amx(Anchor((128, 384), window, 384), int8_kernel(target), target) is not None


def test_other_targets_have_no_tiles() -> None:
    window = Window((1,), (1,), (1,), ((0, 0),))
    vnni = targets.load("cascadelake")
    assert plan_amx(Anchor((128, 384), window, 384), int8_kernel(vnni), vnni) is None
