"""Channels that are given by name: so many stay, those worth most."""

from __future__ import annotations

from pathlib import Path

import pytest
from needed import package
from networks import classifier, images

package("torch", "compress")

from tvmcomp.compress.channels.groups import find_groups  # noqa: E402
from tvmcomp.compress.channels.named_widths import (  # noqa: E402
    least_worth,
    named_groups,
    with_widths,
)
from tvmcomp.compress.original import read_original  # noqa: E402
from tvmcomp.errors import ConfigError  # noqa: E402
from tvmcomp.progress import NoProgress  # noqa: E402


def test_so_many_stay(tmp_path: Path) -> None:
    model = read_original(classifier(tmp_path / "net.onnx")).prepared
    name, group = next(iter(named_groups(find_groups(model)).items()))
    half = len(group.classes) // 2
    samples = [{"x": each[None]} for each in images(8, 3, 16, 16)]
    smaller = with_widths(model, samples, {name: half}, 0, NoProgress())
    again = named_groups(find_groups(smaller))[name]
    assert len(again.classes) == half


def test_those_worth_least_go(tmp_path: Path) -> None:
    groups = find_groups(read_original(classifier(tmp_path / "net.onnx")).prepared)
    name, group = next(iter(named_groups(groups).items()))
    worth = {each: float(i % 5) for i, each in enumerate(group.classes)}
    gone = least_worth(groups, worth, {name: len(group.classes) - 2})
    assert sorted(worth[each] for each in gone) == [0.0, 0.0]


def test_what_can_not_be_left(tmp_path: Path) -> None:
    groups = find_groups(read_original(classifier(tmp_path / "net.onnx")).prepared)
    name, group = next(iter(named_groups(groups).items()))
    with pytest.raises(ConfigError, match="no channels can be cut by the name 'other'"):
        least_worth(groups, {}, {"other": 4})
    with pytest.raises(ConfigError, match="can't be left"):
        least_worth(groups, {}, {name: len(group.classes) + 1})
