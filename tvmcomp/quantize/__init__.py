"""Quantization: from a float network and samples to a fake-quantized network, with Q/DQ in it."""

from tvmcomp.quantize.config import QuantConfig

__all__ = ["QuantConfig"]
