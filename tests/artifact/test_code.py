"""What a library was linked from, packed and unpacked; what is something else is an error."""

from __future__ import annotations

import io
import lzma
import tarfile

import pytest

from tvmcomp.artifact.code import Code, pack_code, unpack_code
from tvmcomp.errors import ArtifactError

CODE = Code(bytes(range(256)) * 9, "/* ö */ int run(void);\n")


def packed(*members: tarfile.TarInfo) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for info in members:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return lzma.compress(plain.getvalue())


def member(
    name: str, kind: bytes = tarfile.REGTYPE, size: int = 1, **fields: str
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    info.linkname = fields.get("linkname", "")
    return info


def test_what_is_packed_comes_back() -> None:
    assert unpack_code(pack_code(CODE), "net.tvmc") == CODE
    assert pack_code(CODE) == pack_code(CODE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no archive",
        pack_code(CODE)[:-9],
        lzma.compress(b"no tar" * 200),
        packed(member("kernels.o")),
        packed(member("kernels.o"), member("driver.c", tarfile.DIRTYPE, 0)),
        packed(member("kernels.o"), member("driver.c", tarfile.SYMTYPE, 0, linkname="/etc/passwd")),
        packed(member("kernels.o"), member("driver.c", tarfile.LNKTYPE, 0, linkname="kernels.o")),
    ],
    ids=["empty", "text", "cut", "no tar", "one of two", "a folder", "a link", "a hard link"],
)
def test_what_is_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError, match="code can't be unpacked"):
        unpack_code(data, "net.tvmc")
