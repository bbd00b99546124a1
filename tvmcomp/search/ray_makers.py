"""Candidates on a Ray cluster: several networks are made, trained and built at once.

Each machine of the cluster needs Python and tvmcomp with the extra ``compress`` as this one has
them. The network and the samples travel there once; what comes back is two files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvmcomp.compress.cost import OperatorTimes
from tvmcomp.compress.output_file import write_output
from tvmcomp.errors import ToolError
from tvmcomp.progress import NoProgress
from tvmcomp.search.candidate import Candidate
from tvmcomp.search.recipes import Recipes, build_network
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.ray_builders import join


@dataclass(frozen=True)
class Made:
    """A candidate's files: its network, and what was built of it."""

    network: bytes
    artifact: bytes


class RayMakers:
    """A cluster, joined or started; it ends with this process.

    Attributes:
        count: how many candidates are made at once.
    """

    def __init__(self, address: str | None, recipes: Recipes, target: TargetDescription) -> None:
        """Args:
        address: as ``ray.init`` takes it; None for one that Ray finds, or starts here.
        recipes, target: of all candidates.

        Raises:
            ToolError: Ray is not installed, or the cluster does not answer.
        """
        self._ray, _ = join(address)
        self.count = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._make = self._ray.remote(num_cpus=1)(made)
        self._shared = self._ray.put((recipes, target))

    def make(
        self, candidates: Collection[Candidate], seconds: float
    ) -> Iterator[tuple[Candidate, Made]]:
        """Make candidates, each as soon as it is there.

        Args:
            candidates: what is made.
            seconds: that each may train for.

        Raises:
            ToolError: one can't be made.
        """
        doing = {self._make.remote(self._shared, c, seconds): c for c in candidates}
        while doing:
            (ready,), _ = self._ray.wait([*doing], num_returns=1)
            candidate = doing.pop(ready)
            try:
                yield candidate, self._ray.get(ready)
            except self._ray.exceptions.RayError as error:
                raise ToolError(
                    f"the Ray cluster can't make a network: {str(error).strip().splitlines()[-1]}",
                    hint="Each of its machines needs this version of tvmcomp[compress].",
                ) from error


def helpers_at(where: str, recipes: Recipes, target: TargetDescription) -> RayMakers:
    """The cluster at ``where``: ``ray`` for one that Ray finds or starts here, or its address."""
    return RayMakers(None if where == "ray" else where, recipes, target)


def made(shared: tuple[Recipes, TargetDescription], candidate: Candidate, seconds: float) -> Any:
    """What a process of the cluster does: make and build one."""
    recipes, target = shared
    times = OperatorTimes(target)
    with tempfile.TemporaryDirectory(prefix="tvmcomp-ray-") as folder:
        network, artifact = Path(folder, "model.onnx"), Path(folder, "model.tvmc")
        write_output(recipes.make(candidate, seconds, times, Path(folder), NoProgress()), network)
        build_network(network, target, recipes.shapes, candidate.quant, artifact)
        return Made(network.read_bytes(), artifact.read_bytes())
