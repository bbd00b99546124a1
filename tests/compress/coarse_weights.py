"""A technique for tests: weights in few bits of mantissa. It harms as much as asked for."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
import onnx
from onnx import numpy_helper

from tvmcomp.compress.technique import TECHNIQUES, Applied, Suggestion, technique


def register() -> None:
    """Make it known; :func:`unregister` takes it out again."""

    @technique("coarse", place=40)
    class Coarse:
        """Weights rounded to ``mantissa`` bits of mantissa."""

        class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
            mantissa: Annotated[int, msgspec.Meta(ge=0, le=23, description="Bits to keep.")] = 8

        chosen_by = ("coarse", "mantissa")
        summary = "Round the weights."
        on_command_line = ("coarse", "mantissa")

        def __init__(self, options):
            self.options = options

        def refuses(self, model, run, before):
            floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
            return None if floats else "the network has no weights"

        @classmethod
        def suggests(cls, model):
            return [Suggestion("--coarse", "rounds the weights")]

        def apply(self, model, run):
            made = onnx.ModelProto()
            made.CopyFrom(model)
            for tensor in made.graph.initializer:
                if tensor.data_type == onnx.TensorProto.FLOAT:
                    fraction, exponent = np.frexp(numpy_helper.to_array(tensor))
                    steps = 2.0 ** (self.options.mantissa + 1)
                    array = np.ldexp(np.rint(fraction * steps) / steps, exponent)
                    tensor.CopyFrom(numpy_helper.from_array(array.astype("f4"), tensor.name))
            return Applied(made, ("rounded all",))


def unregister() -> None:
    del TECHNIQUES["coarse"]
