"""The sub-pixel form of a transposed convolution, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx.helper
import onnxruntime
import pytest

from tvmcomp.frontend import load_model
from tvmcomp.passes.canonical.channels_last import channels_last
from tvmcomp.passes.rewriter import main_bindings, op_name
from tvmcomp.tvm_import import tvm

CASES = [
    # spatial, kernel, strides, pads, output_padding, dilations, groups
    ((5, 6), (2, 2), (2, 2), (0, 0, 0, 0), (0, 0), (1, 1), 1),
    ((5, 6), (4, 4), (2, 2), (1, 1, 1, 1), (0, 0), (1, 1), 1),
    ((5, 6), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), (1, 1), 1),
    ((5, 6), (3, 5), (1, 3), (2, 0, 1, 4), (0, 0), (1, 1), 1),
    ((4, 4), (2, 2), (3, 3), (0, 0, 0, 0), (0, 0), (1, 1), 1),
    ((4, 4), (5, 5), (2, 2), (4, 3, 4, 3), (0, 0), (1, 1), 1),
    ((6, 6), (3, 3), (2, 2), (5, 0, 3, 0), (0, 1), (1, 1), 1),
    ((7,), (4,), (2,), (1, 1), (0,), (1,), 1),
    ((7,), (3,), (4,), (0, 0), (2,), (1,), 1),
]


def _random_cases() -> list[tuple[Any, ...]]:
    """Of 1 to 3 dimensions, with groups, dilations and paddings of all kinds."""
    rng = np.random.default_rng(3)
    found = []
    while len(found) < 30:
        dims = int(rng.integers(1, 4))

        def each(low: int, high: int, count: int = dims) -> tuple[int, ...]:
            return tuple(int(n) for n in rng.integers(low, high, count))

        spatial, kernel, strides = each(1, 6), each(1, 5), each(1, 4)
        dilation, pads = each(1, 4), each(0, 3, 2 * dims)
        extra = tuple(int(rng.integers(0, s)) for s in strides)
        sizes = [
            (n - 1) * s + (k - 1) * d + 1 + e - pads[i] - pads[i + dims]
            for i, (n, k, s, d, e) in enumerate(
                zip(spatial, kernel, strides, dilation, extra, strict=True)
            )
        ]
        if min(sizes) > 0:
            groups = int(rng.choice([1, 2, 4]))
            found.append((spatial, kernel, strides, pads, extra, dilation, groups))
    return found


@pytest.mark.parametrize(
    ("spatial", "kernel", "strides", "pads", "extra", "dilations", "groups"),
    [*CASES, *_random_cases()],
)
def test_equals_the_transposed_convolution(
    tmp_path: Path,
    spatial: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    extra: tuple[int, ...],
    dilations: tuple[int, ...],
    groups: int,
) -> None:
    given = kernel[0] % 2 == 0  # The weight comes at run time.
    rng = np.random.default_rng(0)
    out_channels = 1 if groups == 4 else 3
    weight = rng.normal(size=(4, out_channels, *kernel)).astype(np.float32)
    x = rng.normal(size=(2, 4, *spatial)).astype(np.float32)
    node = onnx.helper.make_node(
        "ConvTranspose",
        ["x", "w"],
        ["y"],
        strides=strides,
        pads=pads,
        output_padding=extra,
        dilations=dilations,
        group=groups,
    )
    inputs = {"x": x, "w": weight} if given else {"x": x}
    graph = onnx.helper.make_graph(
        [node],
        "net",
        [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, array.shape)
            for name, array in inputs.items()
        ],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [] if given else [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    wanted = onnxruntime.InferenceSession(path).run(None, inputs)[0]

    mod = channels_last(load_model(path, {}).mod)
    kinds = [op_name(binding.value) for binding in main_bindings(mod) or []]
    assert f"nn.conv{len(spatial)}d" in kinds
    assert not any("transpose" in (kind or "") for kind in kinds)
    executable = tvm.compile(mod, tvm.target.Target({"kind": "llvm", "num-cores": 1}))
    machine = tvm.relax.VirtualMachine(executable, tvm.cpu())
    got = machine["main"](*map(tvm.runtime.tensor, inputs.values())).numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-5)
