"""Which kernels of a profile only move data."""

from __future__ import annotations

import pytest

from tvmcomp.runtime.profile import KernelTime, moves


@pytest.mark.parametrize(
    ("name", "only_moves"),
    [
        ("copy3", True),
        ("part10", True),
        ("join_halo", True),
        ("transpose12", True),
        ("fused_transpose1_reshape_transpose2_placed", True),
        ("conv70__conv2d_pad", True),
        ("fused_quantize_transpose_conv3__conv2d_pad1", False),
        ("conv70__conv2d", False),
        ("fused_quantize_transpose", False),
        ("fused_dequantize1_multiply1_add1_quantize5_placed", False),
        ("max_pool2d_placed", False),
        ("(allocation and shapes)", False),
    ],
)
def test_names_tell(name, only_moves):
    assert moves([KernelTime(name, 2, 0.5, 0.1)]).calls == 2 * only_moves


def test_they_are_added_up():
    kernels = [KernelTime("copy", 2, 0.5, 0.25), KernelTime("part1", 1, 0.25, 0.125),
               KernelTime("fused_conv_relu", 1, 1.25, 0.625)]  # fmt: skip
    assert moves(kernels) == KernelTime("(moves data)", 3, 0.75, 0.375)
