"""What a target's TOML says of a GPU, beyond what follows from its compute capability."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Figure = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Gpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One GPU, and how it is used; 0 where a figure is not known.

    Attributes:
        multiprocessors: streaming multiprocessors, 1 where that is not known.
        clock_mhz: boost clock.
        memory_gb_s: bandwidth of its memory, in GB/s.
        tensor_tflops: of tensor cores on 16-bit floats with float32 accumulators, without sparsity.
        tensor_int8_tops: of tensor cores on 8-bit integers, without sparsity.
        graphs: launch a network's kernels as CUDA graphs. No GPU has been at hand to try it on.
    """

    multiprocessors: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 1
    clock_mhz: _Figure = 0.0
    memory_gb_s: _Figure = 0.0
    tensor_tflops: _Figure = 0.0
    tensor_int8_tops: _Figure = 0.0
    graphs: bool = False
