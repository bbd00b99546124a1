"""Runs of `tvmcomp` that are killed after a while, forked from a process that has imported it."""

from __future__ import annotations

import json
import subprocess
import sys

#: For each line, ``[arguments, seconds]``: runs the command in a process of its own, kills it after
#: so long if it is not over, and answers with its status (-9 where it was killed).
_SERVER = """
import importlib, json, os, signal, sys, threading
import torch
torch.set_num_threads(1)
for module in ("compress.compress", "compress.distil", "cli.compress", "report.compress"):
    importlib.import_module(f"tvmcomp.{module}")
from tvmcomp.cli.main import main
for line in sys.stdin:
    arguments, seconds = json.loads(line)
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):
            os.dup2(null, stream)
        sys.argv = ["tvmcomp", *arguments]
        try:
            main()
        except SystemExit as end:
            os._exit(end.code or 0)
    timer = threading.Timer(seconds, os.kill, (child, signal.SIGKILL))
    timer.start()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class KilledRuns:
    """Starts commands and kills them."""

    def __init__(self, before: str = "") -> None:
        """Args:
        before: statements that the server runs first.
        """
        self._server = subprocess.Popen(
            [sys.executable, "-c", f"{before}\n{_SERVER}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: object, seconds: float) -> int:
        """The status of a command that has so many seconds; -9 where it was killed."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps([[*map(str, arguments)], seconds]) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()
