"""What an error of TVM says, in one line."""

from __future__ import annotations

import re

#: How TVM writes an operator into its errors, in ten lines' length; its name says enough.
_OPERATOR = re.compile(r'ir\.Op\(.*?name="([\w.]+)".*support_level=\d+[^)]*\)')


def reason(error: Exception) -> str:
    """The last line of an error, without the trace of TVM's native code before it."""
    line = " ".join(str(error).strip().split("\n")[-1].split())
    return _OPERATOR.sub(r"\1", line)[:300] or repr(error)
