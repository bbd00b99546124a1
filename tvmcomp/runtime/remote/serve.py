"""Lend this machine to others over TVM RPC, one session at a time.

TVM's own server loop does the handshakes and talks to the tracker. The part that serves a session
is ours, because TVM's stops listening for good once a session's process crashes, keeps computing
for a client that is gone, and can't tell the client why it ended. The loop takes its connections
from our lobby, where no one who connects and says nothing keeps the others out.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import select
import shutil
import signal
import socket
import tempfile
import time
from contextlib import suppress
from functools import partial
from multiprocessing.process import BaseProcess
from types import SimpleNamespace
from typing import Any

from tvmcomp.errors import DeviceError
from tvmcomp.runtime.amx_permission import request_amx
from tvmcomp.runtime.remote.address import Address
from tvmcomp.runtime.remote.device_errors import KILLED_BY
from tvmcomp.runtime.remote.lobby import GREETING_SECONDS, Greeted, Lobby
from tvmcomp.runtime.threads import logical_cpus
from tvmcomp.targets.features import host_features
from tvmcomp.tvm_import import tvm  # noqa: F401  the one way to import TVM, before tvm.rpc

log = logging.getLogger("tvmcomp.serve")

#: A session takes no longer than this where its client sets no limit.
SESSION_LIMIT_SECONDS = 3600.0
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
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        raise DeviceError(
            f"can't listen: {error.strerror or error}",
            where=f"{host}:{port}",
            hint="Is another server running? Choose another port with --port.",
        ) from None
    return listener


def serve(
    listener: socket.socket,
    tracker: Address | None = None,
    key: str = "",
    session_limit: float = SESSION_LIMIT_SECONDS,
) -> None:
    """Serve sessions until SIGINT or SIGTERM.

    Args:
        listener: from :func:`listen`.
        tracker: where to register, under ``key``.
        key: what clients ask the tracker for.
        session_limit: seconds after which a session is ended whose client sets no limit itself.
    """
    from tvm.rpc import server

    from tvmcomp.runtime.remote import board  # noqa: F401  registers what a session can call

    if "amx-tile" in host_features():
        # For the sessions too, which are forks. One that needs it and has it not says so itself.
        with suppress(DeviceError):
            request_amx()
    os.environ.setdefault("TVM_NUM_THREADS", str(logical_cpus()))
    lobby = Lobby(listener)
    server._serving = partial(_serve_session, lobby, session_limit)
    server.logger.setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end the session too
    socket.setdefaulttimeout(GREETING_SECONDS)  # of a tracker that says nothing
    tracker_address = (tracker.host, tracker.port) if tracker else None
    port = listener.getsockname()[1]
    while True:
        try:
            server._listen_loop(lobby, port, key, tracker_address, None, None)
        except KeyboardInterrupt:
            return
        except Exception:  # a malformed handshake ends TVM's loop; it must not end the server
            log.exception("a connection failed; listening again")
            time.sleep(_POLL_SECONDS)


def _serve_session(
    lobby: Lobby,
    session_limit: float,
    connection: Greeted,
    client: Any,
    options: dict[str, float],
    _libraries: None,
) -> None:
    """Serve one client in a process of its own; leave no process and no file behind."""
    connection.settimeout(None)
    limit = options.get("timeout", 0.0)
    if not 0 < limit < math.inf:  # TVM's client sends none where its person sets none
        limit = session_limit
    try:
        folder = tempfile.mkdtemp(prefix="tvmcomp-session-")
    except OSError as error:
        log.error("no session for %s: no temporary folder: %s", client, error.strerror)
        connection.close()
        return
    log.info("session of %s begins", client)
    # fork, on every Python version: the child inherits the connection and the loaded runtime.
    process = multiprocessing.get_context("fork").Process(
        target=_run_session, args=(lobby, connection, folder)
    )
    process.start()
    try:
        end = _watch(process, connection, limit)
        log.info("session of %s ended: %s", client, end)
    finally:
        _stop(process)
        connection.close()
        shutil.rmtree(folder, ignore_errors=True)


def _run_session(lobby: Lobby, connection: Greeted, folder: str) -> None:
    from tvm.rpc import _ffi_api, server

    lobby.close_in_child()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(folder)
    work_path = SimpleNamespace(relpath=lambda name: os.path.join(folder, name))  # noqa: PTH118
    server._server_env(None, work_path)
    _ffi_api.ServerLoop(connection.fileno())


def _watch(process: BaseProcess, connection: Greeted, limit: float) -> str:
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
        if now - begin > limit:
            process.terminate()
            return _tell(connection, f"RPCSessionTimeoutError: the session took over {limit:g} s")
        if hung_up_at is None and poll.poll(0):
            hung_up_at = now
        if hung_up_at is not None and now - hung_up_at > _GRACE_SECONDS:
            return "the client is gone"


def _tell(connection: Greeted, message: str) -> str:
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
