"""A caller's buffers may lie at any address that suits their elements; the results are the same."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tvmcomp.artifact.artifact import Artifact

OK, BAD_ARGUMENT = 0, 2
GUARD = 0xA5


class Shared:
    """The exported shared library of the network with two outputs, through ctypes."""

    def __init__(self, folder: Path) -> None:
        self.library = ctypes.CDLL(str(folder / "lib" / "libmobile_net.so"))
        self.context = ctypes.c_void_p()
        assert self.library.mobile_net_create(None, ctypes.byref(self.context)) == OK

    def run(self, image: np.ndarray, offset: int, sizes: list[int]) -> tuple[int, list[bytes]]:
        """The status and the outputs, with every buffer ``offset`` bytes from a multiple of 64."""
        inputs = [place(image.nbytes, offset)]
        inputs[0][:] = np.frombuffer(image.tobytes(), np.uint8)
        outputs = [place(size + 64, offset) for size in sizes]
        pointers = ctypes.c_void_p * 2
        status = self.library.mobile_net_run(
            self.context,
            pointers(*(array.ctypes.data for array in inputs)),
            pointers(*(array.ctypes.data for array in outputs)),
        )
        for array, size in zip(outputs, sizes, strict=True):
            assert (array[size:] == GUARD).all()  # nothing is written behind an output
        assert inputs[0].tobytes() == image.tobytes()
        return status, [array[:size].tobytes() for array, size in zip(outputs, sizes, strict=True)]

    def close(self) -> None:
        self.library.mobile_net_destroy(self.context)


def place(size: int, offset: int) -> np.ndarray:
    memory = np.full(size + 128, GUARD, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    return memory[start : start + size]


def test_buffers_at_any_address(exported: Callable[[str], Path], artifact: Artifact) -> None:
    assert artifact.reference is not None
    image = artifact.reference.inputs["image"]
    sizes = [array.nbytes for array in artifact.reference.outputs.values()]
    network = Shared(exported("shared"))
    try:
        status, wanted = network.run(image, 0, sizes)
        assert status == OK
        for output, array in zip(wanted, artifact.reference.outputs.values(), strict=True):
            given = np.frombuffer(output, "float32").reshape(array.shape)
            np.testing.assert_allclose(given, array, rtol=1e-4, atol=1e-5)
        for offset in (4, 8, 16, 32, 60):
            assert network.run(image, offset, sizes) == (OK, wanted)
        if artifact.metadata.unaligned_inputs:  # the kernels read inputs where they lie
            assert network.run(image, 2, sizes)[0] == BAD_ARGUMENT
        assert network.run(image, 0, sizes) == (OK, wanted)
    finally:
        network.close()


@pytest.mark.parametrize("missing", ["inputs", "outputs", "context"])
def test_a_null_pointer_is_an_error(exported: Callable[[str], Path], missing: str) -> None:
    network = Shared(exported("shared"))
    pointers = ctypes.c_void_p * 2
    memory = place(1 << 16, 0).ctypes.data
    filled = pointers(memory, memory + (1 << 15))
    arguments = {"context": network.context, "inputs": filled, "outputs": filled}
    arguments[missing] = None if missing == "context" else pointers()
    assert network.library.mobile_net_run(*arguments.values()) == BAD_ARGUMENT
    network.close()
