"""Call `tvmcomp` as a person does: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

#: The console script's entry, without needing it on PATH.
ENTRY = "import sys; from tvmcomp.cli.main import main; sys.argv[0] = 'tvmcomp'; main()"
#: Of one command; a build on a busy machine takes a minute.
SECONDS = 300


def tvmcomp(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever its exit status."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TVM_")}
    environment["COLUMNS"] = "200"
    command = [sys.executable, "-c", ENTRY, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=SECONDS, check=False
    )


def succeeds(*arguments: object) -> Any:
    """Run a command with ``--json`` and give its document."""
    done = tvmcomp(*arguments, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def message_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one message of a command that was refused for a person's mistake."""
    text = done.stdout + done.stderr
    assert done.returncode == 2, (done.returncode, text)
    for trace in ("Traceback", 'File "', "internal error", "InternalError", ".cc:", "TVMError"):
        assert trace not in text, text
    assert done.stdout == "", text
    assert done.stderr.lower().count("error:") == 1, text
    return " ".join(done.stderr.split())


_KEPT_WARM = """
import importlib, json, os, sys
for module in ("api", "frontend.onnx", "runtime.device", "runtime.evaluate", "cli.build",
               "cli.inspect", "cli.tune", "report.build", "tuning.measure", "toolchain"):
    importlib.import_module(f"tvmcomp.{module}")
from tvmcomp.cli.main import main
for line in sys.stdin:
    arguments, out, err = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["tvmcomp", *arguments]
        main()
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class WarmCommandLine:
    """Runs each command in a process of its own, forked from one that has imported TVM: seconds
    less for each of many commands that end early."""

    def __init__(self, folder: Path) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        self._process = subprocess.Popen(
            [sys.executable, "-c", _KEPT_WARM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
        )

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        assert self._process.stdin is not None and self._process.stdout is not None
        request = [[*map(str, arguments)], str(self._out), str(self._err)]
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        out, err = self._out.read_text(), self._err.read_text()
        return subprocess.CompletedProcess(request[0], status, out, err)

    def close(self) -> None:
        self._process.communicate()
