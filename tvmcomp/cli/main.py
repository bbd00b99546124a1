"""The ``tvmcomp`` command: finds the subcommand, and turns errors into messages and exit status.

Exit status: 0 for success, 1 for a check that failed or a defect of tvmcomp, 2 for a wrong command
line, model, target, data, device or log.
"""

from __future__ import annotations

import importlib
import importlib.util
import signal
import sys
import threading
import traceback
from types import FrameType

import click

from tvmcomp.cli.common import err
from tvmcomp.errors import TvmcompError

#: Subcommand -> module of tvmcomp.cli that defines ``command``; imported only when asked for.
COMMANDS = (
    "bench", "build", "compare", "compress", "convert", "devices", "eval", "export", "inspect",
    "logs", "report", "run", "search", "targets", "tune",
)  # fmt: skip


class _LazyGroup(click.Group):
    """A group that imports a subcommand's module when it is used: start-up stays short."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"tvmcomp.cli.{name}").command
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--verbose", is_flag=True, help="Show the full trace of an error.")
@click.version_option(package_name="tvmcomp")
@click.pass_context
def cli(ctx: click.Context, verbose: bool) -> None:
    """Compile a trained network into a small, fast, verified module for a device.

    \b
    Example:
      tvmcomp build model.onnx -o model.tvmc --target arm --quant int8 --calibration calib.npz
    """
    ctx.obj = {"verbose": verbose}


def main() -> None:
    """Entry point of the console script."""
    verbose = "--verbose" in sys.argv
    interrupted = _interrupts()
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        status = exit_.exit_code
    except click.Abort:
        err.print("interrupted")
        status = 1
    except click.ClickException as error:
        error.show()
        status = 2
    except TvmcompError as error:
        if verbose:
            traceback.print_exc()
        err.print(f"[red]error:[/red] {_escape(str(error))}", soft_wrap=True)
        status = 2
    except Exception as error:  # noqa: BLE001  a defect of ours: say so, without a C++ trace
        if verbose:
            traceback.print_exc()
        if (package := _missing_package(error)) is not None:
            err.print(f"[red]error:[/red] {_escape(_install(package))}", soft_wrap=True)
            sys.exit(2)
        if interrupted.is_set():  # TVM calls back into Python, and makes it an error of its own
            err.print("interrupted")
            sys.exit(1)
        first_line = str(error).strip().split("\n")[0][:300]
        err.print(
            f"[red]internal error:[/red] {_escape(type(error).__name__)}: {_escape(first_line)}\n"
            "  This is a defect of tvmcomp; run again with `tvmcomp --verbose …` for the trace.",
            soft_wrap=True,
        )
        status = 1
    sys.exit(status if isinstance(status, int) else 0)


def _interrupts() -> threading.Event:
    """Is set when Ctrl-C is pressed, which raises KeyboardInterrupt as ever."""
    pressed = threading.Event()

    def press(number: int, frame: FrameType | None) -> None:
        pressed.set()
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, press)
    return pressed


def _missing_package(error: Exception) -> str | None:
    """The package that is not installed at all; a missing part of one is a defect."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    package = error.name.partition(".")[0]
    try:
        there = importlib.util.find_spec(package) is not None
    except ValueError:  # it has been made unimportable
        there = False
    return None if there else package


def _install(package: str) -> str:
    """What to do where only artifacts were to run, and so not all of tvmcomp is installed."""
    return (
        f"this needs the Python package {package}, which is not installed\n"
        "  `pip install tvmcomp` brings what all commands need; fewer packages only run artifacts."
    )


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
