"""The ``.tvmc`` file: what is in an artifact, how it is written, how it is checked when read.

An artifact is a zip, so ``unzip -l`` shows it; all but the weights is deflated where that gains:

- ``metadata.json``: :class:`Metadata`;
- ``lib.so``: the network as a shared library: with a C interface (``tvmcomp.h``) for a CPU, an
  executable of TVM's virtual machine for a GPU;
- ``code.tar.xz``: what that library was linked from, for a CPU (:mod:`tvmcomp.artifact.code`);
- ``constants.bin``: the packed weights, used where they lie in the memory that the file is read to
  or, with `--small`, coded (:mod:`tvmcomp.artifact.constants`);
- ``golden.npz``: inputs and the outputs they must give (optional).

The zip's comment is ``sha256:<hex>`` over every byte before it: any changed byte is found before
anything is interpreted, and long before native code is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from typing import Any

import msgspec
import numpy as np

from tvmcomp import arguments
from tvmcomp.artifact.archive import read_archive, write_archive
from tvmcomp.artifact.code import Code, pack_code, unpack_code
from tvmcomp.artifact.constants import Constants, pack, plain, small, specs_of, unpack
from tvmcomp.artifact.digests import check_digests, digests_of
from tvmcomp.artifact.metadata import (
    FORMAT_VERSION,
    Metadata,
    check_names,
    decode_metadata,
    encode_metadata,
)
from tvmcomp.artifact.reference import Reference, canonical, decode_reference, encode_reference
from tvmcomp.errors import ArtifactError
from tvmcomp.model import KernelWork, Operator, Precision, Signature, State
from tvmcomp.old_names import note_old_name
from tvmcomp.targets.description import TargetDescription


class Artifact(msgspec.Struct, frozen=True, eq=False):
    """A compiled network: see the module's docstring for its file.

    Attributes:
        metadata: what it is.
        library: the shared library's bytes.
        constants: the weights, in the order of ``metadata.constants``; None: it is coded.
        reference: inputs and the outputs that they must give, or None.
        packed_code: ``code.tar.xz``, empty where there is none: see :attr:`code`.
        coded: the coded weights, which the library decodes; uint8, empty where none is.
    """

    metadata: Metadata
    library: bytes
    constants: Sequence[np.ndarray | None]
    reference: Reference | None = None
    packed_code: bytes = b""
    coded: np.ndarray = msgspec.field(default_factory=lambda: np.empty(0, np.uint8))

    @property
    def code(self) -> Code | None:
        """What the library was linked from; None for a GPU.

        Raises:
            ArtifactError: it can't be unpacked.
        """
        return unpack_code(self.packed_code, self.metadata.source) if self.packed_code else None

    @property
    def golden(self) -> Reference | None:
        """What ``reference`` was called."""
        note_old_name("Artifact.golden", "Artifact.reference")
        return self.reference

    @classmethod
    def create(
        cls,
        *,
        library: bytes,
        code: Code | None = None,
        constants: Mapping[str, np.ndarray],
        target: TargetDescription,
        signature: Signature,
        source: str,
        source_digest: str,
        quant: Precision = "none",
        calibration: Mapping[str, Any] | None = None,
        operators: Sequence[Operator] = (),
        kernels: Sequence[KernelWork] = (),
        reference: Reference | None = None,
        notes: Sequence[str] = (),
        unaligned_inputs: bool = False,
        states: Sequence[State] = (),
        variants: Sequence[Signature] = (),
    ) -> Artifact:
        """Put an artifact together in memory.

        Args:
            library: the bytes of the shared library.
            code: what that was linked from, for a CPU.
            constants: the weights by name, in the order in which the library takes them.
            calibration: values that JSON can hold.
            reference: arrays as ``signature`` says, of any memory layout and byte order.

        The other arguments are the fields of :class:`Metadata`.

        Raises:
            ArtifactError: ``signature`` names two inputs or two outputs alike, or ``reference`` is
                not as it says.
        """
        check_names(signature, source)
        arrays = tuple(
            array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
            for array in constants.values()
        )
        if reference is not None:
            reference = canonical(reference, signature)
        weights = plain(arrays)
        packed_code = b"" if code is None else pack_code(code)
        members = _with_bytes(library, packed_code, pack(weights), reference, signature)
        metadata = Metadata(
            format=FORMAT_VERSION,
            tvmcomp=_version("tvmcomp"),
            tvm=_version("apache-tvm"),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            target=target,
            signature=signature,
            source=source,
            source_digest=source_digest,
            quant=quant,
            calibration=dict(calibration or {}),
            operators=tuple(operators),
            kernels=tuple(kernels),
            constants=specs_of(tuple(constants), arrays, weights),
            digests=digests_of(members),
            notes=tuple(notes),
            unaligned_inputs=unaligned_inputs,
            states=tuple(states),
            variants=tuple(variants),
        )
        return cls(metadata, library, arrays, reference, packed_code)

    def completed(self, reference: Reference | None, notes: Sequence[str]) -> Artifact:
        """The same with what only its own run gives.

        Args:
            reference: as for :meth:`create`.
            notes: all there are, those of before among them.
        """
        digests = dict(self.metadata.digests)
        if reference is not None:
            reference = canonical(reference, self.metadata.signature)
            data = encode_reference(reference, self.metadata.signature)
            digests |= digests_of({"golden.npz": data})
        metadata = msgspec.structs.replace(self.metadata, notes=tuple(notes), digests=digests)
        return msgspec.structs.replace(self, metadata=metadata, reference=reference)

    def small(self) -> Artifact:
        """The same with its weights coded, where that makes them smaller. They are decoded when a
        session first needs them, and then take memory of their own.

        Raises:
            ArtifactError: they are coded already, or the library, a GPU's, can't decode them.
        """
        if self.metadata.target.family == "cuda":
            raise ArtifactError(
                f"the weights can't be coded: {self.metadata.target.name} has no decoder",
                where=self.metadata.source,
                hint="Leave --small (small=True) out for a GPU.",
            )
        arrays = self.plain_constants
        weights = small(arrays)
        names = [spec.name for spec in self.metadata.constants]
        metadata = msgspec.structs.replace(
            self.metadata,
            constants=specs_of(names, arrays, weights),
            digests={**self.metadata.digests, **digests_of({"constants.bin": pack(weights)})},
        )
        return msgspec.structs.replace(
            self, metadata=metadata, constants=weights.arrays, coded=weights.coded
        )

    @property
    def plain_constants(self) -> Sequence[np.ndarray]:
        """The weights, where none is coded.

        Raises:
            ArtifactError: one is, and only the library can read it.
        """
        plain = [array for array in self.constants if array is not None]
        if len(plain) != len(self.constants):
            raise ArtifactError(
                "its weights are coded: its library reads them on a CPU, nothing else does",
                where=self.metadata.source,
                hint="Build it without --small.",
            )
        return plain

    def made_by(self, command: Sequence[str]) -> Artifact:
        """The same artifact, whose metadata says which command line built it."""
        metadata = msgspec.structs.replace(self.metadata, command=tuple(command))
        return msgspec.structs.replace(self, metadata=metadata)

    @property
    def constants_nbytes(self) -> int:
        """Bytes that the weights take in memory."""
        return sum(spec.nbytes for spec in self.metadata.constants)

    @property
    def constants_nbytes_in_file(self) -> int:
        """Bytes that the weights take in the file."""
        plain = sum(array.nbytes for array in self.constants if array is not None)
        return plain + self.coded.nbytes

    def save(self, path: str | bytes | os.PathLike[str]) -> None:
        """Write the file and read it back; a reader never sees it half written.

        Raises:
            ArtifactError: the file can't be written.
            ConfigError: ``path`` is no path.
        """
        write_archive(arguments.path(path, "the artifact's path"), self._members())

    def read_back(self) -> Artifact:
        """What :meth:`load` makes of the file that :meth:`save` writes.

        Raises:
            ArtifactError: it can't be read.
        """
        members = self._members()
        arrays = {name: np.frombuffer(data, np.uint8) for name, data in members.items()}
        return self._from_members(arrays, "the artifact that was built")

    @classmethod
    def load(cls, path: str | bytes | os.PathLike[str]) -> Artifact:
        """Read and verify a file. No later change of the file changes what was loaded.

        Raises:
            ArtifactError: the file is missing, not an artifact, truncated, changed, of a newer
                format, or contradicts itself.
            ConfigError: ``path`` is no path.
        """
        place = arguments.path(path, "the artifact's path")
        return cls._from_members(read_archive(place), str(place))

    def _members(self) -> dict[str, bytes]:
        others = _with_bytes(
            self.library,
            self.packed_code,
            pack(Constants(tuple(self.constants), self.coded)),
            self.reference,
            self.metadata.signature,
        )
        metadata = msgspec.structs.replace(self.metadata, digests=digests_of(others))
        return {"metadata.json": encode_metadata(metadata), **others}

    @classmethod
    def _from_members(cls, members: Mapping[str, np.ndarray], where: str) -> Artifact:
        metadata = decode_metadata(members["metadata.json"].tobytes(), where)
        check_digests(metadata, members, where)
        weights = unpack(metadata.constants, members["constants.bin"], where)
        reference = None
        if "golden.npz" in members:
            reference = decode_reference(
                members["golden.npz"].tobytes(), metadata.signature, where=where
            )
        code = members["code.tar.xz"].tobytes() if "code.tar.xz" in members else b""
        library = members["lib.so"].tobytes()
        return cls(metadata, library, weights.arrays, reference, code, weights.coded)


def _with_bytes(
    library: bytes, code: bytes, constants: bytes, reference: Reference | None, signature: Signature
) -> dict[str, bytes]:
    """The members beside the metadata."""
    members = {"lib.so": library}
    if code:
        members["code.tar.xz"] = code
    members["constants.bin"] = constants
    if reference is not None:
        members["golden.npz"] = encode_reference(reference, signature)
    return members


@cache
def _version(package: str) -> str:
    from importlib.metadata import version  # not above: reading needs none of it

    return version(package)
