"""Devices by key, through a tracker."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest
from served import Served
from small_artifacts import dense_artifact

from tvmcomp.artifact.reference import compare
from tvmcomp.errors import DeviceError
from tvmcomp.runtime.remote import device
from tvmcomp.runtime.remote.address import parse_address
from tvmcomp.runtime.remote.device import connect
from tvmcomp.runtime.remote.tracker import KeyStatus, list_devices
from tvmcomp.runtime.session import load_on


@pytest.fixture(scope="module")
def tracker(start: Callable[..., Served]) -> Served:
    return start("tracker")


@pytest.fixture(scope="module")
def tracked(start: Callable[..., Served], tracker: Served) -> Served:
    served = start("serve", "--tracker", tracker.address, "--key", "rpi4")
    deadline = time.monotonic() + 10
    while not any(status.free for status in statuses(tracker)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return served


def statuses(tracker: Served) -> list[KeyStatus]:
    return list_devices(parse_address(tracker.address))


def test_runs_on_a_tracked_device_again_and_again(tracker: Served, tracked: Served) -> None:
    for _ in range(3):
        with connect(f"{tracker.address}/rpi4") as board:
            assert board.name == f"{tracker.address}/rpi4"
            session = load_on(board, dense_artifact())
            reference = session.artifact.reference
            assert reference is not None
            assert all(a.agrees for a in compare(session.run(reference.inputs), reference, "none"))


def test_lists_devices(tracker: Served, tracked: Served) -> None:
    deadline = time.monotonic() + 10
    while (found := statuses(tracker)) != [KeyStatus("rpi4", (tracked.address,), 1, 0)]:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    with connect(f"{tracker.address}/rpi4"):
        assert statuses(tracker)[0].free == 0


def test_busy(tracker: Served, tracked: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_CONNECT_SECONDS", 1.0)
    address = f"{tracker.address}/rpi4"
    with connect(address), pytest.raises(DeviceError, match="every device 'rpi4' is busy"):
        connect(address)
    monkeypatch.undo()
    with connect(address) as board:  # the request that was given up does not take the device
        load_on(board, dense_artifact())


def test_an_unknown_key(tracker: Served, tracked: Served) -> None:
    with pytest.raises(DeviceError, match="knows no device 'rpi5'") as caught:
        connect(f"{tracker.address}/rpi5")
    assert "It knows: rpi4." in str(caught.value)


def test_a_tracked_device_takes_no_direct_connection(tracker: Served, tracked: Served) -> None:
    with pytest.raises(DeviceError, match="belongs to a tracker"):
        connect(tracked.address)


def test_a_device_that_is_no_tracker(start: Callable[..., Served]) -> None:
    with pytest.raises(DeviceError, match="no TVM RPC tracker"):
        connect(f"{start('serve').address}/rpi4")


def test_a_tracker_that_does_not_answer() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(DeviceError, match="tracker does not answer: Connection refused"):
        list_devices(parse_address(f"127.0.0.1:{port}"))


def test_a_silent_tracker_is_not_waited_for_without_a_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        keep: list[socket.socket] = []
        threading.Thread(target=lambda: keep.append(listener.accept()[0]), daemon=True).start()
        place = parse_address(f"127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(DeviceError, match="no TVM RPC tracker"):
            list_devices(place, timeout=0.3)
        for connection in keep:
            connection.close()
