"""Talk to a TVM RPC tracker, never waiting without a limit."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from tvmcomp.errors import DeviceError
from tvmcomp.runtime.remote.address import Address
from tvmcomp.tvm_import import tvm  # noqa: F401  the one way to import TVM, before tvm.rpc


class KeyStatus(msgspec.Struct, frozen=True):
    """The devices under one key: how many there are, are free, and how many requests wait."""

    key: str
    devices: tuple[str, ...]
    free: int
    waiting: int


def list_devices(tracker: Address, timeout: float = 10.0) -> list[KeyStatus]:
    """What the tracker knows, by key.

    Raises:
        DeviceError: it does not answer, or is no tracker.
    """
    from tvm.rpc.base import TrackerCode

    try:
        with _connection(tracker, timeout) as ask:
            status, summary = ask([TrackerCode.SUMMARY])
    except TimeoutError:
        raise DeviceError(
            f"the tracker does not answer: it said nothing in {timeout:g} s", where=str(tracker)
        ) from None
    if status != TrackerCode.SUCCESS:
        raise DeviceError("the tracker refused to list its devices", where=str(tracker))
    devices: dict[str, list[str]] = {key: [] for key in summary["queue_info"]}
    for server in summary["server_info"]:
        key = server["key"].removeprefix("server:")
        host, port = server["addr"]
        devices.setdefault(key, []).append(f"{host}:{port}")
    queues = summary["queue_info"]
    return [
        KeyStatus(
            key=key,
            devices=tuple(sorted(devices[key])),
            free=queues.get(key, {}).get("free", 0),
            waiting=queues.get(key, {}).get("pending", 0),
        )
        for key in sorted(devices)
        # The tracker remembers every key that was ever asked for.
        if devices[key] or queues.get(key, {}).get("pending", 0)
    ]


def request_device(tracker: Address, wait: float) -> tuple[Address, str]:
    """Ask for a free device under ``tracker.key``.

    Args:
        tracker: with a key.
        wait: seconds to wait for one to become free.

    Returns:
        The device's address, and the key that its server now expects.

    Raises:
        DeviceError: there is none of that key, or none became free.
    """
    from tvm.rpc.base import TrackerCode

    known = {status.key: status for status in list_devices(tracker)}
    key = tracker.key or ""
    if key not in known or not known[key].devices:
        names = sorted(name for name, status in known.items() if status.devices)
        raise DeviceError(
            f"the tracker knows no device {key!r}",
            where=str(tracker),
            hint=f"It knows: {', '.join(names)}." if names else "It knows none at all.",
        )
    place = Address(tracker.host, tracker.port)
    try:
        with _connection(place, wait) as ask:
            status, value = ask([TrackerCode.REQUEST, key, "", 1])
    except TimeoutError:
        raise DeviceError(
            f"every device {key!r} is busy: none became free in {wait:g} s",
            where=str(tracker),
            hint=f"See `tvmcomp devices list --tracker {place}`; try again later.",
        ) from None
    if status != TrackerCode.SUCCESS:
        raise DeviceError(f"the tracker refused to lend a device {key!r}", where=str(tracker))
    host, port, match_key = value
    return Address(host, port), match_key


@contextmanager
def _connection(tracker: Address, timeout: float) -> Iterator[Any]:
    """A function that sends the tracker a request and returns its answer."""
    from tvm.rpc.base import RPC_TRACKER_MAGIC, recvall, recvjson, sendjson

    magic = struct.pack("<i", RPC_TRACKER_MAGIC)
    try:
        connection = socket.create_connection((tracker.host, tracker.port), timeout)
    except OSError as error:
        raise DeviceError(
            f"the tracker does not answer: {error.strerror or error}",
            where=str(tracker),
            hint="Is it running (`tvmcomp devices tracker`), and is the address right?",
        ) from None
    with connection:
        try:
            connection.sendall(magic)
            is_tracker = recvall(connection, len(magic)) == magic
        except OSError:
            is_tracker = False
        if not is_tracker:
            raise DeviceError(
                "this is no TVM RPC tracker",
                where=str(tracker),
                hint="For a device without a tracker give HOST:PORT without a key.",
            )

        def ask(request: list[Any]) -> Any:
            try:
                sendjson(connection, request)
                return recvjson(connection)
            except TimeoutError:
                raise
            except OSError as error:
                raise DeviceError(f"the tracker is gone: {error}", where=str(tracker)) from None

        yield ask
