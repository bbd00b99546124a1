"""How AMX computes a convolution or matrix product: which pixels, channels and depths are a tile.

A tile's rows are neighbouring output pixels, read where they lie in the padded NHWC input: no
im2col. Its depth is a run of contiguous bytes of the input: a tap's channels, or, where taps in a
row touch (no dilation, one group), the channels of all taps of a row of the window, so that three
input channels fill a tile as well as sixty-four do.

A *task* is a band of the output (some rows, or a part of a row, times a block of channels). Its
accumulators fit the first-level cache; the epilogue reads them there. Bands and blocks are chosen
by counting cycles: :mod:`tvmcomp.schedules.amx.choose`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tvmcomp.schedules.anchor import Widths, Window
from tvmcomp.targets import TargetDescription

#: Value of the block attribute :data:`~tvmcomp.schedules.anchor.ANCHOR` of an AMX kernel.
AMX_CONV = "amx_conv"
#: Block attribute: ``[rows, width, channels]`` of a band, then how the output's dimensions are to
#: be split into bands: see :func:`tvmcomp.schedules.amx.conv_schedule.schedule_amx_conv`.
BAND = "tvmcomp.amx_band"

#: Rows of a tile, and output channels in one: sixteen 32-bit sums.
TILE = 16
#: Bytes in a row of a tile.
ROW_BYTES = 64


@dataclass(frozen=True)
class AmxKernel:
    """The types that a tile instruction multiplies.

    Attributes:
        data, weight: dtypes of activation and weight; ``uint16`` holds the bits of bfloat16.
        acc: dtype of the sums.
        pack: neighbouring inputs that one 32-bit element of a tile holds.
        instruction: LLVM's name of the instruction, which is also its mnemonic.
    """

    data: str
    weight: str
    acc: str
    pack: int
    instruction: str

    @property
    def depth(self) -> int:
        """Inputs that one instruction reduces at most."""
        return ROW_BYTES // self.item_bytes

    @property
    def item_bytes(self) -> int:
        """Bytes of an input, and of a weight."""
        return 4 // self.pack


INT8 = AmxKernel("uint8", "int8", "int32", 4, "tdpbusd")
BF16 = AmxKernel("uint16", "uint16", "float32", 2, "tdpbf16ps")


def amx_kernel(target: TargetDescription, data: str, weight: str) -> AmxKernel | None:
    """The tile instruction of ``target`` for these dtypes; None where there is none."""
    has_bf16 = {"amx-tile", "amx-bf16"} <= set(target.features)
    if (data, weight) == (INT8.data, INT8.weight) and target.dot_product == "amx_int8":
        return INT8
    return BF16 if (data, weight) == (BF16.data, BF16.weight) and has_bf16 else None


@dataclass(frozen=True)
class Band:
    """What one task computes: ``rows x width`` output pixels and ``channels`` output channels.

    Attributes:
        rows, width: more than one row only if ``width`` is the whole row.
        channels: of a group's output channels; whole tiles, or a divisor of them. Where they divide
            none, the last block has fewer.
        flat: the rows of the band are one run of pixels, with the padding between them computed
            too and left out by the epilogue; else each row has tiles of its own.
        pitch: accumulator rows from one output row to the next.
    """

    rows: int
    width: int
    channels: int
    flat: bool
    pitch: int

    @property
    def pixels(self) -> int:
        """Pixels from the first to the last, with those between its rows."""
        return (self.rows - 1) * self.pitch + self.width

    @property
    def tiles_per_run(self) -> int:
        """Tiles along a run of pixels: the whole band where it is flat, else one row."""
        return -(-self._run // TILE)

    @property
    def tiles(self) -> int:
        """Tiles of pixels."""
        return self.tiles_per_run * (1 if self.flat else self.rows)

    @property
    def tile_rows(self) -> int:
        """Pixels in a tile; tiles of a run overlap where they don't divide it."""
        return -(-self._run // self.tiles_per_run)

    @property
    def channel_tiles(self) -> int:
        """Tiles of output channels; the last may be partly zeros."""
        return -(-self.channels // TILE)

    @property
    def last_start(self) -> int:
        """Where the last tile of a run starts."""
        return self._run - self.tile_rows

    @property
    def _run(self) -> int:
        return self.pixels if self.flat else self.width


@dataclass(frozen=True)
class Depth:
    """How the reduction is cut: ``chunks`` pieces of ``chunk`` inputs for each of the ``taps``.

    Attributes:
        taps: sizes of the window's dimensions that are looped over; the last is missing where its
            taps are joined.
        length: contiguous inputs at a tap.
        chunk: inputs of a piece; the last piece overlaps the one before where needed.
        chunks: pieces.
    """

    taps: tuple[int, ...]
    length: int
    chunk: int
    chunks: int

    @property
    def steps(self) -> int:
        """Tile products of one accumulator."""
        return math.prod(self.taps) * self.chunks

    @property
    def beyond(self) -> int:
        """Inputs read behind the last (and multiplied with zero)."""
        return max(0, self.chunk - self.length)

    def start(self, piece: int) -> int:
        """The first input of a piece."""
        return max(0, min(piece * self.chunk, self.length - self.chunk))


@dataclass(frozen=True)
class AmxPlan:
    """A convolution of ``[*lead, *spatial, channels]``, cut into tiles.

    Attributes:
        lead, spatial, channels, out_channels: shapes, as the network has them.
        window: the geometry; its ``groups`` may be fewer than the network's: see ``merged``.
        merged: so many of the network's groups are computed as one, with zeros between them.
        kernel: the types.
        depth: how the reduction is cut.
        band: how the output is cut.
        bands_first: whether a thread goes through all channels of a band before the next band; else
            through all bands with the weights of one block of channels.
        zeros: so many of ``channels`` are a border of zeros behind those that the network has.
    """

    lead: tuple[int, ...]
    spatial: tuple[int, ...]
    channels: int
    out_channels: int
    window: Window
    merged: int
    kernel: AmxKernel
    depth: Depth
    band: Band
    bands_first: bool = True
    zeros: int = 0

    @property
    def output(self) -> tuple[int, ...]:
        """Spatial sizes of the output."""
        return self.window.output(self.spatial)

    @property
    def pointwise(self) -> bool:
        """Whether the input is read as one run of pixels, whatever its dimensions."""
        return is_pointwise(self.window)

    @property
    def grid(self) -> tuple[tuple[int, ...], int, int]:
        """The output's pixels: (sizes of the outer dimensions, rows, width of a row)."""
        if self.pointwise:
            return (), 1, math.prod(self.lead) * math.prod(self.spatial)
        *outer, width = self.output
        rows = outer.pop() if outer else 1
        return (*self.lead, *outer), rows, width

    @property
    def bands(self) -> tuple[int, int]:
        """How many bands there are along the rows and along the width."""
        _, rows, width = self.grid
        return -(-rows // self.band.rows), -(-width // self.band.width)

    @property
    def again(self) -> int:
        """Rows of sums, from a band's first, that the last band computes again: it ends with the
        output, and overlaps the one before."""
        _, rows, width = self.grid
        return -rows % self.band.rows * self.band.pitch + -width % self.band.width

    @property
    def sums(self) -> tuple[int, int]:
        """Shape of a task's accumulator buffer. A pixel has its place from the start of its band,
        at row :attr:`again`, whatever is computed again before it."""
        return self.again + self.band.pixels, self.band.channel_tiles * TILE

    @property
    def group_channels(self) -> int:
        """Output channels of a group."""
        return self.out_channels // self.window.groups

    @property
    def channel_blocks(self) -> int:
        """Blocks of output channels, of all groups."""
        return self.window.groups * -(-self.group_channels // self.band.channels)

    @property
    def weights_from_afar(self) -> bool:
        """Whether weights are read for so few pixels that their way from beyond the second-level
        cache takes most of the time: the hardware fetches too little ahead."""
        outer, _, _ = self.grid
        one_band = math.prod(outer) * math.prod(self.bands) == 1
        return one_band and not self.bands_first and self.band.tiles <= 4

    @property
    def widths(self) -> Widths:
        """The border that the kernel needs around its input."""
        *rest, (before, after) = self.window.padding
        beyond = -(-self.depth.beyond // self.channels)
        return (*((0, 0),) * len(self.lead), *rest, (before, after + beyond), (0, self.zeros))

    @property
    def padded(self) -> tuple[int, ...]:
        """Spatial sizes of the input with its border."""
        widths = self.widths[len(self.lead) : -1]
        return tuple(b + n + a for n, (b, a) in zip(self.spatial, widths, strict=True))

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """``[blocks of channels, tiles, steps, chunk / pack, 16, pack]``."""
        pieces = self.depth.chunk // self.kernel.pack
        tiles, steps = self.band.channel_tiles, self.depth.steps
        return (self.channel_blocks, tiles, steps, pieces, TILE, self.kernel.pack)


def is_pointwise(window: Window) -> bool:
    """Whether each output pixel is made of the input pixel at its place."""
    same = all(k == s == 1 for k, s in zip(window.kernel, window.strides, strict=True))
    return same and not any(before or after for before, after in window.padding)
