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
    source = device_function(
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
    return call(name, source, shared.data, to, data.data, first.astype("int64"), nbytes)


def end_group() -> Any:
    """What this thread has begun to copy since the last such statement is a group."""
    text = 'asm volatile("cp.async.commit_group;" ::: "memory");'
    return call("tvmcomp_end_group", _since_ampere("void tvmcomp_end_group()", text))


def wait_groups(left: int) -> Any:
    """Wait until at most the last ``left`` groups of this thread's copies are under way."""
    name = f"tvmcomp_wait_groups_{left}"
    text = f'asm volatile("cp.async.wait_group {left};" ::: "memory");'
    return call(name, _since_ampere(f"void {name}()", text))


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
    source = device_function(
        f"void {name}(unsigned int* registers, int number, const void* shared, int row)",
        f"""
  unsigned int place = (unsigned int)__cvta_generic_to_shared((const char*)shared + row);
  unsigned int* to = registers + number;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.{kind}shared.b16 {{%0, %1, %2, %3}}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(place) : "memory");
""",
    )
    return call(name, source, registers.data, number, shared.data, row)


def put(shared: Any, to: Any, values: Any, first: Any, width: int) -> Any:
    """Store ``width`` bytes of a thread's array ``values`` from byte ``first`` on at ``to``."""
    name = f"tvmcomp_put_{width}"
    source = device_function(
        f"void {name}(void* shared, int to, const void* values, int first)",
        f"""
  {_VECTOR[width]} moved;
  memcpy(&moved, (const char*)values + first, {width});
  *({_VECTOR[width]}*)((char*)shared + to) = moved;
""",
    )
    return call(name, source, shared.data, to, values.data, first)


def take(values: Any, to: Any, shared: Any, first: Any, width: int) -> Any:
    """The reverse of :func:`put`: ``width`` bytes of ``shared`` into a thread's array."""
    name = f"tvmcomp_take_{width}"
    source = device_function(
        f"void {name}(void* values, int to, const void* shared, int first)",
        f"""
  {_VECTOR[width]} moved = *(const {_VECTOR[width]}*)((const char*)shared + first);
  memcpy((char*)values + to, &moved, {width});
""",
    )
    return call(name, source, values.data, to, shared.data, first)


def exchange(received: Any, values: Any, nbytes: int, distance: int) -> Any:
    """Into ``received`` what the thread has in ``values`` whose number in the warp differs by the
    one bit ``distance``: ``nbytes`` (1 to 8) of the arrays' first element."""
    name = f"tvmcomp_exchange_{nbytes}_{distance}"
    word = "unsigned long long" if nbytes == 8 else "unsigned int"
    source = device_function(
        f"void {name}(void* received, const void* values)",
        f"""
  {word} word = 0;
  memcpy(&word, values, {nbytes});
  word = __shfl_xor_sync(0xffffffffu, word, {distance});
  memcpy(received, &word, {nbytes});
""",
    )
    return call(name, source, received.data, values.data)


def device_function(signature: str, body: str) -> str:
    """A function of CUDA C++."""
    return f"\n__forceinline__ __device__ {signature} {{{body}}}\n"


def _since_ampere(signature: str, statement: str) -> str:
    return device_function(signature, f"\n#if __CUDA_ARCH__ >= 800\n  {statement}\n#endif\n")


def _int(value: int) -> Any:
    return tirx.const(value, "int32")


def call(name: str, source: str, *args: Any) -> Any:
    """The statement that calls the function ``name``, whose text is ``source``."""
    given = [_int(arg) if isinstance(arg, int) else arg for arg in args]
    text = [tvm.ir.StringImm(name), *given, tvm.ir.StringImm(source)]
    return tirx.Evaluate(tirx.call_intrin("void", "tirx.cuda.func_call", *text))
