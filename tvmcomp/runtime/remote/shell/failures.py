"""What went wrong on a board with a shell, in a person's words."""

from __future__ import annotations

import signal

from tvmcomp.errors import DeviceError
from tvmcomp.runtime.remote.shell.channel import Finished
from tvmcomp.runtime.remote.shell.scripts import NOT_WRITABLE
from tvmcomp.runtime.remote.shell.transport import last_line

#: A shell's exit statuses: it can't start a program, finds none; a signal's number is added to it.
_NOT_EXECUTABLE, _NOT_FOUND, _SIGNAL = 126, 127, 128

_FULL = ("No space left", "Disk quota", "File too large", "File size limit")
_OTHER_MACHINE = ("Exec format error", "cannot execute binary", "not executable", "Syntax error",
                  "syntax error", "Invalid ELF image")  # fmt: skip
_FIT = "Build it with a --target that fits the device (`tvmcomp targets list`)."
_OTHER_FOLDER = "Make room there, or name another folder with --remote-dir."
_SIGNAL_HINTS = {
    signal.SIGILL: f"Its CPU lacks instructions that the program uses. {_FIT}",
    signal.SIGKILL: "Most likely it ran out of memory.",
    signal.SIGTERM: "Someone stopped it there.",
}


def folder_error(where: str, base: str, errors: str) -> DeviceError:
    """No folder could be made."""
    place = f"in {base}" if base else "in its folder for temporary files"
    return DeviceError(
        f"can't make a folder {place}: {last_line(errors)}",
        where=where,
        hint="Name one that can be written to with --remote-dir.",
    )


def gone_error(where: str, doing: str, errors: str) -> DeviceError:
    """The connection broke."""
    reason = f" ({last_line(errors)})" if errors else ""
    return DeviceError(
        f"is gone: the connection broke while {doing}{reason}",
        where=where,
        hint="It lost power or network, or its server was stopped. What was copied there is "
        "removed by itself.",
    )


def overdue_error(where: str, doing: str, seconds: float, whole_session: bool) -> DeviceError:
    """Something did not end in time, and was killed."""
    limit = f"the {seconds:g} s of a session" if whole_session else f"{seconds:.3g} s"
    return DeviceError(
        f"did not finish {doing} in {limit}; it was stopped there",
        where=where,
        hint="It is too slow for that limit (raise it with --timeout), or it hangs."
        if whole_session
        else None,
    )


def flood_error(where: str, doing: str) -> DeviceError:
    """More came than can be."""
    return DeviceError(f"sent more than was asked for while {doing}", where=where)


def program_error(where: str, doing: str, machine: str, done: Finished) -> DeviceError:
    """A program ended that should not have, or a file could not be copied."""
    reason = last_line(done.errors)
    what, hint = f"failed while {doing}: {reason}", None
    if any(sign in done.errors for sign in _FULL) or done.status == _SIGNAL + signal.SIGXFSZ:
        what, hint = f"has no room, {doing}: {reason}", _OTHER_FOLDER
    elif done.status == NOT_WRITABLE:
        what, hint = f"has lost the folder that was made there, {doing}: {reason}", None
    elif any(sign in done.errors for sign in _OTHER_MACHINE):
        what = f"can't run this program: it is a machine of another kind ({machine})"
        hint = f"{_FIT} Or name an emulator there: --runner qemu-aarch64-static."
    elif done.status == _NOT_FOUND:
        what, hint = f"has no such program: {reason}", "Is the command of --runner there?"
    elif done.status == _NOT_EXECUTABLE:
        what = f"can't start the program: {reason}"
        hint = "If that folder is mounted `noexec`, name another with --remote-dir."
    elif done.status > _SIGNAL:
        what, hint = _killed(done.status - _SIGNAL, doing)
    elif "lacks instructions" in reason:
        what, hint = f"can't run it: {reason.removeprefix('error: ')}", _FIT
    return DeviceError(what, where=where, hint=hint)


def _killed(number: int, doing: str) -> tuple[str, str | None]:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"its program was killed by {name} while {doing}", _SIGNAL_HINTS.get(number)  # type: ignore[call-overload]
