"""Call `tvmcomp` as a person does: each command in a process of its own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

Done = subprocess.CompletedProcess[str]

#: The console script's entry, without needing it on PATH.
_ENTRY = "import sys; from tvmcomp.cli.main import main; sys.argv[0] = 'tvmcomp'; main()"
#: Imports what a command may import, then forks a process for each request: a line of JSON with
#: the arguments and the files for its output. Answers with the exit status.
_SERVER = """
import importlib, json, os, signal, sys
for module in ("api", "frontend.onnx", "runtime.remote.device", "runtime.evaluate", "cli.build",
               "cli.inspect", "cli.tune", "report.build", "tuning.measure", "codegen.toolchain"):
    importlib.import_module(f"tvmcomp.{module}")
from tvmcomp.cli.main import main
for line in sys.stdin:
    arguments, out, err = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.alarm(600)  # a command that hangs is killed: status -14
        os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["tvmcomp", *arguments]
        try:
            main()
        except SystemExit as end:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code or 0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TVM_")}
    return {**kept, "COLUMNS": "200"}


def console_script(*arguments: object) -> Done:
    """Start `tvmcomp` from nothing and run it to its end, whatever its exit status."""
    return subprocess.run(
        [sys.executable, "-c", _ENTRY, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=_environment(),
        timeout=300,
        check=False,
    )


def tvmcomp(*arguments: object) -> Done:
    """The same in a process forked from one that has imported TVM, which saves seconds."""
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory(prefix="tvmcomp-test-") as folder:
        out, err = Path(folder, "stdout"), Path(folder, "stderr")
        request = [[*map(str, arguments)], str(out), str(err)]
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return Done(request[0], status, out.read_text(), err.read_text())


@functools.cache
def _server() -> subprocess.Popen[str]:
    # It ends by itself when this process does: its standard input then closes.
    return subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=_environment(),
    )


def succeeds(*arguments: object) -> Any:
    """Run a command with ``--json`` and give its document."""
    done = tvmcomp(*arguments, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def message_of(done: Done) -> str:
    """The one message of a command that was refused for a person's mistake."""
    text = done.stdout + done.stderr
    assert done.returncode == 2, (done.returncode, text)
    for trace in ("Traceback", 'File "', "internal error", "InternalError", ".cc:", "TVMError"):
        assert trace not in text, text
    assert done.stdout == "", text
    assert done.stderr.lower().count("error:") == 1, text
    return " ".join(done.stderr.split())
