"""Instructions of NVIDIA GPUs that TIR has no statement for, as small functions of CUDA C++.

Memory is given as a pointer and an offset in bytes, a thread's registers as an array and the number
of one. Each function says what a machine without the instruction (Turing has no asynchronous
copies, and shorter matrix products) does in its place, so that a kernel is the same for all.
``tests/schedules/cuda`` describes each in numpy.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.tvm_import import tvm

tirx = tvm.tirx

#: Bytes that one thread copies at once.
WIDTHS = (16, 8, 4)
#: A vector type of so many bytes.
_VECTOR = {16: "uint4", 8: "uint2", 4: "unsigned int", 2: "unsigned short", 1: "unsigned char"}
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


def synchronize() -> Any:
    """Wait for the block's other threads."""
    return tirx.Evaluate(tvm.tirx.call_intrin("void", "tirx.tvm_storage_sync", "shared"))


def copy_async(shared: Any, to: Any, data: Any, first: Any, width: int, present: Any) -> Any:
    """Start to copy ``width`` bytes of ``data`` into ``shared``; zeros where not ``present``.

    Args:
        shared: the block's shared memory.
        to: a place in it.
        data: a buffer.
        first: a place in it; it is not read where not ``present``.
        width: one of :data:`WIDTHS`; both places are a multiple of it.
        present: a condition.
    """
    name, vector = f"tvmcomp_copy_async_{width}", _VECTOR[width]
    zero = {16: "make_uint4(0, 0, 0, 0)", 8: "make_uint2(0, 0)", 4: "0u"}[width]
    cache = "cg" if width == 16 else "ca"
    source = _function(
        f"void {name}(void* shared, int to, const void* data, long long first, int bytes)",
        f"""
  char* target = (char*)shared + to;
  const char* source = (const char*)data + first;
#if __CUDA_ARCH__ >= 800
  unsigned int place = (unsigned int)__cvta_generic_to_shared(target);
  asm volatile("cp.async.{cache}.shared.global [%0], [%1], {width}, %2;"
               :: "r"(place), "l"(source), "r"(bytes) : "memory");
#else
  *({vector}*)target = bytes ? *(const {vector}*)source : {zero};
#endif
""",
    )
    nbytes = tirx.Select(present, _int(width), _int(0))
    return _call(name, source, shared.data, to, data.data, first.astype("int64"), nbytes)


def end_group() -> Any:
    """What this thread has begun to copy since the last such statement is a group."""
    text = 'asm volatile("cp.async.commit_group;" ::: "memory");'
    return _call("tvmcomp_end_group", _since_ampere("void tvmcomp_end_group()", text))


def wait_groups(left: int) -> Any:
    """Wait until at most the last ``left`` groups of this thread's copies are under way."""
    name = f"tvmcomp_wait_groups_{left}"
    text = f'asm volatile("cp.async.wait_group {left};" ::: "memory");'
    return _call(name, _since_ampere(f"void {name}()", text))


def load_matrices(registers: Any, number: Any, shared: Any, row: Any, transposed: bool) -> Any:
    """Four matrices of 8 rows of 16 bytes into four registers of a warp's threads.

    Thread ``t`` says where row ``t % 8`` of matrix ``t // 8`` lies, and receives of each matrix the
    4 bytes ``t % 4`` of row ``t // 4``; where ``transposed``, the 16-bit elements ``2 * (t % 4)``
    and the next of column ``t // 4``.

    Args:
        registers: an array of ``uint32``.
        number: of the first of the registers.
        shared: the block's shared memory.
        row: the place of this thread's row in it.
        transposed: turn each matrix around.
    """
    name = "tvmcomp_load_matrices" + ("_transposed" if transposed else "")
    kind = "trans." if transposed else ""
    source = _function(
        f"void {name}(unsigned int* registers, int number, const void* shared, int row)",
        f"""
  unsigned int place = (unsigned int)__cvta_generic_to_shared((const char*)shared + row);
  unsigned int* to = registers + number;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.{kind}shared.b16 {{%0, %1, %2, %3}}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(place) : "memory");
""",
    )
    return _call(name, source, registers.data, number, shared.data, row)


def multiply(
    dtypes: tuple[str, str], sums: Any, at: Any, left: Any, of_left: Any, right: Any, of_right: Any
) -> Any:
    """Add the product of 16 rows and 8 columns, 32 bytes deep, to four sums of each thread.

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
    element, short, suffix = ("int", "s32", "s32") if total == "int32" else ("float", "f32", "f32")
    constraint = "r" if total == "int32" else "f"
    instruction = f"mma.sync.aligned.m16n8k{depth}.row.col.{short}.{first}.{second}.{suffix}"
    outputs = ", ".join(f'"+{constraint}"(c[{i}])' for i in range(4))
    inputs = ", ".join([*(f'"r"(a[{i}])' for i in range(4)), '"r"(b[0]), "r"(b[1])'])
    source = _function(
        f"void {name}({element}* sums, int at, const unsigned int* left, int of_left, "
        "const unsigned int* right, int of_right)",
        f"""
  {element}* c = sums + at;
  const unsigned int* a = left + of_left;
  const unsigned int* b = right + of_right;
#if __CUDA_ARCH__ >= 800
  asm volatile("{instruction} {{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, {{%8, %9}}, "
               "{{%0, %1, %2, %3}};" : {outputs} : {inputs});
#else
{_on_turing(first, second)}
#endif
""",
    )
    return _call(name, source, sums.data, at, left.data, of_left, right.data, of_right)


def put(shared: Any, to: Any, values: Any, first: Any, width: int) -> Any:
    """Store ``width`` bytes of a thread's array ``values`` from byte ``first`` on at ``to``."""
    name = f"tvmcomp_put_{width}"
    source = _function(
        f"void {name}(void* shared, int to, const void* values, int first)",
        f"""
  {_VECTOR[width]} moved;
  memcpy(&moved, (const char*)values + first, {width});
  *({_VECTOR[width]}*)((char*)shared + to) = moved;
""",
    )
    return _call(name, source, shared.data, to, values.data, first)


def take(values: Any, to: Any, shared: Any, first: Any, width: int) -> Any:
    """The reverse of :func:`put`: ``width`` bytes of ``shared`` into a thread's array."""
    name = f"tvmcomp_take_{width}"
    source = _function(
        f"void {name}(void* values, int to, const void* shared, int first)",
        f"""
  {_VECTOR[width]} moved = *(const {_VECTOR[width]}*)((const char*)shared + first);
  memcpy((char*)values + to, &moved, {width});
""",
    )
    return _call(name, source, values.data, to, shared.data, first)


def exchange(received: Any, values: Any, nbytes: int, distance: int) -> Any:
    """Into ``received`` what the thread has in ``values`` whose number in the warp differs by the
    one bit ``distance``: ``nbytes`` (1 to 8) of the arrays' first element."""
    name = f"tvmcomp_exchange_{nbytes}_{distance}"
    word = "unsigned long long" if nbytes == 8 else "unsigned int"
    source = _function(
        f"void {name}(void* received, const void* values)",
        f"""
  {word} word = 0;
  memcpy(&word, values, {nbytes});
  word = __shfl_xor_sync(0xffffffffu, word, {distance});
  memcpy(received, &word, {nbytes});
""",
    )
    return _call(name, source, received.data, values.data)


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


def _function(signature: str, body: str) -> str:
    return f"\n__forceinline__ __device__ {signature} {{{body}}}\n"


def _since_ampere(signature: str, statement: str) -> str:
    return _function(signature, f"\n#if __CUDA_ARCH__ >= 800\n  {statement}\n#endif\n")


def _int(value: int) -> Any:
    return tirx.const(value, "int32")


def _call(name: str, source: str, *args: Any) -> Any:
    given = [_int(arg) if isinstance(arg, int) else arg for arg in args]
    text = [tvm.ir.StringImm(name), *given, tvm.ir.StringImm(source)]
    return tirx.Evaluate(tirx.call_intrin("void", "tirx.cuda.func_call", *text))
