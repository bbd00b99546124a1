"""Measure kernels in their network on this machine: a pass over it measures one of every task."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tvmcomp.tuning.interrupts import interrupts_held
from tvmcomp.tuning.jobs import WHOLE, Failed, Measured
from tvmcomp.tuning.judge import unsteady
from tvmcomp.tuning.measure import ROUNDS, Bench
from tvmcomp.tuning.network import Network
from tvmcomp.tuning.races import Attempt, Kernel, remove_others
from tvmcomp.tuning.task_search import TaskSearch
from tvmcomp.tvm_import import tvm

Runner = tuple[TaskSearch, Kernel]
#: Seconds a pass, by kernel: one a round.
_Times = Mapping[str, tuple[float, ...]]


class NetworkRaces:
    """The :class:`tvmcomp.tuning.races.Races` of a network that runs on this machine."""

    def __init__(self, bench: Bench, network: Network) -> None:
        self._bench = bench
        self._network = network
        self._baseline: _Times = {}
        self._built: set[Path] = set()

    def prepare(self, searches: Sequence[TaskSearch]) -> Iterator[tuple[TaskSearch, Failed]]:
        """Run the network as it is, which measures every baseline at once."""
        self._bench.use_network(self._network)
        reply = self._bench.race_in_network([], ROUNDS)
        if isinstance(reply, Failed):
            yield from ((search, reply) for search in searches)
            return
        (self._baseline,) = reply
        for search in searches:
            if not self._kernels(search) & self._baseline.keys():
                yield search, Failed("run error", "the network does not call it")

    def baseline(self, search: TaskSearch) -> Measured:
        """See :class:`tvmcomp.tuning.races.Races`."""
        return Measured((self._seconds(search, self._baseline),))

    def build(self, attempts: Sequence[Attempt]) -> Iterator[tuple[int, Kernel | Failed]]:
        """A task's candidates go into one library; each alone where that fails."""
        functions: dict[int, dict[str, Any]] = {}
        for indices in _variants([search for search, _ in attempts]):
            for index, made in self._placed(attempts, indices):
                if isinstance(made, Failed):
                    yield index, made
                else:
                    functions[index] = made
        groups: dict[str, list[int]] = {}
        for index in functions:
            groups.setdefault(attempts[index][0].workload.hash, []).append(index)
        again = []
        for group, built in self._build(list(groups.values()), functions):
            if isinstance(built, Failed) and len(group) > 1:
                again += [[index] for index in group]
            else:
                yield from ((i, built if isinstance(built, Failed) else built[i]) for i in group)
        for (index,), built in self._build(again, functions):
            yield index, built if isinstance(built, Failed) else built[index]

    def _build(
        self, groups: Sequence[list[int]], functions: Mapping[int, Mapping[str, Any]]
    ) -> Iterator[tuple[list[int], dict[int, Kernel] | Failed]]:
        """Build each group as a library: the functions of its candidate i are called NAME__i."""
        modules = [
            tvm.IRModule(
                {
                    f"{name}__{index}": func.with_attr("global_symbol", f"{name}__{index}")
                    for index in group
                    for name, func in functions[index].items()
                }
            )
            for group in groups
        ]
        texts = [str(tvm.ir.save_json(module)) for module in modules]
        for at, built in self._bench.build([(text, None) for text in texts]):
            if isinstance(built, Failed):
                yield groups[at], built
                continue
            self._built.add(built)
            yield (
                groups[at],
                {
                    i: Kernel({name: (built, f"{name}__{i}") for name in functions[i]})
                    for i in groups[at]
                },
            )

    def _placed(
        self, attempts: Sequence[Attempt], indices: list[int]
    ) -> Iterator[tuple[int, dict[str, Any] | Failed]]:
        """Of candidates of different tasks, the functions that the network would call."""
        try:
            yield from self._functions(attempts, indices).items()
        except Exception as error:  # noqa: BLE001  generic rules may make anything
            if len(indices) == 1:
                yield indices[0], Failed("build error", f"its network can't call it: {error}"[:300])
                return
            for index in indices:
                yield from self._placed(attempts, [index])

    def _functions(
        self, attempts: Sequence[Attempt], indices: list[int]
    ) -> dict[int, dict[str, Any]]:
        schedules = {
            name: attempts[index][1].schedule.mod["main"]
            for index in indices
            for name in attempts[index][0].names
        }
        with interrupts_held():
            module = self._network.rescheduled(schedules)
        new = {str(var.name_hint): func for var, func in module.functions.items()}
        return {
            index: {name: new[name] for name in self._kernels(attempts[index][0]) & new.keys()}
            for index in indices
        }

    def race(
        self, runners: Sequence[Runner], rounds: int
    ) -> Iterator[tuple[int, Measured | Failed]]:
        """A variant of the network holds a candidate of each task.

        Where one crashes or hangs, each variant is run alone, and of one that still does, each
        candidate. Those whose rounds disagree race again, once.
        """
        suspicious: dict[int, Measured] = {}
        for index, result in self._race_all(runners, rounds):
            if isinstance(result, Measured):
                baseline, run_secs = result.run_secs
                if unsteady(run_secs, baseline):
                    suspicious[index] = result
                    continue
            yield index, result
        if not suspicious:
            return
        repeated = dict(self._race_all([runners[index] for index in suspicious], rounds))
        for at, (index, first) in enumerate(suspicious.items()):
            again = repeated[at]
            if isinstance(again, Measured):
                both = zip(first.run_secs, again.run_secs, strict=True)
                again = Measured(tuple(one + other for one, other in both))
            yield index, again

    def _race_all(
        self, runners: Sequence[Runner], rounds: int
    ) -> Iterator[tuple[int, Measured | Failed]]:
        variants = _variants([search for search, _ in runners])
        yield from self._race(runners, variants, rounds)

    def _race(
        self, runners: Sequence[Runner], variants: list[list[int]], rounds: int
    ) -> Iterator[tuple[int, Measured | Failed]]:
        if not variants:
            return
        reply = self._run([[runners[index][1] for index in each] for each in variants], rounds)
        if not isinstance(reply, Failed):
            baseline, *others = reply
            for indices, variant in zip(variants, others, strict=True):
                for index in indices:
                    search, _ = runners[index]
                    both = (self._seconds(search, each) for each in (baseline, variant))
                    yield index, Measured(tuple(both))
        elif len(variants) > 1:
            for alone in variants:
                yield from self._race(runners, [alone], rounds)
        elif len(variants[0]) > 1:
            for index in variants[0]:
                yield from self._race(runners, [[index]], rounds)
        else:
            yield variants[0][0], reply

    def _run(
        self, variants: Sequence[Sequence[Kernel]], rounds: int
    ) -> tuple[_Times, ...] | Failed:
        """Run the network as it is, and variants of it."""
        replaced = [
            {
                name: (str(path), function)
                for kernel in kernels
                for name, (path, function) in kernel.functions.items()
            }
            for kernels in variants
        ]
        return self._bench.race_in_network(replaced, rounds)

    def whole(self, kernels: Sequence[Kernel], rounds: int) -> Measured | Failed:
        """See :class:`tvmcomp.tuning.races.Races`."""
        reply = self._run([kernels], rounds)
        return reply if isinstance(reply, Failed) else Measured(tuple(t[WHOLE] for t in reply))

    def keep(self, kernels: Collection[Kernel]) -> None:
        """See :class:`tvmcomp.tuning.races.Races`."""
        self._built = remove_others(self._built, kernels)

    def _kernels(self, search: TaskSearch) -> set[str]:
        return {kernel for kernel, task in self._network.kernels.items() if task in search.names}

    def _seconds(self, search: TaskSearch, times: _Times) -> tuple[float, ...]:
        """Of a call: the mean over the calls in a pass."""
        columns = [times[kernel] for kernel in self._kernels(search) if kernel in times]
        return tuple(sum(column) / search.task.weight for column in zip(*columns, strict=True))


def _variants(searches: Sequence[TaskSearch]) -> list[list[int]]:
    """Indices of ``searches`` in groups, as few as hold no task twice."""
    variants: list[list[int]] = []
    seen: dict[str, int] = {}
    for index, search in enumerate(searches):
        number = seen.get(search.workload.hash, 0)
        seen[search.workload.hash] = number + 1
        if number == len(variants):
            variants.append([])
        variants[number].append(index)
    return variants
