"""How a network is fake-quantized."""

from __future__ import annotations

from typing import Literal

import msgspec

from tvmcomp.compress.fake_quantize.patterns import matches
from tvmcomp.errors import ConfigError
from tvmcomp.quantize.config import DEFAULT_MIN_SQNR_DB, DEFAULT_OBSERVER
from tvmcomp.quantize.observers import OBSERVERS
from tvmcomp.quantize.rounding.codes import FEWEST_BITS, MOST_BITS


class FakeQuantizeOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How weights and activations are rounded.

    A pattern is a node's name, its ONNX operator (``Conv``), or a glob (``*``, ``?``, ``[abc]``) of
    either.

    Attributes:
        bits: of a weight, 2 to 8, on average and with its scale; activations have 8. Weights that
            do much harm for their bytes get more, others one less, unless ``weight_bits`` names
            them.
        size: in place of ``bits``: the bytes that the weights may take when coded; each gets 8, 6,
            5, 4 or 3 bits, by the harm measured on the part that is watched.
        drop: in place of ``bits``: the most that may be lost on the part that is watched, in
            points of agreement with the network as it was where its first output is scores of
            classes, else in percent of that output's variance; the weights get as few bits as keep
            to it.
        rounding: of weights: ``gptq``, or ``nearest``.
        observer: decides the ranges of activations.
        keep_float: patterns of what is not rounded.
        min_sqnr_db: operators whose 8-bit activations do harm stay float, as few as keep this ratio
            of signal to noise at the outputs; None keeps none.
        weight_bits: pattern -> bits of the weights of the operators that it matches; of several
            the last counts.
    """

    bits: int = MOST_BITS
    size: int | None = None
    drop: float | None = None
    rounding: Literal["gptq", "nearest"] = "gptq"
    observer: str = DEFAULT_OBSERVER
    keep_float: tuple[str, ...] = ()
    min_sqnr_db: float | None = DEFAULT_MIN_SQNR_DB
    weight_bits: dict[str, int] = {}

    def __post_init__(self) -> None:
        if self.size is not None and self.drop is not None:
            raise ConfigError("size and drop are two goals; give one of them")
        for bits in (self.bits, *self.weight_bits.values()):
            if not FEWEST_BITS <= bits <= MOST_BITS:
                raise ConfigError(f"{bits} bits: a weight has {FEWEST_BITS} to {MOST_BITS}")
        if self.observer not in OBSERVERS:
            raise ConfigError(
                f"there is no observer {self.observer!r}; known are {', '.join(OBSERVERS)}"
            )

    def given_bits(self, name: str, kind: str) -> int | None:
        """The bits that ``weight_bits`` gives the weights of a node; None where it gives none."""
        found = [b for pattern, b in self.weight_bits.items() if matches(pattern, name, kind)]
        return found[-1] if found else None
