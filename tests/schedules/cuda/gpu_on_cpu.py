"""Runs a scheduled GPU function on the CPU: the statements that TVM prints as CUDA C++.

All threads of some blocks at once, in step: a statement is done by all of them before the next is.
That two threads rely on an order which a GPU does not give shows in :mod:`gpu_memory`, which knows
what lies between two barriers.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from gpu_expressions import Expressions, numpy_dtype
from gpu_instructions import WARP, matrices, multiplied
from gpu_memory import Memory, Race

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

tirx = tvm.tirx
#: The module, of which ``tvm.tirx`` shows the function of that name.
_build = importlib.import_module("tvm.tirx.build")

#: Threads that are run at once.
_AT_ONCE = 8192


def run_on_cpu(func: Any, target: TargetDescription, arrays: list[np.ndarray]) -> None:
    """Run ``func``, scheduled for ``target``.

    Args:
        func: its launches are those of :func:`tvmcomp.schedules.cuda.schedule_kernel` or DLight's.
        target: the GPU.
        arrays: for each of its parameters; results are written into theirs.
    """
    tensors = {}
    for param, array in zip(func.params, arrays, strict=True):
        assert array.flags.c_contiguous, param
        tensors[str(param.name)] = array.reshape(-1).view(np.uint8)
    for kernel in device_functions(func, target):
        _run_kernel(kernel, tensors)


def device_functions(func: Any, target: TargetDescription) -> list[Any]:
    """The kernels of ``func`` in the order of their launches, as TVM's code generator sees them."""
    made = tvm.target.Target(target.tvm_target_dict())
    mod = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    mod = tirx.transform.BindTarget(made)(mod)
    pipeline, _, finish = tirx.get_default_tir_pipeline(made)
    _, devices = _build.split_host_device_mods(pipeline(mod))
    (device,) = devices.values()
    functions = finish()(device).functions.items()
    order = sorted(functions, key=lambda item: (len(item[0].name_hint), item[0].name_hint))
    return [kernel for _, kernel in order]


def _run_kernel(kernel: Any, tensors: dict[str, np.ndarray]) -> None:
    sizes: dict[str, int] = {}

    def see(statement: Any) -> None:
        if statement.attr_key == "thread_extent":
            sizes[str(statement.node.thread_tag)] = int(statement.value)

    tvm_ffi.structural_walk(kernel.body, (tirx.AttrStmt, see))
    dims = [sizes.get(f"blockIdx.{dim}", 1) for dim in "xyz"]
    threads = [sizes.get(f"threadIdx.{dim}", 1) for dim in "xyz"]
    blocks, count = int(np.prod(dims)), int(np.prod(threads))
    at_once = max(1, _AT_ONCE // count)
    for first in range(0, blocks, at_once):
        some = np.arange(first, min(blocks, first + at_once))
        _Run(dims, threads, some, tensors).kernel(kernel)


def _tensor(pointer: Any) -> str:
    """The name of the tensor that a kernel's parameter points at."""
    return str(pointer.name).removesuffix("_ptr")


def _size(buffer: Any) -> int:
    """Bytes of a buffer, whose elements may be vectors."""
    dtype = str(buffer.ty.dtype)
    element = numpy_dtype(dtype).itemsize * int(tvm.DataType(dtype).lanes)
    return element * int(np.prod([int(n) for n in buffer.shape]))


class _Run(Expressions):
    def __init__(
        self,
        dims: list[int],
        threads: list[int],
        blocks: np.ndarray,
        tensors: dict[str, np.ndarray],
    ) -> None:
        count = int(np.prod(threads))
        super().__init__(blocks.size * count)
        self.block = np.repeat(np.arange(blocks.size), count)
        self.thread = np.tile(np.arange(count), blocks.size)
        self.tensors = tensors
        self.groups: list[list[tuple[Memory, Any]]] = [[]]
        at = np.repeat(blocks, count)
        self.tags = {}
        for kind, of, extents in (("blockIdx", at, dims), ("threadIdx", self.thread, threads)):
            inner = 1
            for dim, extent in zip("xyz", extents, strict=True):
                self.tags[f"{kind}.{dim}"] = (of // inner % extent).astype(np.int32)[:, None]
                inner *= extent

    def kernel(self, kernel: Any) -> None:
        for param in kernel.params:
            self.own_tensor(_tensor(param))
        self.run(kernel.body, np.ones(self.threads, bool))
        assert not any(self.groups), "copies that nothing waits for"

    def own_tensor(self, name: str) -> None:
        """Memory that all threads see."""
        if name in self.tensors:
            data = self.tensors[name][None]
            rows = np.zeros(self.threads, np.int64)
            self.memories[name] = Memory(name, data, rows, self.thread)

    def allocate(self, buffer: Any) -> None:
        """An array of each thread or block; or of all, if no kernel before made it."""
        name, scope = str(buffer.name), str(buffer.scope())
        nbytes = _size(buffer)
        rows = self.block if scope.startswith("shared") else np.arange(self.threads)
        data = np.zeros((int(rows[-1]) + 1, nbytes), np.uint8)
        written = np.zeros(data.shape, bool)
        shared = scope.startswith("shared")
        self.memories[name] = Memory(name, data, rows, self.thread, shared, written)

    def run(self, statement: Any, active: np.ndarray) -> None:
        if not active.any():
            return
        getattr(self, f"on_{type(statement).__name__}")(statement, active)

    def on_SeqStmt(self, statement: Any, active: np.ndarray) -> None:
        for each in statement.seq:
            self.run(each, active)

    def on_AttrStmt(self, statement: Any, active: np.ndarray) -> None:
        if statement.attr_key == "thread_extent":
            tag = str(statement.node.thread_tag)
            self.values[statement.node.var] = self.tags[tag]
        self.run(statement.body, active)

    def on_AllocBuffer(self, statement: Any, active: np.ndarray) -> None:
        self.allocate(statement.buffer)

    def on_DeclBuffer(self, statement: Any, active: np.ndarray) -> None:
        data = statement.data
        source = data.args[0] if isinstance(data, tvm.ir.Call) else data
        name, own = str(statement.buffer.name), _tensor(source)
        if own not in self.memories:
            # What an earlier kernel of the function left for this one.
            self.tensors[own] = np.full(_size(statement.buffer), 0xFF, np.uint8)
            self.own_tensor(own)
        self.memories[name] = self.memories[own]

    def on_Bind(self, statement: Any, active: np.ndarray) -> None:
        self.values[statement.var] = self.evaluate(statement.value, active)

    def on_For(self, statement: Any, active: np.ndarray) -> None:
        first = self.evaluate(statement.min, active)
        extent = self.evaluate(statement.extent, active)
        for i in range(int(extent.max())):
            self.values[statement.loop_var] = (first + i).astype(first.dtype)
            self.run(statement.body, active & self.whole(extent > i)[:, 0])

    def on_IfThenElse(self, statement: Any, active: np.ndarray) -> None:
        flag = self.whole(self.evaluate(statement.condition, active))[:, 0]
        self.run(statement.then_case, active & flag)
        if statement.else_case is not None:
            self.run(statement.else_case, active & ~flag)

    def on_BufferStore(self, statement: Any, active: np.ndarray) -> None:
        at = self.whole(self.offset(statement.buffer, statement.indices, active))
        value = self.whole(self.evaluate(statement.value, active))
        memory = self.memories[str(statement.buffer.name)]
        dtype = numpy_dtype(statement.value.ty.dtype)
        for lane in range(at.shape[1]):
            part = np.ascontiguousarray(value[:, lane : lane + 1].astype(dtype))
            memory.store(at[:, lane] * dtype.itemsize, part.view(np.uint8), active)

    def on_Evaluate(self, statement: Any, active: np.ndarray) -> None:
        call = statement.value
        if isinstance(call, tirx.IntImm):
            return
        name = str(call.op.name).split(".", 1)[1]
        if name == "tvm_storage_sync":
            self.barrier(active)
            return
        assert name == "cuda.func_call", call
        function, *args, _source = call.args
        self.device_function(str(function.value).removeprefix("tvmcomp_"), args, active)

    def barrier(self, active: np.ndarray) -> None:
        """``__syncthreads``."""
        if not active.all():
            raise Race("a barrier that not all threads of a block reach")
        for memory in set(map(id, self.memories.values())):
            found = next(m for m in self.memories.values() if id(m) == memory)
            found.barrier()

    def device_function(self, name: str, args: list[Any], active: np.ndarray) -> None:
        """One of :mod:`tvmcomp.schedules.cuda.instructions`."""
        if name.startswith("copy_async_"):
            self.copy(int(name.rsplit("_", 1)[1]), args, active)
        elif name == "end_group":
            self.groups.append([])
        elif name.startswith("wait_groups_"):
            complete = len(self.groups) - 1 - int(name.rsplit("_", 1)[1])
            for _ in range(max(0, complete)):
                for memory, begun in self.groups.pop(0):
                    memory.end_copy(begun)
        elif name.startswith(("put_", "take_")):
            width = int(name.rsplit("_", 1)[1])
            to, first = self.place(args[0], args[1], active), self.place(args[2], args[3], active)
            shared = to if name.startswith("put_") else first
            assert not (shared[1][active] % width).any(), f"{name}: not aligned"
            to[0].store(to[1], first[0].load(first[1], width, active), active)
        elif name.startswith("exchange_"):
            self.whole_warps(active)
            nbytes, distance = (int(n) for n in name.split("_")[1:])
            zero = np.zeros(self.threads, np.int64)
            (received, values) = (self.memories[str(arg.args[0].name)] for arg in args)
            partner = np.arange(self.threads) ^ distance
            received.store(zero, values.load(zero, nbytes, active)[partner], active)
        elif name.startswith("load_matrices"):
            self.whole_warps(active)
            to, first = (
                self.place(args[0], args[1], active, 4),
                self.place(args[2], args[3], active),
            )
            assert not (first[1] % 16).any(), f"{name}: not aligned"
            rows = first[0].load(first[1], 16, active)
            to[0].store(to[1], matrices(rows, name.endswith("transposed")), active)
        elif name.startswith("multiply_"):
            self.whole_warps(active)
            _, first, second = name.split("_")
            (sums, at), (left, of_left), (right, of_right) = (
                self.place(args[i], args[i + 1], active, 4) for i in (0, 2, 4)
            )
            dtype = np.int32 if first in ("s8", "u8") else np.float32
            before = sums.load(at, 16, active).view(dtype)
            factors = left.load(of_left, 16, active), right.load(of_right, 8, active)
            after = multiplied(*factors, before, first, second)
            sums.store(at, after.astype(dtype).view(np.uint8), active)
        else:
            raise NotImplementedError(name)

    def whole_warps(self, active: np.ndarray) -> None:
        assert active.all() and active.size % WARP == 0, "an instruction of whole warps"

    def place(
        self, data: Any, offset: Any, active: np.ndarray, unit: int = 1
    ) -> tuple[Memory, np.ndarray]:
        """The memory behind a pointer, and the byte at ``offset`` of ``unit`` bytes each."""
        buffer = data.args[0] if isinstance(data, tvm.ir.Call) else data
        at = self.whole(self.evaluate(offset, active))[:, 0].astype(np.int64)
        return self.memories[str(buffer.name)], at * unit

    def copy(self, width: int, args: list[Any], active: np.ndarray) -> None:
        """``cp.async``: nothing is read where no bytes are asked for."""
        to, at = self.place(args[0], args[1], active)
        data, first = self.place(args[2], args[3], active)
        nbytes = self.whole(self.evaluate(args[4], active))[:, 0]
        read = active & (nbytes > 0)
        assert not (at[active] % width).any() and not (first[read] % width).any(), "not aligned"
        assert np.isin(nbytes[active], (0, width)).all(), nbytes
        self.groups[-1].append((to, to.begin_copy(at, data.load(first, width, read), active)))
