"""Channels that go where each group's number is given, by the operator that they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from tvmcomp.compress.channels.cost import width
from tvmcomp.compress.channels.groups import Group, Groups, find_groups
from tvmcomp.compress.channels.repair import repaired
from tvmcomp.compress.channels.study import worth_of
from tvmcomp.compress.samples import Sample
from tvmcomp.errors import ConfigError
from tvmcomp.progress import Progress


def with_widths(
    model: onnx.ModelProto,
    samples: Sequence[Sample],
    left: Mapping[str, int],
    seed: int,
    progress: Progress,
    folder: Path | None = None,
) -> onnx.ModelProto:
    """A copy of ``model`` with so many channels of each operator, fitted to what they now read.

    Args:
        model: a prepared graph in float.
        samples: to judge the channels' worth by, and to fit.
        left: operator -> channels.
        seed, progress, folder: as of :func:`tvmcomp.compress.channels.study.study`.

    Raises:
        ConfigError: as :func:`least_worth`.
        TvmcompError: torch can't compute the network.
    """
    groups = find_groups(model)
    gone = least_worth(groups, worth_of(groups, samples, seed, progress, folder), left)
    progress.stage("least squares")
    return repaired(groups, gone, samples)


def named_groups(groups: Groups) -> dict[str, Group]:
    """Groups by the operator that they come from; without those that share it."""
    counts = Counter(group.name for group in groups.groups)
    return {group.name: group for group in groups.groups if counts[group.name] == 1}


def least_worth(
    groups: Groups, worth: Mapping[int, float], left: Mapping[str, int]
) -> frozenset[int]:
    """The classes that go so that ``left`` channels of each operator stay: those worth least.

    Raises:
        ConfigError: an operator has no channels that can go, or fewer than are to be left.
    """
    named = named_groups(groups)
    gone: set[int] = set()
    for name, channels in left.items():
        group = named.get(name)
        if group is None:
            raise ConfigError(
                f"no channels can be cut by the name {name!r}",
                hint=f"There are: {', '.join(named)}.",
            )
        stay, rest = divmod(channels, width(groups, group))
        if rest or not 0 < stay <= len(group.classes):
            raise ConfigError(
                f"{channels} channels of {name!r} can't be left: it has "
                f"{len(group.classes)} times {width(groups, group)}"
            )
        order = sorted(group.classes, key=lambda each: worth[each])
        gone.update(order[: len(order) - stay])
    return frozenset(gone)
