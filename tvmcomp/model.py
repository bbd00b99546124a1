"""Value types that every arrow of the flow shares: what a network takes, gives, and is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    import tvm

#: What a network is computed in; ``none`` is the model's own: float32.
Precision = Literal["none", "int8", "dynamic", "fp16", "bf16"]


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input or output: its name, its static shape, and its numpy dtype name."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The inputs and outputs of a network, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def shapes_text(self) -> str:
        """The inputs' shapes, for a person: ``x[1, 3, 224, 224]``."""
        return ", ".join(f"{spec.name}{list(spec.shape)}" for spec in self.inputs)


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input that keeps its value from run to run.

    Attributes:
        input: its name in the signature.
        output: the output that it is given at the next run.
        start: the bytes of what it is given at the first one, in C order, as the input's dtype.
    """

    input: str
    output: str
    start: bytes


class UsedRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tuning record that scheduled an operator's kernel.

    Attributes:
        id: the record's digest.
        seconds: median time of the kernel on the device that it was measured on.
        date: when that was.
        reason: why this record: how near its device is to the one that was built for.
    """

    id: str
    seconds: float
    date: str
    reason: str


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the build decided for one operator, as the build report lists it.

    Attributes:
        name: the operator's name in the source model.
        kind: its Relax operator, without the ``relax.`` prefix (``nn.conv2d``).
        dtype: the type it computes in: ``int8``, ``float32``, ``float16``, ``bfloat16``.
        reason: why it stayed float, or None.
        sqnr_db: signal-to-quantization-noise ratio of its output, or of the first tensor in memory
            that is made of it, against the float network's, in dB, with everything quantized that
            the build quantized; None where not measured.
        network_sqnr_db: the same ratio at the network's outputs with this operator alone
            quantized; what the accuracy guard ranks by.
        macs: multiply-accumulates of one inference.
        record: the tuning record that its kernel was scheduled by, or None.
        generic: it multiplies and adds up, and no schedule is made for its kernel.
        inputs: positions in the build report of the operators whose results it reads; -1 - i
            is the network's input i.
    """

    name: str
    kind: str
    dtype: str
    reason: str | None = None
    sqnr_db: float | None = None
    network_sqnr_db: float | None = None
    macs: int = 0
    record: UsedRecord | None = None
    generic: bool = False
    inputs: tuple[int, ...] = ()


class KernelWork(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one call of a kernel does, and for which operators it is called.

    Attributes:
        name: the kernel's, as a profile has it.
        dtype: of the tensor that it reads first.
        macs: multiply-accumulates, counted in the kernel.
        nbytes: size of the tensors that it reads and writes.
        calls: for each call of an inference, in their order: the positions in the build report of
            the operators that it computes, as far as names tell.
    """

    name: str
    dtype: str
    macs: int
    nbytes: int
    calls: tuple[tuple[int, ...], ...]


class Model(msgspec.Struct, frozen=True, eq=False):
    """A network imported into Relax.

    Attributes:
        mod: an IRModule whose ``main`` takes the inputs and returns the outputs (one tensor, or
            a tuple of them); weights are constants in it. A variable of ``main`` that holds the
            output of a source node carries the node's name.
        signature: names, shapes and dtypes of inputs and outputs.
        source: whole path of the file it came from, or what else it came from.
        digest: SHA-256 of that file, in hexadecimal.
        stored: ``float16`` or ``bfloat16`` where all of its weights are of that type; they are
            float32 in ``mod``.
        states: inputs that keep their value from run to run.
    """

    mod: tvm.IRModule
    signature: Signature
    source: str
    digest: str
    stored: str | None = None
    states: tuple[State, ...] = ()
