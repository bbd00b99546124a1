"""Ends a connection at a deadline from outside of this process.

What a session holds on a board (tensors, functions, modules) is freed where Python drops its last
reference. TVM asks the board to free it and waits for the answer without a limit, and with the
interpreter's lock: where the board is silent no thread of this process goes on, and no Ctrl-C is
seen. So another process has the connection, too, and shuts it down, which ends every wait.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import suppress

#: Shuts the socket down with descriptor ARGV[1] after ARGV[2] seconds, unless told to end before.
_PROGRAM = """
import select, socket, sys
connection = socket.socket(fileno=int(sys.argv[1]))
if not select.select([0], [], [], float(sys.argv[2]))[0]:
    connection.shutdown(socket.SHUT_RDWR)
"""
#: It ends in this time when told to, unless this machine is very busy.
_END_SECONDS = 5.0


class Deadline:
    """A limit of ``seconds``, from now, to whatever waits for ``connection``."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        descriptor = connection.fileno()
        with suppress(OSError):  # no process to be had: calls have limits of their own
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM, str(descriptor), str(seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[descriptor],
                start_new_session=True,  # Ctrl-C is not for it
            )

    def lift(self) -> None:
        """Let the connection be; harmless when repeated."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
