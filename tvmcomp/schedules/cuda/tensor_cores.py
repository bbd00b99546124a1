"""Products of small matrices by the tensor cores: ``mma.sync``."""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.cuda.instructions import call, device_function

#: Types that are multiplied -> their names in PTX, elements that one product goes deep, and the
#: type of the sums.
MULTIPLIED = {
    ("float16", "float16"): ("f16", "f16", 16, "float32"),
    ("bfloat16", "bfloat16"): ("bf16", "bf16", 16, "float32"),
    ("float32", "float32"): ("tf32", "tf32", 8, "float32"),
    ("int8", "int8"): ("s8", "s8", 32, "int32"),
    ("uint8", "int8"): ("u8", "s8", 32, "int32"),
    ("int8", "uint8"): ("s8", "u8", 32, "int32"),
    ("uint8", "uint8"): ("u8", "u8", 32, "int32"),
}


def multiply(
    dtypes: tuple[str, str], sums: Any, at: Any, left: Any, of_left: Any, right: Any, of_right: Any
) -> Any:
    """Add the product of 16 rows and 8 columns, 32 bytes deep, to four sums of each thread; of
    float32 with its accuracy.

    Of the sums, thread ``t`` of the warp has rows ``t // 4`` and that + 8, columns ``2 * (t % 4)``
    and the next.

    Args:
        dtypes: of the left and the right side, from :data:`MULTIPLIED`.
        sums: an array.
        at: of the first of the four sums.
        left: an array with what :func:`load_matrices` gave: rows 0 to 7 and 8 to 15 of the first
            16 bytes, then of the next.
        of_left: of the first of its four registers.
        right: the same: the columns' first 16 bytes, then the next.
        of_right: of the first of its two registers.
    """
    first, second, depth, total = MULTIPLIED[dtypes]
    name = f"tvmcomp_multiply_{first}_{second}"
    element, kind = ("int", "s32") if total == "int32" else ("float", "f32")
    instruction = f"mma.sync.aligned.m16n8k{depth}.row.col.{kind}.{first}.{second}.{kind}"
    product = _three_products if first == "tf32" else _product
    source = device_function(
        f"void {name}({element}* sums, int at, const unsigned int* left, int of_left, "
        "const unsigned int* right, int of_right)",
        f"""
  {element}* c = sums + at;
  const unsigned int* a = left + of_left;
  const unsigned int* b = right + of_right;
#if __CUDA_ARCH__ >= 800
{product(instruction, "r" if total == "int32" else "f")}
#else
{_on_turing(first, second)}
#endif
""",
    )
    return call(name, source, sums.data, at, left.data, of_left, right.data, of_right)


def _product(instruction: str, kind: str, a: str = "a", b: str = "b") -> str:
    """The statement that adds the product of the registers ``a`` and ``b`` to ``c``."""
    sums = ", ".join(f'"+{kind}"(c[{i}])' for i in range(4))
    factors = ", ".join(
        [*(f'"r"({a}[{i}])' for i in range(4)), *(f'"r"({b}[{i}])' for i in (0, 1))]
    )
    registers = "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
    return f'  asm volatile("{instruction} {registers}"\n               : {sums} : {factors});'


def _three_products(instruction: str, kind: str) -> str:
    """Float32 on units that read 10 bits of each fraction: what a factor has beyond these is a
    factor of its own, and only the product of two such parts, below float32's last bit, is left
    out. After Ootomo and Yokota, "Recovering single precision accuracy from Tensor Cores" (2022).
    """
    split = "\n".join(
        f"""  unsigned int {x}_high[{count}], {x}_low[{count}];
  #pragma unroll
  for (int i = 0; i < {count}; ++i) {{
    {x}_high[i] = {x}[i] & 0xffffe000u;
    float rest = __uint_as_float({x}[i]) - __uint_as_float({x}_high[i]);
    bool finite = ({x}[i] & 0x7f800000u) != 0x7f800000u;
    {x}_low[i] = finite ? __float_as_uint(rest) : 0u;
    if (!finite) {x}_high[i] = {x}[i];
  }}"""
        for x, count in (("a", 4), ("b", 2))
    )
    pairs = (("a_low", "b_high"), ("a_high", "b_low"), ("a_high", "b_high"))
    return "\n".join([split, *(_product(instruction, kind, a, b) for a, b in pairs)])


def _on_turing(first: str, second: str) -> str:
    """The product by the shorter ones of compute capability 7.5."""
    if (first, second) == ("f16", "f16"):
        return "\n".join(
            '  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 '
            '{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};" '
            ': "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) '
            f': "r"(a[{2 * half}]), "r"(a[{2 * half + 1}]), "r"(b[{half}]));'
            for half in range(2)
        )
    if first in ("s8", "u8"):
        return "\n".join(
            f'  asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.{first}.{second}.s32 '
            '{%0, %1}, {%2}, {%3}, {%0, %1};" '
            f': "+r"(c[{2 * rows}]), "+r"(c[{2 * rows + 1}]) '
            f': "r"(a[{2 * half + rows}]), "r"(b[{half}]));'
            for half in range(2)
            for rows in range(2)
        )
    return "  __trap();  // not before compute capability 8.0: no kernel is made for that"
