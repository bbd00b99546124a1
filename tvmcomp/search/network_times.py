"""Times of whole networks on the user's devices: a search begins with those that earlier ones
measured, whatever its goals and samples are.

One line of JSON for each, with all that a time depends on: append-only, safe to join and to share.
Numbers in weights don't change how long a network takes, so networks that differ in nothing else
share a line; where its zeros are does, once there are enough for a kernel that skips them.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnx.numpy_helper

from tvmcomp.schedules.sparse.choose import FEWEST_ZEROS
from tvmcomp.search.lines import append_line, newest_lines
from tvmcomp.search.timing import Timed
from tvmcomp.targets.fingerprint import Fingerprint, local_fingerprint
from tvmcomp.tuning.log.places import own_location
from tvmcomp.tuning.log.record import Versions, now

#: What runs depends on shapes and axes: whole numbers, and few.
_MOST_SIZES = 64
_VALUES = ("raw_data", "float_data", "int32_data", "int64_data")
#: Of the log, the newest lines that are read, in bytes.
_READ = 1 << 28


class Line(msgspec.Struct, frozen=True):
    """A network that was timed.

    Attributes:
        network: of :func:`network_digest`.
        target, device: what it was built for, and the address where it ran; None is this machine.
        fingerprint: of this machine; of another one its name.
        versions: of what built it.
        date: UTC.
        timed: what was measured.
    """

    network: str
    target: str
    device: str | None
    fingerprint: Fingerprint
    versions: Versions
    date: str
    timed: Timed


class NetworkTimes:
    """Times for one target on one device."""

    def __init__(self, target: str, device: str | None, path: Path | None = None) -> None:
        """Args:
        target: all of its description.
        device: an address; None is this machine.
        path: the log; None is the user's own.
        """
        self._target = hashlib.sha256(target.encode()).hexdigest()[:16]
        self._device, self._versions = device, Versions.here()
        self._path = path or own_location().parent / "network_times.jsonl"
        self._fingerprint = local_fingerprint() if device is None else Fingerprint(device)
        lines = newest_lines(self._path, Line, _READ)
        self._known = {line.network: line.timed for line in lines if self._holds(line)}

    def known(self, digest: str) -> Timed | None:
        """What an earlier search measured of a network; None where none did."""
        return self._known.get(digest)

    def keep(self, digest: str, timed: Timed) -> None:
        """Write down what was measured.

        Raises:
            ModelError: it can't be written.
        """
        self._known[digest] = timed
        line = Line(
            digest, self._target, self._device, self._fingerprint, self._versions, now(), timed
        )
        append_line(self._path, line)

    def _holds(self, line: Line) -> bool:
        """Whether a line's time is of this target, device and version."""
        return (line.target, line.device, line.versions) == (
            self._target,
            self._device,
            self._versions,
        ) and line.fingerprint.same_model(self._fingerprint)


def network_digest(model: onnx.ModelProto, *beside: object) -> str:
    """Of a network's structure, and of what it is built with beside.

    Args:
        model: in the number formats that it is built in.
        beside: whatever else its time depends on.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    found = hashlib.sha256(repr(beside).encode())
    for tensor in bare.graph.initializer:
        if math.prod(tensor.dims) > _MOST_SIZES or tensor.data_type != onnx.TensorProto.INT64:
            if (zeros := _zeros(tensor)) is not None:
                found.update(np.packbits(zeros).tobytes())
            for field in _VALUES:
                tensor.ClearField(field)
    found.update(bare.SerializeToString(deterministic=True))
    return found.hexdigest()[:16]


def _zeros(tensor: onnx.TensorProto) -> np.ndarray | None:
    """Where a weight is 0; None where that is in too few places to be skipped."""
    if math.prod(tensor.dims) <= _MOST_SIZES or tensor.data_location == tensor.EXTERNAL:
        return None
    zeros = onnx.numpy_helper.to_array(tensor) == 0
    return zeros if zeros.mean() >= FEWEST_ZEROS else None
