"""Lend this machine to others over TVM RPC, one session at a time.

TVM's own server loop does the handshakes and talks to the tracker. The part that serves a session
is ours, because TVM's stops listening for good once a session's process crashes, keeps computing
for a client that is gone, and can't tell the client why it ended.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import select
import shutil
import signal
import socket
import tempfile
import time
from contextlib import suppress
from multiprocessing.process import BaseProcess
from types import SimpleNamespace
from typing import Any

from tvmcomp.errors import DeviceError
from tvmcomp.runtime.amx_permission import request_amx
from tvmcomp.runtime.remote.address import Address
from tvmcomp.runtime.remote.device_errors import KILLED_BY
from tvmcomp.runtime.threads import logical_cpus
from tvmcomp.targets.features import host_features
from tvmcomp.tvm_import import tvm  # noqa: F401  the one way to import TVM, before tvm.rpc

log = logging.getLogger("tvmcomp.serve")

#: A client that connects must finish its handshake in this time.
_HANDSHAKE_SECONDS = 30.0
#: A session whose client hung up gets this long to notice by itself.
_GRACE_SECONDS = 2.0
_POLL_SECONDS = 0.1


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any that is free.

    Raises:
        DeviceError: the address can't be listened on.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1)
    except OSError as error:
        raise DeviceError(
            f"can't listen: {error.strerror or error}",
            where=f"{host}:{port}",
            hint="Is another server running? Choose another port with --port.",
        ) from None
    return listener


def serve(listener: socket.socket, tracker: Address | None = None, key: str = "") -> None:
    """Serve sessions until SIGINT or SIGTERM.

    Args:
        listener: from :func:`listen`.
        tracker: where to register, under ``key``.
        key: what clients ask the tracker for.
    """
    from tvm.rpc import server

    from tvmcomp.runtime.remote import board  # noqa: F401  registers what a session can call

    if "amx-tile" in host_features():
        # For the sessions too, which are forks. One that needs it and has it not says so itself.
        with suppress(DeviceError):
            request_amx()
    os.environ.setdefault("TVM_NUM_THREADS", str(logical_cpus()))
    server._serving = _serve_session
    server.logger.setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end the session too
    # A stranger who connects and says nothing must not block the others.
    socket.setdefaulttimeout(_HANDSHAKE_SECONDS)
    tracker_address = (tracker.host, tracker.port) if tracker else None
    port = listener.getsockname()[1]
    while True:
        try:
            server._listen_loop(listener, port, key, tracker_address, None, None)
        except KeyboardInterrupt:
            return
        except Exception:  # a malformed handshake ends TVM's loop; it must not end the server
            log.exception("a connection failed; listening again")
            time.sleep(_POLL_SECONDS)


def _serve_session(
    connection: socket.socket, client: Any, options: dict[str, float], _libraries: None
) -> None:
    """Serve one client in a process of its own; leave no process and no file behind."""
    connection.settimeout(None)
    folder = tempfile.mkdtemp(prefix="tvmcomp-session-")
    log.info("session of %s begins", client)
    # fork, on every Python version: the child inherits the connection and the loaded runtime.
    process = multiprocessing.get_context("fork").Process(
        target=_run_session, args=(connection, folder)
    )
    process.start()
    try:
        end = _watch(process, connection, options.get("timeout"))
        log.info("session of %s ended: %s", client, end)
    finally:
        _stop(process)
        connection.close()
        shutil.rmtree(folder, ignore_errors=True)


def _run_session(connection: socket.socket, folder: str) -> None:
    from tvm.rpc import _ffi_api, server

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(folder)
    work_path = SimpleNamespace(relpath=lambda name: os.path.join(folder, name))  # noqa: PTH118
    server._server_env(None, work_path)
    _ffi_api.ServerLoop(connection.fileno())


def _watch(process: BaseProcess, connection: socket.socket, limit: float | None) -> str:
    """Wait for a session to end, or end it. Returns how it ended, for the log."""
    begin = time.monotonic()
    hung_up_at = None
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    while True:
        process.join(_POLL_SECONDS)
        if process.exitcode is not None:
            if process.exitcode >= 0:
                return "done"
            name = signal.Signals(-process.exitcode).name
            return _tell(connection, KILLED_BY + name)
        now = time.monotonic()
        if limit and now - begin > limit:
            process.terminate()
            return _tell(connection, f"RPCSessionTimeoutError: the session took over {limit:g} s")
        if hung_up_at is None and poll.poll(0):
            hung_up_at = now
        if hung_up_at is not None and now - hung_up_at > _GRACE_SECONDS:
            return "the client is gone"


def _tell(connection: socket.socket, message: str) -> str:
    """Send the client, who waits for an answer, the reason that there will be none."""
    from tvm.rpc import _ffi_api

    try:
        _ffi_api.ReturnException(connection.fileno(), message)
    except Exception:
        log.debug("the client could not be told", exc_info=True)
    return message


def _stop(process: BaseProcess) -> None:
    if process.is_alive():
        process.terminate()
        process.join(_GRACE_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()


def track(listener: socket.socket) -> None:
    """Run a tracker until SIGINT or SIGTERM.

    Args:
        listener: from :func:`listen`.
    """
    from tvm.rpc import base, tracker

    tracker.logger.setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        tracker._tracker_server(listener, base.random_key("tracker"))
