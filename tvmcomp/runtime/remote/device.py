"""A board over TVM RPC: the machine that a session runs on when it does not run here."""

from __future__ import annotations

import struct
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import ArtifactError, DeviceError, TvmcompError
from tvmcomp.runtime.by_shape import by_shape
from tvmcomp.runtime.copying_program import CopyingProgram
from tvmcomp.runtime.program import Program
from tvmcomp.runtime.remote.address import Address, parse_address
from tvmcomp.runtime.remote.board import ARCHITECTURE, PEAK_MEMORY, REFUSAL, SET_THREADS
from tvmcomp.runtime.remote.device_errors import call_error, connect_error, overdue_error
from tvmcomp.runtime.remote.native_remote_program import native_remote_programs
from tvmcomp.runtime.remote.rpc_connection import OverdueError, RpcConnection
from tvmcomp.runtime.remote.tracker import request_device
from tvmcomp.runtime.threads import Pin, Threads, asked_threads
from tvmcomp.runtime.tvm_threads import AFFINITY_BIG_CORES
from tvmcomp.targets.description import TargetDescription

if TYPE_CHECKING:
    from tvm_ffi import Device as TvmDevice

#: Seconds that a whole session may take; generous, for slow boards.
DEFAULT_TIMEOUT = 600.0
#: Seconds for a server to answer a connection.
_CONNECT_SECONDS = 10.0
#: The server ends an overdue session first, and says so; this is how long we wait for that.
_GRACE_SECONDS = 5.0

#: ELF's e_machine by LLVM's name of the architecture.
_ELF_MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}


def connect(address: str, timeout: float = DEFAULT_TIMEOUT) -> Device:
    """Connect to a board.

    Args:
        address: ``HOST:PORT`` of its server, or ``TRACKER:PORT/KEY``.
        timeout: seconds that the whole session may take.

    Raises:
        ConfigError: the address has another form.
        DeviceError: nothing answers there, or it is busy.
    """
    place = parse_address(address)
    if place.key is None:
        return Device(place, "", str(place), timeout)
    board, match_key = request_device(place, wait=_CONNECT_SECONDS)
    return Device(board, match_key, str(place), timeout)


class Device:
    """A board, for the time of one session. Use it as a context manager.

    Attributes:
        name: the address that the person gave.
    """

    def __init__(self, address: Address, match_key: str, name: str, timeout: float) -> None:
        self.name = name
        self._timeout = timeout
        self._threads: Threads | None = None
        self._connection = RpcConnection(address)
        try:
            self._connection.connect(match_key, timeout, wait=_CONNECT_SECONDS)
        except OverdueError:
            raise connect_error(name, address, "") from None
        except Exception as error:  # noqa: BLE001  TVM raises many kinds
            raise connect_error(name, address, str(error)) from None
        self._rpc = self._connection.session
        self._deadline = time.monotonic() + timeout + _GRACE_SECONDS
        self._connection.end_in(timeout + _GRACE_SECONDS)

    def load(self, artifact: Artifact, threads: int | None = None, pin: Pin = False) -> Program:
        """Check that the board can run it, then upload it.

        Raises:
            ArtifactError: it can't.
            DeviceError: it failed.
        """
        target = artifact.metadata.target
        self.check_target(target)
        chosen = self.set_threads(threads, pin)
        library = self.call("loading the library", self.load_library, artifact.library)
        if target.family == "cuda":
            return CopyingProgram(artifact, library, self, chosen, self._use_threads)
        programs = native_remote_programs(artifact, library, self, chosen, self._use_threads)
        return by_shape(artifact, programs)

    def check_target(self, target: TargetDescription) -> None:
        """Raise ArtifactError if the board can't run code for ``target``."""
        refusal = self.function(REFUSAL)
        architecture = self.function(ARCHITECTURE)
        if refusal is not None and architecture is not None:
            machine = str(self.call("asking for its architecture", architecture))
            description = msgspec.json.encode(target).decode()
            reason = str(self.call("asking what it can run", refusal, description))
        else:  # TVM's own server: the ELF header of its Python tells the architecture at least
            machine = self.call("asking for its architecture", self._server_architecture)
            same = not machine or machine == _architecture(target.triple)
            reason = "" if same else f"it needs the architecture {_architecture(target.triple)}"
        if reason:
            raise ArtifactError(
                f"was built for {target.name} ({target.triple}) and can't run on the device "
                f"{self.name} ({machine}): {reason}",
                hint="Build it with a --target that fits the device (`tvmcomp targets list`).",
            )

    def load_library(self, library: bytes) -> Any:
        """Upload and load; the file is removed at once."""
        name = f"{uuid.uuid4().hex}.so"
        self.call("uploading the library", self._rpc.upload, bytearray(library), name)
        try:
            return self.call("loading the library", self._rpc.load_module, name)
        finally:
            with suppress(Exception):  # the session's folder goes with the session anyway
                self._rpc.remove(name)

    def tvm_device(self, target: TargetDescription) -> TvmDevice:
        """The board's CPU or its first GPU."""
        return self._rpc.cuda(0) if target.family == "cuda" else self._rpc.cpu(0)

    def set_threads(self, threads: int | None, pin: Pin = False) -> Threads:
        """Set the pool of the session's process.

        With TVM's own server None leaves what that has chosen.

        Raises:
            ConfigError: ``threads`` is less than 1, or ``pin`` does not name a core for each.
        """
        threads, cores = asked_threads(threads, pin)
        count = self.call("setting the threads", self._set_threads, threads, cores or ())
        self._threads = Threads(int(count), cores)
        return self._threads

    def _use_threads(self, threads: Threads) -> None:
        """Set them unless they are: another session on the board may have set its own."""
        if threads != self._threads:
            self.set_threads(threads.count, threads.cores or False)

    def function(self, name: str) -> Callable[..., Any] | None:
        """A function that the server has registered, or None."""
        found: Callable[..., Any] | None = self.call(f"looking for {name}", self._look_up, name)
        return found

    def peak_memory(self) -> int | None:
        """Of the session's process on the board, in bytes; None with TVM's own server."""
        ask = self.function(PEAK_MEMORY)
        return None if ask is None else int(self.call("asking for its memory", ask))

    def call(self, doing: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call something that waits for the board.

        Raises:
            DeviceError: it failed, is gone, or the session took too long.
        """
        if not self._connection.is_open:
            raise DeviceError("the session has ended", where=f"device {self.name}")
        try:
            return self._connection.call(function, self._deadline, *args)
        except OverdueError:
            raise overdue_error(self.name, doing, self._timeout) from None
        except TvmcompError:
            raise
        except Exception as error:  # noqa: BLE001  TVM raises many kinds
            self._connection.give_up()
            if time.monotonic() >= self._deadline:  # it was ended for that
                raise overdue_error(self.name, doing, self._timeout) from None
            text = f"{type(error).__name__}: {error}"
            raise call_error(self.name, doing, text, self._timeout) from None

    def close(self) -> None:
        """End the session; the server removes its process and its files."""
        self._connection.close(self._deadline)

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _set_threads(self, threads: int | None, cores: tuple[int, ...]) -> int:
        ours = self._look_up(SET_THREADS)
        if ours is not None:
            return int(ours(threads or 0, *cores))
        if cores:
            raise DeviceError(
                "its RPC server can't pin threads",
                where=self.name,
                hint="Start the server on the device with `tvmcomp devices serve`.",
            )
        if threads is not None:
            self._rpc.get_function("runtime.config_threadpool")(AFFINITY_BIG_CORES, threads)
        return int(self._rpc.get_function("runtime.NumThreads")())

    def _look_up(self, name: str) -> Callable[..., Any] | None:
        try:
            found: Callable[..., Any] = self._rpc.get_function(name)
        except AttributeError:
            return None
        return found

    def _server_architecture(self) -> str:
        """Of the Python that the server runs in; "" where that can't be told."""
        try:
            header = bytes(self._rpc.download("/proc/self/exe"))[:20]
        except Exception:  # noqa: BLE001  no Linux, or a server without Python
            return ""
        if not header.startswith(b"\x7fELF") or len(header) < 20:
            return ""
        (machine,) = struct.unpack("<H", header[18:20])
        return _ELF_MACHINES.get(machine, f"ELF machine {machine}")


def _architecture(triple: str) -> str:
    """The architecture that a triple names, as :data:`_ELF_MACHINES` calls it."""
    name = triple.partition("-")[0]
    return "arm" if name.startswith("armv") else name
