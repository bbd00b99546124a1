"""``metadata.json``: everything that is known of an artifact without loading it."""

from __future__ import annotations

import itertools
import math
from typing import Any

import msgspec

from tvmcomp.artifact.constants import ConstantSpec
from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import ArtifactError
from tvmcomp.model import KernelWork, Operator, Precision, Signature, State
from tvmcomp.targets.description import TargetDescription

#: Raised by one whenever a reader of the old version would misread a file of the new one, or call
#: it damaged.
FORMAT_VERSION = 7


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
        kernels: what computes them.
        command: the command line that built it; empty where Python did.
        constants: what is in ``constants.bin``, in the order in which the library takes it.
        digests: SHA-256 of each other member.
        notes: what the build wants a person to know.
        unaligned_inputs: the kernels read an input at any address that suits its elements; else
            at a multiple of 64.
        states: inputs that keep their value from run to run.
        variants: inputs and outputs for the network's other shapes, in the order of the library's;
            they differ from ``signature`` in shapes alone.
    """

    format: int
    tvmcomp: str
    tvm: str
    created: str
    target: TargetDescription
    signature: Signature
    source: str
    source_digest: str
    quant: Precision = "none"
    calibration: dict[str, Any] = {}
    operators: tuple[Operator, ...] = ()
    kernels: tuple[KernelWork, ...] = ()
    command: tuple[str, ...] = ()
    constants: tuple[ConstantSpec, ...] = ()
    digests: dict[str, str]
    notes: tuple[str, ...] = ()
    unaligned_inputs: bool = False
    states: tuple[State, ...] = ()
    variants: tuple[Signature, ...] = ()

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """Inputs and outputs for each shape; the first one's are ``signature``."""
        return (self.signature, *self.variants)


class _FormatOnly(msgspec.Struct):
    """The one field that every version of the metadata has."""

    format: int
    tvmcomp: str = "unknown"


def encode_metadata(metadata: Metadata) -> bytes:
    """As short as JSON is: in a small network's file it would take more than the weights."""
    return msgspec.json.encode(_without_defaults(metadata))


def _without_defaults(value: Any) -> Any:
    """Structs as dicts, without the fields that have their defaults."""
    if isinstance(value, msgspec.Struct):
        given = ((f.name, getattr(value, f.name), f) for f in msgspec.structs.fields(value))
        return {
            name: _without_defaults(part) for name, part, f in given if not _is_default(part, f)
        }
    if isinstance(value, tuple):
        return [_without_defaults(part) for part in value]
    return value


def _is_default(value: Any, field: msgspec.structs.FieldInfo) -> bool:
    if field.default_factory is not msgspec.NODEFAULT:
        return bool(value == field.default_factory())
    return bool(value == field.default)


def decode_metadata(data: bytes, where: str) -> Metadata:
    """What :func:`encode_metadata` wrote.

    Args:
        data: JSON.
        where: names the file in errors.

    Raises:
        ArtifactError: it is of another format, no metadata, or contradicts itself.
    """
    try:
        found = msgspec.json.decode(data, type=_FormatOnly)
        if found.format < FORMAT_VERSION:
            raise ArtifactError(
                f"has format version {found.format} (made by tvmcomp {found.tvmcomp}); "
                f"this tvmcomp reads version {FORMAT_VERSION}",
                where=where,
                hint="Build the artifact again with this version.",
            )
        if found.format > FORMAT_VERSION:
            raise ArtifactError(
                f"has format version {found.format} (made by tvmcomp {found.tvmcomp}); "
                f"this tvmcomp reads version {FORMAT_VERSION}",
                where=where,
                hint="Upgrade tvmcomp, or build the artifact again with this version.",
            )
        metadata = msgspec.json.decode(data, type=Metadata)
        check_names(metadata.signature, where)
        _check_states(metadata, where)
        _check_variants(metadata, where)
        _check_positions(metadata, where)
        return metadata
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"its metadata is not valid: {error}", where=where) from None


def check_names(signature: Signature, where: str) -> None:
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


def _check_variants(metadata: Metadata, where: str) -> None:
    """Raise ArtifactError where another shape's inputs or outputs are others than the first's, two
    shapes are one, or states have several."""

    def named(signature: Signature) -> list[list[tuple[str, str]]]:
        both = signature.inputs, signature.outputs
        return [[(spec.name, spec.dtype) for spec in specs] for specs in both]

    def shapes(signature: Signature) -> tuple[tuple[int, ...], ...]:
        return tuple(spec.shape for spec in signature.inputs)

    signatures = metadata.signatures
    alike = all(named(variant) == named(metadata.signature) for variant in metadata.variants)
    if not alike or len(set(map(shapes, signatures))) < len(signatures):
        raise ArtifactError("its shapes are not those of one network", where=where)
    if metadata.variants and metadata.states:
        raise ArtifactError("it has states, and more than one shape", where=where)


def _check_positions(metadata: Metadata, where: str) -> None:
    """Raise ArtifactError where an operator or a kernel names an operator that there is not."""
    operators = range(len(metadata.operators))
    readable = range(-len(metadata.signature.inputs), len(metadata.operators))
    read = (index for each in metadata.operators for index in each.inputs)
    computed = (index for each in metadata.kernels for call in each.calls for index in call)
    if not (all(index in readable for index in read) and all(i in operators for i in computed)):
        raise ArtifactError("it names operators by positions that there are not", where=where)
