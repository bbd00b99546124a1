"""What went wrong with a device, in a person's words: TVM's client says it in its own."""

from __future__ import annotations

import socket

from tvmcomp.errors import DeviceError
from tvmcomp.runtime.remote.address import Address

#: How TVM's client reports a broken connection.
_GONE = (
    "Channel closes before we get needed bytes",
    "SockChannel",
    "Expected connection to server",
    "code=kShutdown",
    "onnection reset",
    "roken pipe",
)

#: What our server says of a session's process that crashed; see serve.py.
KILLED_BY = "the process of the session was killed by "

_SIGNAL_HINTS = {
    "SIGILL": "The library uses instructions that its CPU lacks: build with another --target.",
    "SIGKILL": "Most likely it ran out of memory.",
    "SIGTERM": "Someone stopped it there.",
}


def connect_error(name: str, address: Address, text: str) -> DeviceError:
    """Why there is no connection.

    Args:
        name: what the person called the device.
        address: where its server should be.
        text: what TVM's client said; "" where it waited in vain.
    """
    where = f"device {name}"
    if "cannot find server that matches key" in text:
        return DeviceError(
            "the server belongs to a tracker and takes no direct connection",
            where=where,
            hint="Reach it through its tracker: --device TRACKER:PORT/KEY.",
        )
    if "is not TVM RPC server" in text:
        return DeviceError("something else than a TVM RPC server answers there", where=where)
    try:
        with socket.create_connection((address.host, address.port), timeout=5):
            pass
    except OSError as error:
        return DeviceError(
            f"does not answer: {error.strerror or error}",
            where=where,
            hint="Is it on, is `tvmcomp devices serve` running there, is the address right "
            "(a server listens on loopback unless started with --host)?",
        )
    return DeviceError(
        "takes connections, but does not answer: it is busy with another session",
        where=where,
        hint="It serves one session at a time; try again later. If no one uses it, its server "
        "hangs: restart `tvmcomp devices serve` there.",
    )


def overdue_error(name: str, doing: str, timeout: float) -> DeviceError:
    """A session reached its limit of ``timeout`` seconds."""
    return DeviceError(
        f"did not finish {doing} in the {timeout:g} s of a session",
        where=f"device {name}",
        hint="It is too slow for that limit (raise it with --timeout), or it hangs.",
    )


def call_error(name: str, doing: str, text: str, timeout: float) -> DeviceError:
    """Why a call failed, from what TVM's client said."""
    where = f"device {name}"
    if "RPCSessionTimeoutError" in text:
        return overdue_error(name, doing, timeout)
    if KILLED_BY in text:
        signal_name = text.partition(KILLED_BY)[2].split()[0].strip(".,")
        return DeviceError(
            f"its session was killed by {signal_name} while {doing}",
            where=where,
            hint=_SIGNAL_HINTS.get(signal_name, "See the output of the server there."),
        )
    if any(sign in text for sign in _GONE):
        return DeviceError(
            f"is gone: the connection broke while {doing}",
            where=where,
            hint="It lost power or network, its server was stopped, or the session's process "
            "crashed there (out of memory, or instructions that its CPU lacks).",
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = lines[-1][:300] if lines else "no reason given"
    if doing == "loading the library":
        return DeviceError(
            f"can't load the library: {reason}",
            where=where,
            hint="A library for another architecture or C library can't be loaded.",
        )
    return DeviceError(f"failed while {doing}: {reason}", where=where)
