"""A network's program on a board, served over its standard input and output.

``cruntime/program/serve.c`` is the other side, and says what it is asked and what it answers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np

from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import DeviceError
from tvmcomp.model import Signature
from tvmcomp.runtime.inputs import check_inputs
from tvmcomp.runtime.remote.shell.running import Running
from tvmcomp.runtime.threads import Threads

_ANSWER = re.compile(r"ok (\d{1,15})|error (.*)", re.DOTALL)
#: Bytes of the names of all kernels, and of the calls of one run.
_MOST_NAMES, _MOST_CALLS = 1 << 24, 1 << 26
#: ``tvmcomp_call`` of tvmcomp.h, which lies so on every CPU that code is made for.
_CALL = np.dtype({"names": ["kernel", "seconds"], "formats": ["<i4", "<f8"], "offsets": [0, 8],
                  "itemsize": 16})  # fmt: skip


class ShellProgram:
    """The :class:`~tvmcomp.runtime.program.Program` of a board with a shell.

    Args:
        where: the board, for messages.
        signature: of the network.
        running: its program, just started.
        threads: that it was told to use.
        remove: removes its file.

    Attributes:
        is_open: it has not been closed.

    Raises:
        DeviceError: the board can't run it.
    """

    def __init__(
        self,
        where: str,
        signature: Signature,
        running: Running,
        threads: Threads,
        remove: Callable[[], None],
    ) -> None:
        self.threads = threads
        self.is_open = True
        self._where = where
        self._signature = signature
        self._running = running
        self._remove = remove
        self._kernels: list[str] | None = None
        self._sizes = [_bytes(spec.shape, spec.dtype) for spec in signature.outputs]
        self._answer("starting it", 0)

    def bind(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Check ``inputs`` and copy them there."""
        doing = "sending the inputs"
        self._running.send(self._inputs(inputs), doing)
        self._answer(doing, 0)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Copy ``inputs`` there, run once, copy the outputs back."""
        doing = "running"
        self._running.send(self._inputs(inputs) + b"run\n", doing)
        self._answer(doing, 0)
        data, at = memoryview(self._answer(doing, sum(self._sizes))), 0
        outputs = {}
        for spec, size in zip(self._signature.outputs, self._sizes, strict=True):
            array = np.frombuffer(data[at : at + size], numpy_dtype(spec.dtype))
            outputs[spec.name] = array.reshape(spec.shape).copy()
            at += size
        return outputs

    def time(self, runs: int) -> list[float]:
        """Seconds of each of ``runs`` runs, measured there."""
        doing = f"timing {runs} runs"
        seconds = np.frombuffer(self._ask(f"time {runs}", doing, 8 * runs), "<f8")
        return self._checked(seconds, doing)

    def profile(self, runs: int) -> dict[str, list[float]]:
        """Seconds of each call of each kernel, measured there."""
        doing = "profiling"
        if self._kernels is None:
            names = self._ask("kernels", doing, None, _MOST_NAMES)
            self._kernels = names.decode(errors="replace").split("\0")[:-1]
        found: dict[str, list[float]] = defaultdict(list)
        for _ in range(runs):
            data = self._ask("profile", doing, None, _MOST_CALLS)
            if len(data) % _CALL.itemsize:
                raise self._strange(doing)
            calls = np.frombuffer(data, _CALL)
            seconds = self._checked(calls["seconds"], doing)
            for kernel, each in zip(calls["kernel"].tolist(), seconds, strict=True):
                if not 0 <= kernel < len(self._kernels):
                    raise self._strange(doing)
                found[self._kernels[kernel]].append(each)
        return dict(found)

    def peak_memory(self) -> int:
        """Of its process, in bytes."""
        return int.from_bytes(self._ask("memory", "asking for its memory", 8), "little")

    def close(self) -> None:
        """End it there, and remove its file."""
        self.is_open = False
        self._running.kill()
        self._remove()

    def _inputs(self, inputs: Mapping[str, np.ndarray]) -> bytes:
        arrays = check_inputs(inputs, self._signature.inputs)
        return b"".join([b"inputs\n", *(array.tobytes() for array in arrays)])

    def _ask(self, request: str, doing: str, size: int | None, most: int = 0) -> bytes:
        self._running.send(f"{request}\n".encode(), doing)
        return self._answer(doing, size, most)

    def _answer(self, doing: str, size: int | None, most: int = 0) -> bytes:
        """The bytes of an answer: ``size``, or up to ``most`` where that is None."""
        line = self._running.line(doing)
        found = _ANSWER.fullmatch(line)
        if found is None:
            raise self._strange(doing)
        if found[2] is not None:
            raise DeviceError(f"failed while {doing}: {found[2][:300]}", where=self._where)
        given = int(found[1])
        if given != size if size is not None else given > most:
            raise self._strange(doing)
        return self._running.take(given, doing)

    def _checked(self, seconds: np.ndarray, doing: str) -> list[float]:
        if not np.all(np.isfinite(seconds) & (seconds >= 0)):
            raise self._strange(doing)
        return [float(each) for each in seconds]

    def _strange(self, doing: str) -> DeviceError:
        self._running.kill()
        return DeviceError(
            f"answered what its program does not answer, {doing}",
            where=self._where,
            hint="Does a login script there, or the command of --runner, print something?",
        )


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    return int(np.prod(shape, dtype=np.int64)) * numpy_dtype(dtype).itemsize
