"""What each group of a network could lose, and what that would save: before anything is done."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from tvmcomp.compress.channels.choice import Widths, descent
from tvmcomp.compress.channels.cost import Meter, NetworkCost
from tvmcomp.compress.channels.groups import Groups, find_groups
from tvmcomp.compress.channels.importance import DRAWS, importance
from tvmcomp.compress.kept_numbers import read_numbers, write_numbers
from tvmcomp.compress.original import content_digest
from tvmcomp.compress.samples import Sample
from tvmcomp.compress.sensitivity import Sensitivity
from tvmcomp.progress import Progress

#: Shares of a group that :meth:`Study.table` tells of.
_SHARES = (0.25, 0.5)
_WORTH = "worth.json"


@dataclass(frozen=True)
class Study:
    """A network's groups, with what their channels are worth and cost.

    Attributes:
        groups: of the network.
        importance: of each class.
        cost: of the network.
    """

    groups: Groups
    importance: Mapping[int, float]
    cost: NetworkCost

    def descent(self, keep: Collection[str] = ()) -> Iterator[Widths]:
        """See :func:`tvmcomp.compress.channels.choice.descent`."""
        return descent(self.groups, self.importance, self.cost, keep)

    def table(self) -> list[Sensitivity]:
        """For each group, what a quarter and a half less would save and harm."""
        rows = []
        all_ = self.cost.all()
        for g, group in enumerate(self.groups.groups):
            order = sorted(group.classes, key=lambda c: self.importance[c])
            for share in _SHARES:
                gone = order[: round(share * len(order))]
                left = len(order) - len(gone)
                saved = self.cost.saved(all_, g, self.cost.share(g, left))
                width = self.cost.vectors[g].width
                rows.append(
                    Sensitivity(
                        name=group.name,
                        kind="channels",
                        count=len(order) * width,
                        left=left * width,
                        saved=saved / self.cost.whole,
                        harm=sum(self.importance[each] for each in gone),
                        operators=tuple(dict.fromkeys((*group.makers, *group.readers))),
                    )
                )
        return rows


def study(
    model: onnx.ModelProto,
    samples: Sequence[Sample],
    meter: Meter,
    lanes: int,
    seed: int,
    progress: Progress,
    folder: Path | None = None,
) -> Study:
    """Find the groups of a network, what they are worth on samples, and what they cost.

    Args:
        model: prepared.
        samples: that importance is judged on.
        meter: what the cost is.
        lanes: channels of a vector of the target.
        seed: of what is drawn.
        progress: is told of each stage.
        folder: keeps what channels are worth, for a run of the same samples and seed; None keeps
            nothing.

    Raises:
        TvmcompError: torch can't compute the network, an operator can't be measured, or there is no
            room in the folder.
    """
    groups = find_groups(model)
    worth = worth_of(groups, samples, seed, progress, folder)
    progress.stage("what channels cost")
    return Study(groups, worth, NetworkCost(groups, meter, lanes))


def worth_of(
    groups: Groups, samples: Sequence[Sample], seed: int, progress: Progress, folder: Path | None
) -> dict[int, float]:
    """What each class is worth, as it is kept in the folder or found anew; as of :func:`study`."""
    of = f"{content_digest(groups.model)} {seed} {len(samples)}"
    path = None if folder is None else folder / _WORTH
    if path is not None:
        known = {int(root): value for root, value in read_numbers(path, of).items()}
        if known:
            return known
    step = progress.stage("what channels are worth", DRAWS)
    found = importance(groups, samples, seed, step)
    if path is not None:
        write_numbers(path, of, {str(root): value for root, value in found.items()})
    return found
