"""An emulated ARM board: TVM's RPC server on an aarch64 Python under QEMU, on loopback.

    with Board(cpu="cortex-a72") as board:
        session = tvm.rpc.connect("127.0.0.1", board.port)

As a program it prepares the board's root, or serves until Ctrl-C:

    python tests/board/board.py serve --port 9090 --cpu cortex-a72
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from prepare import BoardError, BoardRoot, prepare, unavailable_reason
from rpc_service import RpcService

__all__ = ["Board", "BoardError", "BoardRoot", "Tracker", "prepare", "unavailable_reason"]

# From TVM's tvm/rpc/base.py.
TRACKER_MAGIC = struct.pack("<i", 0x2F271)
TRACKER_SUMMARY = 6


class Tracker(RpcService):
    """A TVM RPC tracker, for any number of boards."""

    def __init__(self, port: int | None = None, timeout: float = 60.0) -> None:
        super().__init__("tracker", "max", port, timeout)

    def boards(self) -> set[int]:
        """The ports of the boards that are registered now."""
        return _registered_ports(self.address)


class Board(RpcService):
    """An emulated board; `cpu` is a core that QEMU knows, "max" has every feature.

    `tracker=True` brings a tracker of its own; a string is the address of one to join. `kill` and
    `freeze` act on the board alone: a tracker goes on.
    """

    def __init__(
        self,
        cpu: str = "max",
        tracker: bool | str = False,
        key: str = "board",
        port: int | None = None,
        timeout: float = 60.0,
    ) -> None:
        super().__init__("server", cpu, port, timeout)
        # Without a tracker TVM's client gives no key, and the server must expect none.
        self.key = key if tracker else ""
        self._own_tracker = Tracker(timeout=timeout) if tracker is True else None
        self._tracker_address = tracker if isinstance(tracker, str) else None

    @property
    def port(self) -> int:
        """The port of `address`."""
        return int(self.address.rpartition(":")[2])

    @property
    def tracker_address(self) -> str | None:
        """The tracker where the board is registered, as "127.0.0.1:9190"."""
        return self._tracker_address

    def start(self) -> None:
        """Start the board, its own tracker first, and wait until both answer."""
        if self._own_tracker is not None and not self._own_tracker.is_alive():
            self._own_tracker.start()
            self._tracker_address = self._own_tracker.address
        super().start()
        if self._tracker_address is not None:
            address = self._tracker_address
            try:
                self._wait_for("register", lambda: self.port in _registered_ports(address))
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Kill the board and its own tracker, and remove their files."""
        super().stop()
        if self._own_tracker is not None:
            self._own_tracker.stop()

    def _options(self) -> Sequence[str]:
        if self._tracker_address is None:
            return ()
        return (f"--tracker={self._tracker_address}", f"--key={self.key}")


def _registered_ports(tracker_address: str) -> set[int]:
    """Ask a tracker which boards it knows."""
    host, _, port = tracker_address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            stream = connection.makefile("rwb")
            stream.write(TRACKER_MAGIC)
            stream.flush()
            if stream.read(4) != TRACKER_MAGIC:
                raise BoardError(f"{tracker_address} is not a TVM RPC tracker")
            request = json.dumps([TRACKER_SUMMARY]).encode()
            stream.write(struct.pack("<i", len(request)) + request)
            stream.flush()
            (size,) = struct.unpack("<i", stream.read(4))
            _status, summary = json.loads(stream.read(size))
    except (OSError, struct.error) as error:
        raise BoardError(f"the tracker {tracker_address} does not answer: {error}") from error
    return {server["addr"][1] for server in summary["server_info"]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description="An emulated ARM board, to try tvmcomp on aarch64 without hardware.",
        epilog="example: python tests/board/board.py serve --port 9090 --cpu cortex-a72",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="download and unpack what the board needs, once")
    serve = commands.add_parser(
        "serve",
        help="start a board and run until Ctrl-C",
        epilog="example: python tests/board/board.py serve --tracker 127.0.0.1:9190 --key rpi4",
    )
    serve.add_argument("--port", type=int, help="the board's port (default: a free one)")
    serve.add_argument("--cpu", default="max", help="the core QEMU emulates (default: max)")
    serve.add_argument("--tracker", metavar="HOST:PORT", help="register at this tracker")
    serve.add_argument("--key", default="board", help="under this key (default: board)")
    tracker = commands.add_parser("tracker", help="start a tracker and run until Ctrl-C")
    tracker.add_argument("--port", type=int, help="the tracker's port (default: a free one)")
    chosen = parser.parse_args(arguments)

    # Makes `kill` leave through the context managers too.
    signal.signal(signal.SIGTERM, _stop)
    try:
        if chosen.command == "prepare":
            begin = time.monotonic()
            print(f"{prepare().path} is ready ({time.monotonic() - begin:.1f} s)")
        elif chosen.command == "serve":
            _serve(Board(chosen.cpu, chosen.tracker or False, chosen.key, chosen.port))
        else:
            _serve(Tracker(chosen.port))
    except BoardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


def _serve(service: RpcService) -> None:
    with service:
        print(f"{service.role} on {service.address}, Ctrl-C stops it", flush=True)
        while service.is_alive():
            time.sleep(1)
        raise BoardError(f"the emulated {service.role} ended\n{service.log()}")


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
