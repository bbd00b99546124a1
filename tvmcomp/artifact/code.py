"""A network's code before it was linked, as an artifact keeps it: what `tvmcomp export` links anew.

It is a ``.tar.xz`` of ``kernels.o`` and ``driver.c``, so that ``tar`` shows it, too.
"""

from __future__ import annotations

import msgspec

from tvmcomp.errors import ArtifactError

_KERNELS, _DRIVER = "kernels.o", "driver.c"
#: What no network's code comes near, in bytes.
_MOST = 1 << 30
#: What an unpacker may need of memory, in bytes: that of xz -9.
_MOST_DICTIONARY = 1 << 26


class Code(msgspec.Struct, frozen=True):
    """What a compiler of C makes a network of, with the runtime that ships.

    Attributes:
        kernels: an object file of the target.
        driver: C source; it includes ``tvmcomp.h``.
    """

    kernels: bytes
    driver: str


def pack_code(code: Code) -> bytes:
    """As a file has it; the same for the same code."""
    import io
    import lzma
    import tarfile

    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in ((_KERNELS, code.kernels), (_DRIVER, code.driver.encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    data = plain.getvalue()
    # A dictionary of the data's size finds as much, and is most of the time of a small file.
    dictionary = min(max(4096, len(data)), _MOST_DICTIONARY)
    coder = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary}
    return lzma.compress(data, format=lzma.FORMAT_XZ, filters=[coder])


def unpack_code(packed: bytes, where: str) -> Code:
    """What :func:`pack_code` packed.

    Args:
        packed: its bytes.
        where: names the file in errors.

    Raises:
        ArtifactError: it is something else.
    """
    import io
    import lzma
    import tarfile

    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        plain = decoder.decompress(packed, _MOST)
        if not decoder.eof:
            raise EOFError("it is cut off")
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            # A link or a sparse file could say that it is something else, or of any size.
            members = {
                info.name: archive.extractfile(info)
                for info in archive
                if info.isreg() and not info.issparse()
            }
        kernels, driver = members.get(_KERNELS), members.get(_DRIVER)
        if kernels is None or driver is None:
            raise ValueError(f"it has not both {_KERNELS} and {_DRIVER}")
        return Code(kernels.read(), driver.read().decode())
    except (lzma.LZMAError, tarfile.TarError, ValueError, EOFError) as error:
        raise ArtifactError(f"its code can't be unpacked: {error}", where=where) from None
