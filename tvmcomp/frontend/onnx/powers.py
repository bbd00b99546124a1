"""Powers by constant exponents as products and roots, which cost a tenth of a power."""

from __future__ import annotations

from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr

relax = tvm.relax
_MOST = 4
_STEPS = 4  # a half is a root, a quarter a root of one


def power_by(bb: Builder, data: Expr, exponent: float, floating: bool) -> Expr | None:
    """``data`` to the power of ``exponent``, within two units in the last place.

    Args:
        bb: where the parts are emitted.
        data: any numbers.
        exponent: the same for all of them.
        floating: whether they are floating-point numbers: integers have no roots.

    Returns:
        None where a power is no few products and roots: ``exponent`` is 0, negative, above 4, or no
        multiple of a quarter.
    """
    steps = exponent * _STEPS
    if not 0 < exponent <= _MOST or steps != int(steps) or not (floating or exponent.is_integer()):
        return None
    whole, quarters = divmod(int(steps), _STEPS)
    factors = []
    if quarters:
        root = bb.emit(relax.op.sqrt(data))
        factors += [root] if quarters >= _STEPS // 2 else []
        factors += [bb.emit(relax.op.sqrt(root))] if quarters % 2 else []
    square = bb.emit(relax.op.multiply(data, data)) if whole > 1 else None
    factors += [square] * (whole // 2) + [data] * (whole % 2)
    product, *others = factors
    for factor in others:
        product = bb.emit(relax.op.multiply(product, factor))
    return product
