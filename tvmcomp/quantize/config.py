"""The quantization config: a TOML file that says how to quantize, operator by operator."""

from __future__ import annotations

import functools
import math
import os
import typing
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import msgspec

from tvmcomp.errors import ConfigError
from tvmcomp.quantize.images import Preprocess
from tvmcomp.quantize.observers import OBSERVERS
from tvmcomp.toml_settings import as_struct, read_toml

#: Of the observers it has the best signal-to-noise ratio on every distribution tried (normal,
#: Laplace, Student's t, bimodal, one-sided, sparse), by up to 25 dB over percentile and entropy
#: where rare large values carry the signal (softmax, outliers), and needs no parameter.
DEFAULT_OBSERVER = "mse"

#: Signal-to-quantization-noise ratio at the network's outputs that the accuracy guard keeps. Of the
#: values tried on eleven small networks of all kinds (``python -m benchmarks.accuracy kinds
#: --sweep``) the smallest with which none lost half a point of its score (10 dB lost 3.1, 15 dB
#: 1.1), and with which the classifiers of ``benchmarks/zoo`` lose at most 0.3.
DEFAULT_MIN_SQNR_DB = 20.0

OFF = "off"


class SettingError(ConfigError, ValueError):
    """A setting is not what it may be; msgspec takes a ValueError for a fault of the document."""


#: A configuration is made for every operator of a network, again and again.
_declared_types = functools.cache(typing.get_type_hints)


def _check_types(settings: msgspec.Struct) -> None:
    """Raise SettingError where a field has another type than it is declared with."""
    for name, kind in _declared_types(type(settings)).items():
        try:
            msgspec.convert(getattr(settings, name), kind)
        except msgspec.ValidationError as error:
            raise SettingError(f"{name}: {error}") from None


class OperatorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the operators that a rule matches are quantized; None leaves it to the other rules.

    Attributes:
        dtype: the type it computes in; ``float`` keeps it out of quantization.
        observer: decides the ranges of its inputs and outputs; a name in ``OBSERVERS``.
    """

    dtype: Literal["int8", "float"] | None = None
    observer: str | None = None

    def __post_init__(self) -> None:
        _check_types(self)
        _check_observer(self.observer)


class CalibrationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How calibration data is read.

    Attributes:
        max_samples: at most so many samples are used.
        images: how images become inputs.
    """

    max_samples: int | None = None
    images: Preprocess | None = None

    def __post_init__(self) -> None:
        _check_types(self)
        if self.max_samples is not None and self.max_samples < 1:
            raise SettingError("max_samples must be at least 1")


class QuantConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a network is quantized.

    A rule's pattern is an operator's name, its kind (``nn.conv2d``), or a glob (``*``, ``?``,
    ``[abc]``) of either.

    Attributes:
        observer: decides every range that no rule speaks of.
        min_sqnr_db: what the accuracy guard keeps at the network's outputs, in dB; None (in TOML
            ``"off"``) quantizes all.
        round: ``best`` looks for integers of the weights that harm the results least on the
            samples, and keeps the nearest where it finds none; ``nearest`` does not look.
        keep_float: patterns; short for rules with ``dtype = "float"``.
        allow_nan: quantize also what has NaN among its constants.
        operators: rules, pattern to settings.
        calibration: how calibration data is read.
    """

    observer: str = DEFAULT_OBSERVER
    min_sqnr_db: float | None = DEFAULT_MIN_SQNR_DB
    round: Literal["nearest", "best"] = "best"
    keep_float: tuple[str, ...] = ()
    allow_nan: bool = False
    operators: dict[str, OperatorConfig] = {}
    calibration: CalibrationConfig = CalibrationConfig()

    def __post_init__(self) -> None:
        _check_types(self)
        _check_observer(self.observer)
        if self.min_sqnr_db is not None and not (
            math.isfinite(self.min_sqnr_db) and self.min_sqnr_db > 0
        ):
            raise SettingError('min_sqnr_db must be a number of decibels above 0, or "off"')
        for pattern in self.keep_float:
            if pattern in self.operators and self.operators[pattern].dtype == "int8":
                raise SettingError(f"{pattern!r} is int8 in operators and float in keep_float")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> QuantConfig:
        """Read a config from a TOML file.

        Raises:
            ConfigError: it can't be read, or a key or value is not one that is known; the error
                names the key and says what is allowed there.
        """
        document = read_toml(Path(path))
        limit = document.get("min_sqnr_db")
        if limit == OFF:
            document["min_sqnr_db"] = None
        elif isinstance(limit, str):
            raise ConfigError(
                f"{limit!r} is neither a number of decibels nor {OFF!r}",
                where=f"{path}, min_sqnr_db",
            )
        rules = document.get("operators")
        if isinstance(rules, dict):
            # One by one, as an error inside a dict would not name the rule.
            for pattern, rule in rules.items():
                as_struct(rule, OperatorConfig, f'{path}, operators."{pattern}"')
        return as_struct(document, cls, str(path))

    def for_operator(self, name: str, kind: str) -> OperatorConfig:
        """The settings of one operator, with no None left.

        Each setting comes from the most specific rule that has it: one that matches the name
        before one that matches only the kind, then one spelled out before a glob, then the glob
        with more literal characters; of equals, keep_float, then the one further down the file.

        Args:
            name: the operator's name in the source model.
            kind: its Relax operator without ``relax.`` (``nn.conv2d``).
        """
        ranked = []
        for position, (pattern, rule) in enumerate(self._rules()):
            by_name = _matches(pattern, name)
            if by_name or _matches(pattern, kind):
                exact = pattern in (name, kind)
                ranked.append(((by_name, exact, _literal_length(pattern), position), rule))
        ranked.sort(key=lambda entry: entry[0])
        dtype: Literal["int8", "float"] = "int8"
        observer = self.observer
        for _, rule in ranked:  # the most specific comes last and overrides
            dtype = rule.dtype or dtype
            observer = rule.observer or observer
        return OperatorConfig(dtype, observer)

    def unmatched(self, operators: Iterable[tuple[str, str]]) -> list[str]:
        """The patterns that match none of the ``operators``, given as (name, kind), sorted.

        A build must report them: they are misspelled, or meant for another network.
        """
        texts = {text for pair in operators for text in pair}
        patterns = {pattern for pattern, _ in self._rules()}
        return sorted(p for p in patterns if not any(_matches(p, text) for text in texts))

    def _rules(self) -> Iterator[tuple[str, OperatorConfig]]:
        yield from self.operators.items()
        for pattern in self.keep_float:
            yield pattern, OperatorConfig(dtype="float")


def _check_observer(name: str | None) -> None:
    if name is not None and name not in OBSERVERS:
        raise SettingError(f"there is no observer {name!r}; known are {', '.join(OBSERVERS)}")


def _matches(pattern: str, text: str) -> bool:
    # Names may hold brackets, so equality counts before the glob's own meaning of them.
    return pattern == text or fnmatchcase(text, pattern)


def _literal_length(pattern: str) -> int:
    return sum(character not in "*?" for character in pattern)
