"""Random one-node models of every operator, by seeded generators: one file a family.

A generator is a function of a :class:`~operator_cases.draw.Draw`, registered for the operators
that it makes cases of. ``check.py`` builds many cases as one network and compares each with ONNX
Runtime.
"""

from operator_cases import (  # noqa: F401  they register
    elementwise,
    fused_operators,
    indices,
    loops,
    matrices,
    microsoft,
    moves,
    normalizations,
    places,
    quantization,
    quantized_operators,
    recurrent,
    reductions,
    resizing,
    sequences,
    signals,
    windows,
)
