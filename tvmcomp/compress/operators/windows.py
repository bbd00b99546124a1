"""Windows over images: their padding, and pools of what they hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from tvmcomp.compress.operators.table import Node, Tensor, operator

_MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def padded(x: Tensor, before: Sequence[int], after: Sequence[int], value: float) -> Tensor:
    """``x`` with its last axes widened by ``value``, or cut where a number is negative."""
    pairs = [p for each in zip(reversed(before), reversed(after), strict=True) for p in each]
    return F.pad(x, pairs, value=value) if any(pairs) else x


def window_pads(
    node: Node,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[list[int], list[int]]:
    """The padding before and after each axis, as ``pads`` or ``auto_pad`` gives it."""
    dims = len(sizes)
    auto_pad = node.get("auto_pad", "NOTSET")
    if auto_pad in ("", "NOTSET"):
        pads = list(node.get("pads", [0] * 2 * dims))
        return pads[:dims], pads[dims:]
    if auto_pad == "VALID":
        return [0] * dims, [0] * dims
    before, after = [], []
    for size, window, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        reach = (window - 1) * dilation + 1
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        small, large = total // 2, total - total // 2
        before.append(small if auto_pad == "SAME_UPPER" else large)
        after.append(large if auto_pad == "SAME_UPPER" else small)
    return before, after


class _Windows:
    """The windows of a pooling node over ``x``."""

    def __init__(self, node: Node, x: Tensor) -> None:
        dims = x.ndim - 2
        self.kernel = list(node["kernel_shape"])
        self.strides = list(node.get("strides", [1] * dims))
        self.dilations = list(node.get("dilations", [1] * dims))
        sizes = x.shape[2:]
        self.before, self.after = window_pads(
            node, sizes, self.kernel, self.strides, self.dilations
        )
        #: What the last windows of ``ceil_mode`` reach beyond the padding.
        self.beyond = [0] * dims
        for axis in range(dims if node.get("ceil_mode", 0) else 0):
            room = sizes[axis] + self.before[axis] + self.after[axis]
            reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            count = math.ceil((room - reach) / self.strides[axis]) + 1
            # A window that starts behind the image and its first padding is none.
            if (count - 1) * self.strides[axis] >= sizes[axis] + self.before[axis]:
                count -= 1
            self.beyond[axis] = max((count - 1) * self.strides[axis] + reach - room, 0)

    def spread(self, x: Tensor, value: float) -> Tensor:
        """``x`` with all that windows reach, ``value`` outside of it."""
        after = [a + b for a, b in zip(self.after, self.beyond, strict=True)]
        return padded(x, self.before, after, value)

    def sums(self, x: Tensor) -> Tensor:
        """The sum over each window of ``x``, which is spread already."""
        batch, channels, *image = x.shape
        ones = x.new_ones(1, 1, *self.kernel)
        function = _CONVOLUTIONS[len(image)]
        rows = function(
            x.reshape(batch * channels, 1, *image), ones, None, self.strides, 0, self.dilations
        )
        return rows.reshape(batch, channels, *rows.shape[2:])


@operator("MaxPool")
def _max_pool(node: Node, x: Tensor) -> tuple[Tensor, ...]:
    windows = _Windows(node, x)
    real = x if x.is_floating_point() else x.to(torch.float32)
    wide = windows.spread(real, -math.inf)
    pool = _MAX_POOLS[x.ndim - 2]
    values, places = pool(
        wide, windows.kernel, windows.strides, 0, windows.dilations, return_indices=True
    )
    if len(node.outputs) < 2:
        return (values.to(x.dtype),)
    return values.to(x.dtype), _in_tensor(node, places, x.shape, wide.shape, windows.before)


def _in_tensor(
    node: Node, places: Tensor, shape: Sequence[int], wide: Sequence[int], before: Sequence[int]
) -> Tensor:
    """Places in a padded image as places in the whole tensor of ``shape``."""
    dims = len(shape) - 2
    coordinates: list[Tensor] = []
    for axis in reversed(range(dims)):
        coordinates.insert(0, places % wide[2 + axis] - before[axis])
        places = places // wide[2 + axis]
    images = torch.arange(shape[0] * shape[1]).reshape(shape[0], shape[1], *[1] * dims)
    order = range(dims) if not node.get("storage_order", 0) else reversed(range(dims))
    flat = torch.zeros_like(coordinates[0])
    for axis in order:
        flat = flat * shape[2 + axis] + coordinates[axis]
    return images * math.prod(shape[2:]) + flat


@operator("AveragePool")
def _average_pool(node: Node, x: Tensor) -> Tensor:
    windows = _Windows(node, x)
    sums = windows.sums(windows.spread(x, 0.0))
    counted = x.new_ones(1, 1, *x.shape[2:])
    inside = 1.0 if node.get("count_include_pad", 0) else 0.0
    counted = padded(counted, windows.before, windows.after, inside)
    counted = padded(counted, [0] * len(windows.beyond), windows.beyond, 0.0)
    return sums / windows.sums(counted)


@operator("LpPool")
def _lp_pool(node: Node, x: Tensor) -> Tensor:
    windows, power = _Windows(node, x), node["p"]
    return windows.sums(windows.spread(x.abs() ** power, 0.0)) ** (1 / power)


@operator("GlobalAveragePool")
def _global_average(_node: Node, x: Tensor) -> Tensor:
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


@operator("GlobalMaxPool")
def _global_max(_node: Node, x: Tensor) -> Tensor:
    return x.amax(tuple(range(2, x.ndim)), keepdim=True)


@operator("GlobalLpPool")
def _global_lp(node: Node, x: Tensor) -> Tensor:
    power = node["p"]
    sums = (x.abs() ** power).sum(tuple(range(2, x.ndim)), keepdim=True)
    return sums ** (1 / power)


@operator("GridSample")
def _grid_sample(node: Node, x: Tensor, grid: Tensor) -> Tensor:
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(node["mode"], node["mode"])
    return F.grid_sample(
        x, grid.to(x.dtype), mode, node["padding_mode"], align_corners=bool(node["align_corners"])
    )


@operator("DepthToSpace")
def _depth_to_space(node: Node, x: Tensor) -> Tensor:
    block = node["blocksize"]
    batch, channels, height, width = x.shape
    deep = channels // block**2
    if node.get("mode", "DCR") == "DCR":
        split = x.reshape(batch, block, block, deep, height, width).permute(0, 3, 4, 1, 5, 2)
    else:
        split = x.reshape(batch, deep, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
    return split.reshape(batch, deep, height * block, width * block)


@operator("SpaceToDepth")
def _space_to_depth(node: Node, x: Tensor) -> Tensor:
    block = node["blocksize"]
    batch, channels, height, width = x.shape
    split = x.reshape(batch, channels, height // block, block, width // block, block)
    order = (0, 3, 5, 1, 2, 4) if node.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return split.permute(order).reshape(batch, channels * block**2, height // block, width // block)
