"""What the tuner asks of a search strategy; SpaceSearch and RuleSearch are the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tvmcomp.tuning.space import Candidate


class SearchStrategy(Protocol):
    """A source of candidates that learns from what they turn out to be.

    Attributes:
        batch: how many it would like to be asked for at once.
    """

    batch: int

    def propose(self, count: int) -> list[Candidate]:
        """Up to ``count`` new candidates; none when there is nothing left to try."""

    def learn(self, candidates: Sequence[Candidate], seconds: Sequence[float | None]) -> None:
        """Be told the time of each candidate, None for one that failed."""
