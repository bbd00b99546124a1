"""A command and all its descendants, which live, freeze and die as one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# The group's first process. It leaves a guard behind that reads the pipe from the process that
# started the group: when that one ends, however it ends, the guard kills the group.
GUARDED = 'exec 3<&0 </dev/null; { read -r _ <&3; kill -KILL 0; } & exec "$@" 3<&-'

# How long a signal may take to reach every process of the group.
SECONDS = 10.0


class ProcessGroup:
    """A running command in a process group of its own; its output goes to a file."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as output:
            self._leader = subprocess.Popen(
                ["/bin/sh", "-c", GUARDED, "sh", *command],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._killed = False

    @property
    def exit_status(self) -> int | None:
        """The command's exit status, or None while it runs."""
        return self._leader.poll()

    def members(self) -> list[int]:
        """The processes of the group that are alive; a zombie is not."""
        return [pid for pid, state in self._states().items() if state not in "ZX"]

    def freeze(self) -> None:
        """Stop every process where it is: the command still holds its sockets, but is silent."""
        self._signal(signal.SIGSTOP)
        self._wait_until(lambda: set(self._states().values()) <= set("TZX"), "stop")

    def thaw(self) -> None:
        """Let a frozen group go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill every process of the group and wait until none is left. Harmless when repeated."""
        if self._killed:
            return
        self._signal(signal.SIGKILL)
        self._leader.wait(SECONDS)
        self._wait_until(lambda: not self.members(), "die")
        # From here on the system may give the group's number to another one.
        self._killed = True
        assert self._leader.stdin is not None
        self._leader.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        if not self._killed:
            os.killpg(self._leader.pid, number)

    def _states(self) -> dict[int, str]:
        """Each process of the group and its one-letter state, as in ps."""
        states: dict[int, str] = {}
        for process in () if self._killed else Path("/proc").glob("[0-9]*"):
            try:
                status = (process / "stat").read_text()
                threads = len(list((process / "task").iterdir()))
            except (FileNotFoundError, ProcessLookupError):
                continue
            # "pid (name) state parent group ...", and a name may hold spaces and brackets.
            state, _parent, group = status.rpartition(")")[2].split()[:3]
            if int(group) == self._leader.pid:
                # The first thread of a dying process may be a zombie while others hold its sockets.
                states[int(process.name)] = "D" if state == "Z" and threads > 1 else state
        return states

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._states()} did not {what} in {SECONDS:g} s")
            time.sleep(0.01)
