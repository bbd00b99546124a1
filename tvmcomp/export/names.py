"""A network's name in C: what its functions, its header and its library are called."""

from __future__ import annotations

import re

from tvmcomp.errors import ConfigError

#: Headers of C and POSIX: a ``time.h`` in a program's folder would be read in the place of its own.
_HEADERS = frozenset({
    "assert", "complex", "ctype", "dirent", "dlfcn", "elf", "endian", "errno", "fcntl", "fenv",
    "float", "inttypes", "iso646", "limits", "link", "locale", "malloc", "math", "netdb", "poll",
    "pthread", "sched", "semaphore", "setjmp", "signal", "spawn", "stdalign", "stdarg", "stdatomic",
    "stdbool", "stddef", "stdint", "stdio", "stdlib", "stdnoreturn", "string", "strings", "syslog",
    "termios", "tgmath", "threads", "time", "uchar", "unistd", "values", "wchar", "wctype",
})  # fmt: skip
#: The runtime's own functions and files begin so.
_RUNTIME = "tvmcomp"
#: Long enough for any model's file, short enough for every linker and file system.
_LONGEST = 100


def name_of(source: str) -> str:
    """A name for the network of the file ``source``: ``My net-2.onnx`` gives ``my_net_2``."""
    stem = source.rstrip("/").rpartition("/")[2].partition(".")[0]
    text = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[:_LONGEST] or "network"
    return text if _complaint(text) is None else f"net_{text}"


def checked(name: str) -> str:
    """``name`` as it is.

    Raises:
        ConfigError: functions can't be called so in C, or the header would hide another.
    """
    if complaint := _complaint(name):
        raise ConfigError(f"a network can't be called {name!r} in C: {complaint}", where="--name")
    return name


def _complaint(name: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        return "use letters of English, digits and _, a letter first"
    if len(name) > _LONGEST + len("net_"):
        return f"it has more than {_LONGEST} characters"
    if name.lower().startswith(_RUNTIME):
        return f"{_RUNTIME} is what the runtime's names begin with"
    if name.lower() in _HEADERS:
        return f"{name}.h is a header of the system"
    return None
