"""What a search starts with: the network, samples to fit, choose and judge by, and its folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tvmcomp import __version__
from tvmcomp.compress.data import read_data
from tvmcomp.compress.fake_quantize.fold import fold_affine
from tvmcomp.compress.fake_quantize.plan import plan_model
from tvmcomp.compress.original import content_digest, read_original
from tvmcomp.errors import ConfigError
from tvmcomp.frontend import ModelSource
from tvmcomp.progress import Progress
from tvmcomp.runtime.metrics import METRICS, Metric
from tvmcomp.search.device_times import device_times
from tvmcomp.search.folder import Folder
from tvmcomp.search.judging import Judging
from tvmcomp.search.making import Maker
from tvmcomp.search.network_times import NetworkTimes
from tvmcomp.search.ray_makers import helpers_at
from tvmcomp.search.recipes import Recipes
from tvmcomp.search.workbench import Workbench


def prepared(
    model: ModelSource,
    path: Path,
    data: Any,
    evaluation: Any,
    labels: Any,
    metric: Metric | None,
    seed: int,
    target: str,
    device: str | None,
    progress: Progress,
    binding: Mapping[str, Any],
    builders: str | None = None,
) -> Maker:
    """Read what a search is given; the arguments are those of
    :func:`tvmcomp.search.search.search`.

    Raises:
        TvmcompError: something of it does not do.
    """
    if metric is not None and metric not in METRICS:
        raise ConfigError(f"metric is {metric!r}; there are {', '.join(METRICS)}")
    original = read_original(model, **binding)
    if any(node.op_type == "DequantizeLinear" for node in original.prepared.graph.node):
        raise ConfigError(
            "is quantized already, and there is little left to choose",
            where=original.source,
            hint="Give the float network it was made of.",
        )
    if not plan_model(fold_affine(original.prepared)).weights:
        raise ConfigError(
            "has no weights that products are computed with: there is nothing to choose",
            where=original.source,
            hint="`tvmcomp build` makes it as fast as it can be.",
        )
    given = read_data(
        data,
        original.signature,
        labels=labels,
        evaluation=evaluation,
        images=None,
        seed=seed,
    )
    judging = Judging(original, given, metric, evaluation is not None, seed)
    times = device_times(target, device)
    folder = Folder(
        path,
        {
            "model": original.digest,
            "prepared": content_digest(original.prepared),
            "data": given.digest,
            "metric": judging.metric,
            "target": str(times.target),
            "device": device,
            "seed": seed,
            "version": __version__,
        },
    )
    options = {"data": data, "eval": evaluation, "labels": labels}
    files = {n: os.fspath(v) for n, v in options.items() if isinstance(v, str | os.PathLike)}
    recipes = Recipes(original, given.parts, judging.choose, judging.metric, seed)
    helpers = None if builders is None else helpers_at(builders, recipes, times.target)
    log = NetworkTimes(str(times.target), device) if times.measured else None
    bench = Workbench(times.target, device, recipes.shapes, log, progress)
    return Maker(
        original, given, recipes, helpers, judging, times, bench, folder, target, device, seed,
        progress, files,
    )  # fmt: skip
