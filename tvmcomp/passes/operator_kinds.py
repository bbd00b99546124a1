"""Which operators multiply, average, or merely move data: what quantization asks of each."""

from __future__ import annotations

CONVOLUTIONS = ("nn.conv1d", "nn.conv2d", "nn.conv3d")
#: What multiplies by a weight.
ANCHORS = (*CONVOLUTIONS, "matmul")
#: Quantized data passes through these as it is: quantization commutes with them exactly.
PASS_THROUGH = frozenset(
    [
        "broadcast_to", "concat", "expand_dims", "flatten", "image.resize2d", "max", "min",
        "nn.adaptive_max_pool1d", "nn.adaptive_max_pool2d", "nn.max_pool1d", "nn.max_pool2d",
        "nn.max_pool3d", "nn.pad", "permute_dims", "reshape", "split", "squeeze", "strided_slice",
        "tile",
    ]
)  # fmt: skip
#: Averages: summed up in integers.
AVERAGES = frozenset(["mean", "nn.avg_pool1d", "nn.avg_pool2d"])
