"""The base of our converters: one class an operator, one method an operator-set version."""

from __future__ import annotations

from tvmcomp.tvm_import import tvm  # noqa: F401  keeps torch out of the import below

# isort: split
from tvm.relax.frontend.onnx.onnx_frontend import OnnxOpConverter  # noqa: TID253


class Converter(OnnxOpConverter):  # type: ignore[misc]
    """Converts one ONNX operator to Relax; TVM's protocol for it.

    A subclass has class methods ``_impl_vN(bb, inputs, attr, params)`` for the operator-set
    versions ``N`` that changed the operator; the newest that is not newer than the model's is
    called. ``bb`` emits, ``inputs`` are Relax expressions (None for one left out, also past the
    end), ``attr`` maps attributes to values (strings as bytes). It returns an expression, or a
    ``relax.Tuple`` of the outputs. A ``ValueError`` says why the node can't be converted.
    """
