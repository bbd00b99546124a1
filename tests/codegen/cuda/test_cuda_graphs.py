"""Networks as CUDA graphs, on a runtime that captures calls as TVM's CUDA runtime does launches:
what is launched again reads and writes where it did when it was captured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from passes.relax_modules import module, relax, uniform

from tvmcomp import targets
from tvmcomp.codegen.code_target import machine_code
from tvmcomp.passes.pipeline import lower
from tvmcomp.tvm_import import tvm

op = relax.op
CAPTURE, ALLOCATE = (
    f"vm.builtin.cuda_graph.{name}" for name in ("run_or_capture", "get_cached_alloc")
)


@pytest.fixture
def captured() -> Iterator[dict[int, Any]]:
    """The captured calls by their number, while the runtime's functions are these."""
    from tvm_ffi.registry import remove_global_func

    calls: dict[int, Any] = {}
    memory: dict[int, Any] = {}
    invoke = tvm.get_global_func("vm.builtin.invoke_closure")

    def run_or_capture(vm: Any, function: Any, args: Any, index: int) -> Any:
        if index not in calls:
            # It runs once, and once more to be captured, which computes nothing.
            calls[index] = function, args, invoke(vm, function, *args)
            return calls[index][2]
        function, args, results = calls[index]
        invoke(vm, function, *args)
        return results

    def get_cached_alloc(vm: Any, function: Any, index: int) -> Any:
        if index not in memory:
            memory[index] = invoke(vm, function)
        return memory[index]

    tvm.register_global_func(CAPTURE, run_or_capture, override=True)
    tvm.register_global_func(ALLOCATE, get_cached_alloc, override=True)
    yield calls
    remove_global_func(CAPTURE)
    remove_global_func(ALLOCATE)


def network(emit: Any, x: Any) -> Any:
    rng = np.random.default_rng(0)
    data = x
    for i in range(4):
        weight = relax.const(rng.standard_normal((24, 24)).astype("f4") / 5)
        data = emit(op.nn.relu(emit(op.matmul(data, weight), f"m{i}")), f"r{i}")
    return emit(op.nn.softmax(data, -1), "y")


def with_graphs(target: targets.TargetDescription) -> targets.TargetDescription:
    return msgspec.structs.replace(target, gpu=msgspec.structs.replace(target.gpu, graphs=True))


def lowered_for(target: targets.TargetDescription) -> Any:
    lowered = lower(module(network, x=(3, 24)), target)
    mod = lowered.mod
    mod["main"] = mod["main"].with_attr("num_input", 1)
    return lowered


def test_later_inferences_read_nothing_of_the_first(captured: dict[int, Any]) -> None:
    here = targets.detect()
    lowered = lowered_for(here)
    plain, graphs = (
        relax.VirtualMachine(machine_code(lowered.mod, target, False), tvm.cpu())
        for target in (here, with_graphs(here))
    )
    rng = np.random.default_rng(1)
    constants = [tvm.runtime.tensor(array) for array in lowered.constants]
    earlier = []
    for _ in range(3):
        data = tvm.runtime.tensor(uniform(rng, 3, 24))
        expected, found = (vm["main"](data, *constants) for vm in (plain, graphs))
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
        earlier.append((found, expected.numpy()))
    assert captured
    for found, expected in earlier:  # outputs are the caller's
        np.testing.assert_array_equal(found.numpy(), expected)


def is_captured(mod: Any, target: targets.TargetDescription) -> bool:
    return CAPTURE in machine_code(mod, target, False).as_text()


def test_kernels_of_a_gpu_are_captured_where_that_is_asked_for() -> None:
    target = targets.load("h100")
    mod = lowered_for(target).mod
    assert not is_captured(mod, target)
    assert is_captured(mod, with_graphs(target))


def test_a_network_with_loops_is_not_captured() -> None:
    target = targets.load("h100")
    mod = tvm.IRModule(lowered_for(target).mod.functions)
    body = relax.utils.copy_with_new_vars(mod["main"])
    mod["body"] = body.with_attr("global_symbol", "body")
    assert not is_captured(mod, with_graphs(target))
