"""The error kinds a user meets. Each message says what is wrong, where, and what to do next."""

from __future__ import annotations


class TvmcompError(Exception):
    """Base of every error that is the input's or the environment's, not the program's.

    The command line prints it as one message and exits with status 2.

    Args:
        what: what is wrong, in one sentence.
        where: the file, node, input, device or line that it is wrong in.
        hint: what the person at the keyboard can do next.
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.hint}" if self.hint else text


class ModelError(TvmcompError):
    """The model file can't be read, or holds something that can't be compiled."""


class InputError(TvmcompError):
    """A tensor given to a model has the wrong name, shape, dtype or content."""


class CalibrationError(TvmcompError):
    """The calibration data can't be used."""


class ConfigError(TvmcompError):
    """A configuration file or a combination of options makes no sense."""


class TargetError(TvmcompError):
    """The target is unknown, badly described, or can't do what is asked of it."""


class ToolError(TvmcompError):
    """A tool of the build (linker, nvcc) is missing or failed."""


class ArtifactError(TvmcompError):
    """An artifact is damaged, of another version, or for another machine."""


class DeviceError(TvmcompError):
    """A device does not answer, is busy, or is not what the artifact was built for."""


class LogError(TvmcompError):
    """A tuning log can't be read or written."""
