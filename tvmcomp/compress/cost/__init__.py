"""What operators cost on the target: measured there, or modelled where it is not at hand."""

from tvmcomp.compress.cost.submodel import submodel
from tvmcomp.compress.cost.times import Compute, OperatorTimes

__all__ = ["Compute", "OperatorTimes", "submodel"]
