"""Kernels of a GPU as a library carries them: machine code of one architecture, PTX of later ones.

TVM keeps a GPU's code as text, so this is a line of text: a mark, then JSON.
"""

from __future__ import annotations

import zlib

import msgspec

from tvmcomp.errors import ArtifactError
from tvmcomp.targets.compatible import runs_machine_code

#: What the text begins with: a comment, should it ever come to a compiler.
MARK = "// tvmcomp: compiled kernels: "
#: No network's kernels are near it: what a damaged file says it holds is not allocated.
_MOST_BYTES = 1 << 30


class GpuCode(msgspec.Struct, frozen=True):
    """Compiled kernels.

    Attributes:
        arch: the architecture of ``cubin`` (``sm_90``).
        cubin: its machine code.
        ptx: what the driver of a later GPU makes its own machine code of; b"" where a kernel uses
            what only that architecture has.
    """

    arch: str
    cubin: bytes
    ptx: bytes = b""

    def to_text(self) -> str:
        """For :meth:`from_text`."""
        packed = msgspec.structs.replace(self, cubin=_pack(self.cubin), ptx=_pack(self.ptx))
        return MARK + msgspec.json.encode(packed).decode()

    @classmethod
    def from_text(cls, text: str) -> GpuCode:
        """Of :meth:`to_text`.

        Raises:
            ArtifactError: it is not such a text.
        """
        try:
            packed = msgspec.json.decode(text.removeprefix(MARK), type=cls)
            return msgspec.structs.replace(
                packed, cubin=_unpack(packed.cubin), ptx=_unpack(packed.ptx)
            )
        except (msgspec.DecodeError, ValueError, zlib.error) as error:
            raise ArtifactError(f"its GPU code is damaged: {error}") from None

    def for_gpu(self, arch: str) -> bytes:
        """What a GPU of architecture ``arch`` loads: the machine code, or the PTX."""
        return self.cubin if runs_machine_code(self.arch, arch) or not self.ptx else self.ptx


def _pack(code: bytes) -> bytes:
    return zlib.compress(code, 6)


def _unpack(packed: bytes) -> bytes:
    inflate = zlib.decompressobj()
    code = inflate.decompress(packed, _MOST_BYTES)
    if not inflate.eof:
        raise ValueError("it is cut off")
    return code
