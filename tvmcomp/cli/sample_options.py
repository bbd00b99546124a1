"""The options of commands that fit networks to samples and judge them: which samples, by what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tvmcomp.cli.eval import METRICS

F = TypeVar("F", bound=Callable[..., Any])


def sample_options(*, required: bool, judged: str) -> Callable[[F], F]:
    """Add ``--data``, ``--labels``, ``--eval`` and ``--metric``.

    Args:
        required: whether there is nothing to do without ``--data``.
        judged: what is said of ``--eval``.
    """

    def decorate(command: F) -> F:
        for option in (
            click.option(
                "--metric",
                type=click.Choice(METRICS),
                help="[default: top1 with labels, else agreement; sqnr where outputs are no class "
                "scores]",
            ),
            click.option(
                "--eval",
                "evaluation",
                metavar="D.npz",
                type=click.Path(path_type=Path),
                help=judged,
            ),
            click.option(
                "--labels",
                metavar="PATH",
                type=click.Path(path_type=Path),
                help="Labels of --data, one a sample: an .npy, or an .npz with `label`.",
            ),
            click.option(
                "--data",
                metavar="PATH",
                required=required,
                type=click.Path(path_type=Path),
                help="Samples of what the network will see: an .npz, or a folder of .npy, .npz or "
                "images.",
            ),
        ):
            command = option(command)
        return command

    return decorate
