"""What is learnt of a network's costs from the networks that are measured on the way."""

from __future__ import annotations

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.search.candidate import INT8, ORIGINAL, Candidate
from tvmcomp.search.making import Maker
from tvmcomp.search.operator_times import identifier, of_nodes
from tvmcomp.search.points import Point
from tvmcomp.search.proposals import Learnt, Predictions, plain
from tvmcomp.search.tables import Choice, Tables
from tvmcomp.search.time_model import Seen


class Learning:
    """Predictions, and what they are corrected by.

    Attributes:
        predictions: as well as is known by now.
    """

    def __init__(self, maker: Maker, tables: Tables) -> None:
        """Args:
        maker: measures candidates.
        tables: as they were measured.
        """
        self._maker, self._tables = maker, tables
        self._learnt: dict[str, Learnt] = {}
        self.predictions = Predictions(tables)

    def begin(self, original: Point, int8: Point) -> None:
        """Learn from the networks whose choice is plain."""
        in_float = plain(self._tables, lambda config: config.format.compute == "float32")
        self.learn(in_float, ORIGINAL, original)
        self.learn(self._as_built(in_float), INT8, int8)

    def learn(self, choice: Choice, candidate: Candidate, point: Point) -> None:
        """Learn from a network of this choice."""
        times = self._maker.timed(candidate).operators_ms
        units = tuple(of_nodes(times, unit.nodes) for unit in self._tables.units) if times else ()
        seen = Seen(choice, point.p50_ms, units)
        self._learnt[point.id] = Learnt(seen, point.file_bytes, point.peak_memory_bytes)
        self.predictions.fit(self._learnt.values())

    def _as_built(self, in_float: Choice) -> Choice:
        """The choice of int8 alone: what would do much harm stayed in float."""
        int8 = plain(self._tables, lambda config: config.format.bits == 8)
        operators = Artifact.load(self._maker.artifact(INT8)).metadata.operators
        built = {op.name.partition("__")[0] for op in operators if op.macs and op.dtype == "int8"}
        pairs = zip(self._tables.units, int8.configs, in_float.configs, strict=True)
        return Choice(
            int8.levels,
            tuple(
                i if any(identifier(node) in built for node in unit.nodes) else f
                for unit, i, f in pairs
            ),
        )
