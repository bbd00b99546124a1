"""A network whose weights and activations are rounded, in float: planned, fitted, written out."""

from tvmcomp.compress.fake_quantize.finish import finish
from tvmcomp.compress.fake_quantize.options import FakeQuantizeOptions
from tvmcomp.compress.fake_quantize.quantize_model import Quantized, quantize_model

__all__ = ["FakeQuantizeOptions", "Quantized", "finish", "quantize_model"]
