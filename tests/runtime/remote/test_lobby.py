"""Who connects to a server and what it does to those after it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from served import Served
from small_artifacts import dense_artifact

from tvmcomp.errors import DeviceError
from tvmcomp.runtime.remote import lobby as lobby_module
from tvmcomp.runtime.remote.device import connect
from tvmcomp.runtime.remote.lobby import MOST_GREETING, MOST_WAITING, Lobby
from tvmcomp.runtime.session import load_on
from tvmcomp.tvm_import import tvm  # noqa: F401  before tvm.rpc

MAGIC = struct.pack("<i", 0xFF271)
KEY = b"client:"
GREETING = MAGIC + struct.pack("<i", len(KEY)) + KEY


def place(server: Served) -> tuple[str, int]:
    host, _, port = server.address.rpartition(":")
    return host, int(port)


def is_served(server: Served) -> bool:
    with connect(server.address) as board, load_on(board, dense_artifact()) as session:
        reference = session.artifact.reference
        assert reference is not None
        return set(session.run(reference.inputs)) == {"y", "z"}


def test_silent_connections_keep_no_one_out(server: Served) -> None:
    with ExitStack() as stack:
        for number in range(100):
            stranger = stack.enter_context(socket.create_connection(place(server)))
            stranger.sendall(GREETING[: number % len(GREETING)])
        assert is_served(server)  # a client of ours gives up after 10 s


def test_a_slow_client_is_served(server: Served) -> None:
    with socket.create_connection(place(server)) as slow:
        for byte in GREETING:
            slow.sendall(bytes([byte]))
            time.sleep(0.05)
            if byte == GREETING[5]:
                assert is_served(server)  # others are, meanwhile
        slow.settimeout(10)
        answer = slow.recv(4, socket.MSG_WAITALL)
        assert answer == MAGIC


def test_a_client_that_left_takes_no_turn(server: Served) -> None:
    with connect(server.address) as board:
        load_on(board, dense_artifact())
        for _ in range(5):
            with socket.create_connection(place(server)) as impatient:
                impatient.sendall(GREETING)
    begin = server.log.read_text().count("begins")
    assert is_served(server)
    time.sleep(0.3)
    assert server.log.read_text().count("begins") == begin + 1


def test_a_session_without_a_limit_is_ended(start: Callable[..., Served]) -> None:
    from tvm import rpc

    server = start("serve", "--session-limit", "2")
    host, port = place(server)
    forgotten = rpc.connect(host, port)  # sets no limit, and asks for nothing
    assert is_served(server)  # a client of ours gives up after 10 s
    with pytest.raises(Exception, match=r"RPCSessionTimeoutError|took over"):
        forgotten.get_function("runtime.NumThreads")()
    with connect(server.address, timeout=20) as board:  # who sets a limit has that one
        session = load_on(board, dense_artifact())
        time.sleep(3)
        assert session.run(dense_artifact().reference.inputs)  # type: ignore[union-attr]


@pytest.mark.parametrize("limit", [b"nan", b"inf", b"-1", b"0", b"many"])
def test_a_limit_that_is_none(start: Callable[..., Served], limit: bytes) -> None:
    server = start("serve", "--session-limit", "1")
    key = b"client: -timeout=" + limit
    with socket.create_connection(place(server)) as client:
        client.sendall(MAGIC + struct.pack("<i", len(key)) + key)
        assert is_served(server)


@pytest.fixture
def lobby() -> Iterator[Lobby]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Lobby(listener)


def arrive(lobby: Lobby, words: bytes) -> socket.socket:
    connection = socket.create_connection(lobby._listener.getsockname())
    connection.settimeout(10)
    connection.sendall(words)
    return connection


def is_turned_away(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_they_get_in_in_the_order_of_their_greetings(lobby: Lobby) -> None:
    first = arrive(lobby, GREETING[:-1])
    second = arrive(lobby, GREETING)
    wait_for(lambda: len(lobby._waiting) == 1)
    first.sendall(GREETING[-1:])
    wait_for(lambda: len(lobby._waiting) == 2)
    for connection in (second, first):
        greeted, address = lobby.accept()
        assert address == connection.getsockname()
        assert b"".join(greeted.recv(3) for _ in range(5)) == GREETING
        connection.sendall(b"more")
        assert greeted.recv(10) == b"more"
        greeted.sendall(b"answer")
        assert connection.recv(10) == b"answer"
        greeted.close()


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        MAGIC[:3] + b"x",
        MAGIC + struct.pack("<i", 0),
        MAGIC + struct.pack("<i", -5),
        MAGIC + struct.pack("<i", 1 << 30),
        GREETING + b"too much",
    ],
)
def test_who_does_not_greet_is_turned_away(lobby: Lobby, words: bytes) -> None:
    assert is_turned_away(arrive(lobby, words))


def test_a_greeting_has_a_limit(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lobby_module, "GREETING_SECONDS", 0.2)
    assert is_turned_away(arrive(lobby, GREETING[:7]))


def test_the_number_of_those_who_wait_is_bounded(lobby: Lobby) -> None:
    waiting = [arrive(lobby, GREETING) for _ in range(MOST_WAITING)]
    wait_for(lambda: len(lobby._waiting) == MOST_WAITING)
    assert is_turned_away(arrive(lobby, GREETING))
    silent = [arrive(lobby, b"") for _ in range(MOST_GREETING + 1)]
    assert is_turned_away(silent[0])
    wait_for(lambda: len(lobby._guests) == MOST_WAITING + MOST_GREETING)
    waiting[0].close()
    wait_for(lambda: len(lobby._waiting) == MOST_WAITING - 1)
    _, address = lobby.accept()
    assert address == waiting[1].getsockname()


def test_accept_waits_for_the_first(lobby: Lobby) -> None:
    found: list[object] = []
    waiter = threading.Thread(target=lambda: found.append(lobby.accept()[1]))
    waiter.start()
    arrive(lobby, GREETING[:4]).close()
    connection = arrive(lobby, GREETING)
    waiter.join(10)
    assert found == [connection.getsockname()]


def test_too_many_clients_hear_that_it_is_busy(server: Served) -> None:
    with connect(server.address) as board, ExitStack() as stack:
        load_on(board, dense_artifact())
        for _ in range(MOST_WAITING + 5):
            waiting = stack.enter_context(socket.create_connection(place(server)))
            waiting.sendall(GREETING)
        time.sleep(0.3)
        with pytest.raises(DeviceError, match="busy"):
            connect(server.address)
