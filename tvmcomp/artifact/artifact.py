"""The ``.tvmc`` file: what is in an artifact, how it is written, how it is checked when read.

An artifact is a zip of stored (uncompressed) members, so ``unzip -l`` shows it:

- ``metadata.json``: :class:`Metadata`;
- ``lib.so``: the Relax VM executable as a shared library;
- ``constants.bin``: the packed weights, used where they lie in the memory that the file is read to
  or, of few bits, coded (:mod:`tvmcomp.artifact.constants`);
- ``golden.npz``: inputs and the outputs they must give (optional).

The zip's comment is ``sha256:<hex>`` over every byte before it: any changed byte is found before
anything is interpreted, and long before native code is loaded.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import msgspec
import numpy as np

from tvmcomp import arguments
from tvmcomp.artifact.archive import read_archive, write_archive
from tvmcomp.artifact.constants import Coding, ConstantSpec, pack, stored_nbytes, unpack
from tvmcomp.artifact.reference import Reference, canonical, decode_reference, encode_reference
from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import ArtifactError
from tvmcomp.model import Operator, Precision, Signature, State
from tvmcomp.old_names import note_old_name
from tvmcomp.targets.description import TargetDescription

#: Raised by one whenever a reader of the old version would misread a file of the new one, or call
#: it damaged. A file says the lowest that reads it.
FORMAT_VERSION = 5
_WITHOUT_BOOKS, _WITHOUT_CODING = 4, 3


class Metadata(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """Everything that is known of an artifact without loading it.

    Attributes:
        format: version of the file format.
        tvmcomp, tvm: versions of the compiler that made it.
        created: UTC, ISO 8601.
        target: the device it was built for.
        signature: inputs and outputs.
        source: path of the model file it was built from.
        source_digest: SHA-256 of that file.
        quant: the precision that was asked for.
        calibration: how it was calibrated; empty where nothing was.
        operators: what was decided for each operator.
        constants: the arrays of ``constants.bin``, in the order of ``main``'s parameters.
        digests: SHA-256 of each other member.
        notes: what the build wants a person to know.
        unaligned_inputs: the kernels read an input at any address that suits its elements; else
            at a multiple of 64.
        states: inputs that keep their value from run to run.
        coding: which constants are coded in the file, and how.
    """

    format: int
    tvmcomp: str
    tvm: str
    created: str
    target: TargetDescription
    signature: Signature
    source: str
    source_digest: str
    quant: Precision
    calibration: dict[str, Any]
    operators: tuple[Operator, ...]
    constants: tuple[ConstantSpec, ...]
    digests: dict[str, str]
    notes: tuple[str, ...]
    unaligned_inputs: bool = False
    states: tuple[State, ...] = ()
    coding: Coding | None = None


class _FormatOnly(msgspec.Struct):
    """The one field that every version of the metadata has."""

    format: int
    tvmcomp: str = "unknown"


@dataclass(frozen=True)
class Artifact:
    """A compiled network: see the module's docstring for its file.

    Attributes:
        metadata: what it is.
        library: the shared library's bytes.
        constants: the weights, in the order of ``metadata.constants``.
        reference: inputs and the outputs that they must give, or None.
    """

    metadata: Metadata
    library: bytes
    constants: Sequence[np.ndarray]
    reference: Reference | None = None

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
        constants: Mapping[str, np.ndarray],
        target: TargetDescription,
        signature: Signature,
        source: str,
        source_digest: str,
        quant: Precision = "none",
        calibration: Mapping[str, Any] | None = None,
        operators: Sequence[Operator] = (),
        reference: Reference | None = None,
        notes: Sequence[str] = (),
        unaligned_inputs: bool = False,
        states: Sequence[State] = (),
    ) -> Artifact:
        """Put an artifact together in memory.

        Args:
            library: the bytes of the exported shared library.
            constants: the weights by name, in the order of ``main``'s parameters.
            calibration: values that JSON can hold.
            reference: arrays as ``signature`` says, of any memory layout and byte order.

        The other arguments are the fields of :class:`Metadata`.

        Raises:
            ArtifactError: ``signature`` names two inputs or two outputs alike, or ``reference`` is
                not as it says.
        """
        from importlib.metadata import version  # not above: reading needs none of it

        _check_names(signature, source)
        arrays = tuple(
            array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
            for array in constants.values()
        )
        if reference is not None:
            reference = canonical(reference, signature)
        packed = pack(tuple(constants), arrays)
        members = _with_bytes(library, packed.data, reference, signature)
        metadata = Metadata(
            format=_least_format(packed.coding),
            tvmcomp=version("tvmcomp"),
            tvm=version("apache-tvm"),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            target=target,
            signature=signature,
            source=source,
            source_digest=source_digest,
            quant=quant,
            calibration=dict(calibration or {}),
            operators=tuple(operators),
            constants=packed.specs,
            digests=_digests(members),
            notes=tuple(notes),
            unaligned_inputs=unaligned_inputs,
            states=tuple(states),
            coding=packed.coding,
        )
        return cls(metadata, library, arrays, reference)

    @property
    def constants_nbytes(self) -> int:
        """Bytes that the weights take in memory."""
        return sum(spec.nbytes for spec in self.metadata.constants)

    @property
    def constants_nbytes_in_file(self) -> int:
        """Bytes that the weights take in the file."""
        return stored_nbytes(self.metadata.constants, self.metadata.coding)

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
        names = [spec.name for spec in self.metadata.constants]
        packed = pack(names, self.constants)
        others = _with_bytes(self.library, packed.data, self.reference, self.metadata.signature)
        # Another zlib codes the same constants into other bytes.
        metadata = msgspec.structs.replace(
            self.metadata,
            format=_least_format(packed.coding),
            constants=packed.specs,
            coding=packed.coding,
            digests=_digests(others),
        )
        return {"metadata.json": _encode_metadata(metadata), **others}

    @classmethod
    def _from_members(cls, members: Mapping[str, np.ndarray], where: str) -> Artifact:
        metadata = _decode_metadata(members["metadata.json"].tobytes(), where)
        _check_digests(metadata, members, where)
        data = members["constants.bin"]
        arrays = unpack(metadata.constants, metadata.coding, data, where)
        reference = None
        if "golden.npz" in members:
            reference = decode_reference(
                members["golden.npz"].tobytes(), metadata.signature, where=where
            )
        return cls(metadata, members["lib.so"].tobytes(), arrays, reference)


def _with_bytes(
    library: bytes, constants: bytes, reference: Reference | None, signature: Signature
) -> dict[str, bytes]:
    """The members beside the metadata."""
    members = {"lib.so": library, "constants.bin": constants}
    if reference is not None:
        members["golden.npz"] = encode_reference(reference, signature)
    return members


def _digests(members: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}


def _encode_metadata(metadata: Metadata) -> bytes:
    """As short as JSON is: in a small network's file it would take more than the weights."""
    document = msgspec.to_builtins(metadata)
    # Their defaults.
    document["operators"] = [
        {key: value for key, value in operator.items() if value is not None and value is not False}
        for operator in document["operators"]
    ]
    return msgspec.json.encode(document)


def _decode_metadata(data: bytes, where: str) -> Metadata:
    try:
        found = msgspec.json.decode(data, type=_FormatOnly)
        if found.format > FORMAT_VERSION:
            raise ArtifactError(
                f"has format version {found.format} (made by tvmcomp {found.tvmcomp}); "
                f"this tvmcomp reads up to version {FORMAT_VERSION}",
                where=where,
                hint="Upgrade tvmcomp, or build the artifact again with this version.",
            )
        metadata = msgspec.json.decode(data, type=Metadata)
        _check_names(metadata.signature, where)
        _check_states(metadata, where)
        return metadata
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"its metadata is not valid: {error}", where=where) from None


def _least_format(coding: Coding | None) -> int:
    """The lowest format version that reads constants coded so."""
    if coding is None:
        return _WITHOUT_CODING
    newer = any(group.entries or group.differences for group in coding.groups)
    return FORMAT_VERSION if newer else _WITHOUT_BOOKS


def _check_names(signature: Signature, where: str) -> None:
    """Raise ArtifactError where two inputs or two outputs share a name, or one has no characters
    that a file can hold.
    """
    for kind, specs in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        names = sorted(spec.name for spec in specs)
        twice = [name for name, other in itertools.pairwise(names) if name == other]
        if twice:
            raise ArtifactError(f"two {kind} have the name {twice[0]!r}", where=where)
        for name in names:
            try:
                name.encode()
            except UnicodeEncodeError:
                raise ArtifactError(f"{name!r} of the {kind} is no text", where=where) from None


def _check_states(metadata: Metadata, where: str) -> None:
    """Raise ArtifactError where a state is not an input and an output of one type, and a value of
    it."""
    inputs = {spec.name: spec for spec in metadata.signature.inputs}
    outputs = {spec.name: spec for spec in metadata.signature.outputs}
    for state in metadata.states:
        spec, source = inputs.pop(state.input, None), outputs.get(state.output)
        if (
            spec is None
            or source is None
            or (spec.shape, spec.dtype) != (source.shape, source.dtype)
        ):
            raise ArtifactError(f"{state.input!r} is no state of the network", where=where)
        if math.prod(spec.shape) * numpy_dtype(spec.dtype).itemsize != len(state.start):
            raise ArtifactError(f"state {state.input!r} starts as something else", where=where)


def _check_digests(metadata: Metadata, members: Mapping[str, np.ndarray], where: str) -> None:
    held = set(members) - {"metadata.json"}
    if held != set(metadata.digests):
        raise ArtifactError(
            f"holds {sorted(held)}, but its metadata lists {sorted(metadata.digests)}", where=where
        )
    for name in sorted(held):
        if hashlib.sha256(members[name].data).hexdigest() != metadata.digests[name]:
            raise ArtifactError(f"{name} is not the one that its metadata describes", where=where)
