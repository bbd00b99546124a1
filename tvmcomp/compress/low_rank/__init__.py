"""Low rank: an operator's weight as the product of two or three smaller ones."""

from tvmcomp.compress.low_rank.factorize import Factorized, factorize
from tvmcomp.compress.low_rank.options import LowRankSettings

__all__ = ["Factorized", "LowRankSettings", "factorize"]
