"""The kernel of an :class:`~tvmcomp.schedules.amx.plan.AmxPlan`, as TIR.

Two blocks: ``conv``, the anchor, one instance a task, which runs the tiles over a band and leaves
its sums in a buffer of its own; and ``crop``, which picks the output's pixels from the sums and is
what the epilogue fuses with. The tile program is written out, not tensorized: its accumulators
live in registers over the whole reduction, which a tensor intrinsic of one step can't express.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvmcomp.schedules.amx import tiles
from tvmcomp.schedules.amx.plan import AMX_CONV, BAND, TILE, AmxPlan
from tvmcomp.schedules.anchor import ANCHOR
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, PrimExpr, Tensor

tirx = tvm.tirx
T = tirx.script.builder

#: Bytes: keeps the sums off the stack, where TVM would align them to 16.
_ALIGNMENT = 128
#: Tiles of weights: how far ahead they are fetched. 2 to 32 are as good.
_AHEAD = 4


def amx_conv(plan: AmxPlan) -> Any:
    """A PrimFunc ``(data, weight, output)``.

    ``data`` has the border ``plan.widths``; ``weight`` comes from
    :func:`~tvmcomp.schedules.amx.pack.pack_amx_weight`; ``output`` is
    ``[*lead, *output, out_channels]`` of dtype ``plan.kernel.acc``, before any epilogue.
    """
    kernel = plan.kernel
    outer, _, _ = plan.grid
    space = _sizes(*outer, *plan.bands, plan.channel_blocks)
    sums_shape = _sizes(*plan.sums)
    out_shape = _sizes(*plan.lead, *plan.output, plan.out_channels)
    data_shape = _sizes(*plan.lead, *plan.padded, plan.channels)
    with tvm.script.ir_builder.IRBuilder() as ib, T.prim_func(is_private=True, s_tir=True):
        T.func_attr({"tirx.noalias": True, "op_pattern": int(OpPattern.OUT_FUSABLE)})
        data = T.arg("data", T.buffer(data_shape, kernel.data))
        weight = T.arg("weight", T.buffer(_sizes(*plan.weight_shape), kernel.weight))
        output = T.arg("output", T.buffer(out_shape, kernel.acc))
        sums = T.sblock_alloc_buffer((*space, *sums_shape), kernel.acc, align=_ALIGNMENT)
        _conv_block(plan, data, weight, sums, space, sums_shape)
        _crop_block(plan, sums, output, out_shape)
    return ib.get()


def _conv_block(
    plan: AmxPlan,
    data: Tensor,
    weight: Tensor,
    sums: Any,
    space: Sequence[int],
    shape: tuple[int, int],
) -> None:
    pixels, columns = shape
    with T.grid(*space) as loops, T.sblock("conv"):
        at = [T.axis.spatial(n, loop) for n, loop in zip(space, loops, strict=True)]
        # compute_at wants each dimension of the result to be some block axis' business.
        one, zero = _sizes(1, 0)
        zero_p, zero_c = T.axis.spatial(one, zero), T.axis.spatial(one, zero)
        all_pixels = slice(zero_p * pixels, zero_p * pixels + pixels)
        all_columns = slice(zero_c * columns, zero_c * columns + columns)
        region = (*at, all_pixels, all_columns)
        mine = sums[region]
        T.reads(_whole(data), _whole(weight))
        T.writes(mine)
        T.sblock_attr({ANCHOR: AMX_CONV, BAND: _band_attribute(plan)})
        local = T.match_buffer(mine, shape, plan.kernel.acc, strides=[columns, 1], offset_factor=1)
        _tile_program(plan, data, weight, local, at)


def _band_attribute(plan: AmxPlan) -> list[int]:
    band = plan.band
    outer = len(plan.lead) + len(plan.output) if plan.pointwise else len(plan.grid[0])
    rank = 1 if len(plan.output) == 1 else 2
    return [band.rows, band.width, band.channels, outer, plan.pointwise, rank, plan.bands_first]


def _tile_program(plan: AmxPlan, data: Tensor, weight: Tensor, sums: Any, at: list[Any]) -> None:
    """What one task does: ``at`` is its (outer…, band of rows, band of width, channel block)."""
    *outer, row_band, width_band, block = at
    band = plan.band
    # The configuration is loaded from where the sums will be: no buffer of its own.
    columns = band.channel_tiles * TILE
    shapes = tiles.configuration(band.tile_rows, TILE, plan.depth.chunk // plan.kernel.pack)
    for i, word in enumerate(shapes):
        value = tirx.const(word, plan.kernel.acc)
        if word and plan.kernel.acc != "int32":
            value = tirx.reinterpret(plan.kernel.acc, tirx.const(word, "int32"))
        T.buffer_store(sums, value, [0, i])
    T.evaluate(tiles.configure(sums.access_ptr("r")))
    origin = _origin(plan, outer, row_band, width_band, block)
    first_row = _first_row(plan, row_band, width_band)

    def register_block(first_m: Any, count_m: int, first_n: Any, count_n: int) -> None:
        rows = [_tile_origin(plan, first_m + m) for m in range(count_m)]
        columns_at = [first_n + n for n in range(count_n)]
        pairs = [(m, n) for m in range(count_m) for n in range(count_n)]
        for m, n in pairs:
            T.evaluate(tiles.zero(tiles.ACCUMULATORS + 2 * m + n))

        def step(offset: PrimExpr, number: PrimExpr) -> None:
            for m, (_, pixel) in enumerate(rows):
                address = data.access_ptr("r", offset=origin + pixel + offset)
                T.evaluate(tiles.load(tiles.LEFT + m, address, _pixel_stride(plan)))
            for n, tile in enumerate(columns_at):
                address = weight.access_ptr("r", offset=_weight_offset(plan, block, tile, number))
                T.evaluate(tiles.load(tiles.RIGHT + n, address, 64))
                if plan.weights_from_afar:
                    _fetch_ahead(weight, _weight_offset(plan, block, tile, number), plan)
            for m, n in pairs:
                accumulator = tiles.ACCUMULATORS + 2 * m + n
                T.evaluate(
                    tiles.multiply(
                        plan.kernel.instruction, accumulator, tiles.LEFT + m, tiles.RIGHT + n
                    )
                )

        _reduce(plan, step)
        for m, n in pairs:
            row = first_row + rows[m][0]
            address = sums.access_ptr("w", offset=row * columns + columns_at[n] * TILE)
            T.evaluate(tiles.store(tiles.ACCUMULATORS + 2 * m + n, address, columns * 4))

    # Weights of a pair of tiles meet all pixels before the next pair's are read.
    for_pairs(
        band.channel_tiles,
        lambda n, count_n: for_pairs(
            band.tiles, lambda m, count_m: register_block(m, count_m, n, count_n)
        ),
    )
    T.evaluate(tiles.release())


def for_pairs(count: int, body: Callable[[Any, int], None]) -> None:
    """Emit ``body(first, 2)`` in a loop over pairs out of ``count``, ``body(last, 1)`` if odd."""
    if count >= 4:
        with T.serial(*_sizes(0, count // 2)) as pair:
            body(pair * 2, 2)
    elif count >= 2:
        body(0, 2)
    if count % 2:
        body(count - 1, 1)


def _reduce(plan: AmxPlan, step: Callable[[Any, Any], None]) -> None:
    """Emit ``step(offset in the data, number of the step)`` in loops over taps and pieces."""
    depth = plan.depth
    strides = _strides((*plan.padded, plan.channels))
    sizes = [*depth.taps, depth.chunks]

    def loops(level: int, offset: PrimExpr, number: PrimExpr) -> None:
        if level == len(sizes):
            step(offset, number)
        elif sizes[level] == 1:
            loops(level + 1, offset, number)
        else:
            with T.serial(*_sizes(0, sizes[level])) as i:
                if level < len(depth.taps):
                    moved = i * (plan.window.dilation[level] * strides[level])
                elif depth.chunk * depth.chunks > depth.length:
                    moved = T.min(i * depth.chunk, depth.length - depth.chunk)
                else:
                    moved = i * depth.chunk
                loops(level + 1, offset + moved, number * sizes[level] + i)

    loops(0, 0, 0)


def _origin(plan: AmxPlan, outer: list[Any], row_band: Any, width_band: Any, block: Any) -> Any:
    """Where in the data the first pixel of a task begins, for the first channel of its group."""
    _, rows, width = plan.grid
    group = block // (plan.channel_blocks // plan.window.groups)
    origin = group * (plan.channels // plan.window.groups)
    pixel = _first(width_band, plan.band.width, width)
    if plan.pointwise:
        return origin + pixel * plan.channels
    shape = (*plan.lead, *plan.padded, plan.channels)
    moves = (*(1,) * len(plan.lead), *plan.window.strides)
    at = [*outer, pixel]
    if len(plan.output) > 1:
        at = [*outer, _first(row_band, plan.band.rows, rows), pixel]
    for index, move, stride in zip(at, moves, _strides(shape)[:-1], strict=True):
        origin = origin + index * (move * stride)
    return origin


def _tile_origin(plan: AmxPlan, tile: Any) -> tuple[Any, Any]:
    """Of a tile of pixels: its first row in the sums, and its place in the data from the origin."""
    band = plan.band
    along = tile if band.flat else tile % band.tiles_per_run
    start = along * band.tile_rows
    if band.tiles_per_run * band.tile_rows > band.last_start + band.tile_rows:
        start = T.min(start, band.last_start)
    place = start * (_pixel_stride(plan) // plan.kernel.item_bytes)
    if band.flat:
        return start, place
    row = tile // band.tiles_per_run
    if len(plan.output) > 1:
        place = place + row * (plan.window.strides[-2] * plan.padded[-1] * plan.channels)
    return row * band.pitch + start, place


def _pixel_stride(plan: AmxPlan) -> int:
    """Bytes in the data from one output pixel to the next in a row."""
    return plan.window.strides[-1] * plan.channels * plan.kernel.item_bytes


def _fetch_ahead(weight: Tensor, offset: Any, plan: AmxPlan) -> None:
    """Prefetch the weights that come :data:`_AHEAD` tiles behind ``offset``, a cache line a row."""
    pieces = plan.depth.chunk // plan.kernel.pack
    row = TILE * plan.kernel.pack
    for line in range(_AHEAD * pieces, (_AHEAD + 1) * pieces):
        T.evaluate(tiles.prefetch(weight.access_ptr("r", offset=offset + line * row)))


def _weight_offset(plan: AmxPlan, block: Any, tile: Any, step: Any) -> Any:
    _, tile_count, steps, *tile_shape = plan.weight_shape
    return ((block * tile_count + tile) * steps + step) * math.prod(tile_shape)


def _first_row(plan: AmxPlan, row_band: Any, width_band: Any) -> Any:
    """The first row of the sums that a task computes: see :attr:`AmxPlan.again`."""
    _, rows, width = plan.grid
    band = plan.band
    back_rows = row_band * band.rows - _first(row_band, band.rows, rows)
    back = width_band * band.width - _first(width_band, band.width, width)
    return plan.again - back_rows * band.pitch - back


def _first(band: Any, size: int, extent: int) -> Any:
    """Where a band begins: the last one ends with the extent, and overlaps the one before."""
    return band * size if extent % size == 0 else T.min(band * size, extent - size)


def _crop_block(plan: AmxPlan, sums: PrimExpr, output: Any, shape: Sequence[int]) -> None:
    band = plan.band
    with T.grid(*shape) as loops, T.sblock("crop"):
        at = [T.axis.spatial(n, loop) for n, loop in zip(shape, loops, strict=True)]
        *pixel, channel = at
        outer: list[Any] = []
        row, column = 0, pixel[-1]
        if plan.pointwise:
            column = 0
            for index, size in zip(pixel, shape, strict=False):  # all but the channels
                column = column * size + index
        elif len(plan.output) > 1:
            *outer, row, column = pixel
        else:
            outer = pixel[:-1]
        run = plan.again + row % band.rows * band.pitch + column % band.width
        block, within = channel // band.channels, channel % band.channels
        if plan.channel_blocks == 1:
            # Of a vector that ends behind the channels, TVM would divide every lane's number.
            block, within = 0, channel
        place = (*outer, row // band.rows, column // band.width, block, run, within)
        T.buffer_store(output, sums[place], at)


def _sizes(*values: int) -> tuple[Any, ...]:
    """Extents as Relax has them: its kernels only join where the types of their buffers agree."""
    return tuple(tirx.IntImm("int64", value) for value in values)


def _strides(shape: Sequence[int]) -> list[int]:
    """Elements from one index of a dimension to the next."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def _whole(buffer: Buffer) -> Any:
    return buffer[tuple(slice(0, int(n)) for n in buffer.shape)]
