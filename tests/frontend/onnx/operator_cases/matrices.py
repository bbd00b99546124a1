"""Cases of matrix products."""

from __future__ import annotations

from operator_cases.draw import Draw, generates


def operands(draw: Draw) -> tuple[list[int], list[int]]:
    """Shapes of two operands of a matrix product, of any ranks that numpy allows."""
    m, k, n = (int(draw.choose((1, 2, 3, 5, 8, 16, 17, 33))) for _ in range(3))
    batch = draw.shape(0, 2, (1, 2, 3))
    left, right = [*batch, m, k], [*batch, k, n]
    if draw.chance(0.3):
        left = left[draw.size(0, len(batch)) :]
    if draw.chance(0.3):
        right = right[draw.size(0, len(batch)) :]
    if draw.chance(0.15):
        left = [k]
    elif draw.chance(0.15):
        right = [k]
    return left, right


@generates("MatMul")
def product(draw: Draw) -> None:
    dtype = draw.dtype()
    draw.node([draw.tensor(draw.array(dtype, shape)) for shape in operands(draw)])


@generates("Gemm")
def gemm(draw: Draw) -> None:
    dtype = draw.dtype()
    m, k, n = (int(draw.choose((1, 2, 3, 5, 8, 16, 17))) for _ in range(3))
    flips = draw.maybe(transA=draw.size(0, 1), transB=draw.size(0, 1))
    left = [k, m] if flips.get("transA") else [m, k]
    right = [n, k] if flips.get("transB") else [k, n]
    inputs = [draw.tensor(draw.array(dtype, shape)) for shape in (left, right)]
    if draw.opset < 11 or draw.chance(0.7):
        shape = draw.choose([[m, n], [n], [1, n], [m, 1], [1], []])
        inputs.append(draw.tensor(draw.array(dtype, shape)))
    # Integers are scaled by integers: how a fraction is rounded is not said.
    factors = (2.0, 1.0, 0.0) if "int" in dtype else (0.5, 2.0, 0.0)
    scales = draw.maybe(alpha=draw.choose(factors[:2]), beta=draw.choose(factors))
    draw.node(inputs, **flips, **scales)


@generates("MatMulInteger")
def integer_product(draw: Draw) -> None:
    left, right = operands(draw)
    types = [draw.dtype(letter) for letter in ("T1", "T2")]
    inputs = [
        draw.tensor(draw.array(dtype, shape, -255, 255))
        for dtype, shape in zip(types, (left, right), strict=True)
    ]
    if draw.chance(0.6):
        inputs.append(draw.tensor(draw.array(types[0], [], 0, 9)))
        if draw.chance(0.6):
            per_column = len(right) == 2 and draw.chance(0.5)
            shape = [right[-1]] if per_column else []
            inputs.append(draw.tensor(draw.array(types[1], shape, 0, 9)))
    draw.node(inputs)


_EQUATIONS = (
    "ij,jk->ik", "bij,bjk->bik", "ij->ji", "ii->i", "ij->", "i,i->", "i,j->ij", "bhid,bhjd->bhij",
    "...ij,...jk->...ik", "ij,j", "bij->bj", "ijk,kl,lm->ijm", " a b , b c -> a c ", "iij->j",
)  # fmt: skip


@generates("Einsum")
def einsum(draw: Draw) -> None:
    dtype = draw.dtype(without=("bool", "int8", "uint8"))
    equation = draw.choose(_EQUATIONS)
    sizes = {letter: draw.size(1, 4) for letter in "abcdefghijklm"}
    batch = draw.shape(0, 2, (1, 2, 3))
    shapes = []
    for term in equation.split("->")[0].replace(" ", "").split(","):
        prefix = batch if term.startswith("...") else []
        shapes.append([*prefix, *(sizes[letter] for letter in term.strip("."))])
    inputs = [draw.tensor(draw.array(dtype, shape)) for shape in shapes]
    draw.node(inputs, equation=equation)
