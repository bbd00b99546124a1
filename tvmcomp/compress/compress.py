"""``tvmcomp.compress``: a network and samples in; a smaller network and the proof of it out.

    read -> prepare -> divide the samples -> technique, technique, … -> finish -> judge -> write

What is worse than ``max_drop`` allows is not written: the original is kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import onnx

from tvmcomp import __version__, arguments, targets
from tvmcomp.compress.called_metric import CalledMetric
from tvmcomp.compress.cost import OperatorTimes
from tvmcomp.compress.data import Data, Evaluation, Labels, SampleSource, read_data
from tvmcomp.compress.fake_quantize import finish
from tvmcomp.compress.look import look
from tvmcomp.compress.measure import Measurement
from tvmcomp.compress.network import TrainableNetwork
from tvmcomp.compress.original import Original, content_digest, read_original
from tvmcomp.compress.output_file import output_path, write_output
from tvmcomp.compress.proof import Proof, Side
from tvmcomp.compress.recipe import RecipeSource, recipe_of
from tvmcomp.compress.run_folder import RunFolder
from tvmcomp.compress.running import Runner, compared, gives_scores
from tvmcomp.compress.score import Score, check_metric, default_metric
from tvmcomp.compress.sensitivity import Sensitivity
from tvmcomp.compress.steps import Steps
from tvmcomp.compress.stored_weights import in_stored_type
from tvmcomp.compress.technique import Suggestion, all_techniques
from tvmcomp.compress.written_model import written_model
from tvmcomp.errors import ConfigError
from tvmcomp.frontend import ModelSource
from tvmcomp.progress import NoProgress, Progress
from tvmcomp.runtime.metrics import METRICS, Metric
from tvmcomp.temporary_folder import temporary_folder

#: Seconds that training may take, and points that the score may lose, where nobody says.
DEFAULT_BUDGET = 1200.0
DEFAULT_MAX_DROP = 1.0


@dataclass(frozen=True)
class CompressResult:
    """What a run made.

    Attributes:
        model: the smaller network; where it was not accepted too. None where nothing was asked for.
        proof: what it costs and what was gained; None as ``model``.
        suggestions: what could be tried, where nothing was asked for.
        sensitivities: what parts of the network could lose, where samples are given then.
    """

    model: onnx.ModelProto | None = None
    proof: Proof | None = None
    suggestions: tuple[Suggestion, ...] = ()
    sensitivities: tuple[Sensitivity, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether there is a smaller network that is no worse than allowed."""
        return self.proof is not None and self.proof.accepted


def compress(
    model: ModelSource,
    output: str | os.PathLike[str] | None = None,
    data: SampleSource | None = None,
    *,
    eval: Evaluation | None = None,
    labels: Labels | None = None,
    metric: Metric | CalledMetric | None = None,
    recipe: RecipeSource | None = None,
    max_drop: float = DEFAULT_MAX_DROP,
    budget: float | str = DEFAULT_BUDGET,
    seed: int = 0,
    target: str | os.PathLike[str] = "native",
    device: str | None = None,
    measure: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    dims: Mapping[str, int] | None = None,
    fixed: Mapping[str, Any] | None = None,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    signature: str | None = None,
    **options: Any,
) -> CompressResult:
    """Make a trained network smaller, from samples of what it will see.

    Args:
        model: as of :func:`tvmcomp.build`.
        output: where to write the smaller ONNX model; None writes nothing. What is not accepted is
            never written, and never is ``model`` itself.
        data: samples, labelled or not; as the ``calibration`` of :func:`tvmcomp.build`. They are
            divided into a part to fit by, one to watch and one to judge on.
        eval: samples to judge on in their place: an .npz as of :func:`tvmcomp.evaluate`, with
            ``label`` where they are labelled; or its arrays, by name.
        labels: of ``data``, one a sample in their order: an array, or the path of an .npy or of
            an .npz with ``label``. Training uses them beside what the original gives.
        metric: ``top1``, ``top5``, ``agreement``, ``sqnr`` or ``cosine``; a function of the outputs
            by name, each (N, *shape), and of the labels, (N,) or None, that gives points, more
            being better; None takes what suits.
        recipe: a TOML file, or a list of steps; see :mod:`tvmcomp.compress.recipe`.
        max_drop: points that the score may lose; see :mod:`tvmcomp.compress.score`.
        budget: what training may take: seconds, or a text like ``20m``.
        seed: of all that is drawn; the same seed gives the same network.
        target: what the network is built for to be measured: a name, or a TOML file's path.
        device: where it is measured; None is this machine.
        measure: whether to build and time it before and after.
        checkpoint: a folder for what is done so far; None is one beside ``output``. It is removed
            at the end. The same call goes on from it.
        progress: is told of each stage.
        shapes, dims, fixed, example_inputs, dynamic_shapes, signature: as of
            :func:`tvmcomp.build`.
        options: what to do, in place of a recipe: ``bits=4``, ``quant="int8"``, ``distil=True``, …:
            the options of the command. With none, nothing is done but to suggest some, and to say
            what parts of the network could lose if there are samples.

    Raises:
        TvmcompError: the model, samples, options, recipe or target don't do; the message says
            which and what to do.
    """
    chosen = recipe_of(recipe, options)
    allowed = _max_drop(max_drop)
    seconds = arguments.duration(budget, "budget")
    seed = arguments.integer(seed, "seed", 0, 2**32 - 1)
    if metric is not None and not callable(metric) and metric not in METRICS:
        raise ConfigError(
            f"metric is {metric!r}; there are {', '.join(METRICS)}, or a function of outputs and "
            "labels"
        )
    for method in ("stage", "status"):
        if progress is not None and not callable(getattr(progress, method, None)):
            raise ConfigError(f"progress has no method `{method}`; see tvmcomp.progress.Progress")
    progress = progress or NoProgress()
    path = None if output is None else output_path(output, model)
    if measure:  # an error in it is known now, and not after minutes of work
        targets.load(arguments.path(target, "target"))
    progress.stage("reading")
    original = read_original(
        model,
        shapes=shapes,
        dims=dims,
        fixed=fixed,
        example_inputs=example_inputs,
        dynamic_shapes=dynamic_shapes,
        signature=signature,
    )
    times = OperatorTimes(os.fspath(target), device)
    if not chosen.steps:
        found: tuple[Sensitivity, ...] = ()
        if data is not None:
            read = read_data(
                data,
                original.signature,
                labels=labels,
                evaluation=eval,
                images=chosen.images,
                seed=seed,
            )
            found = look(original.prepared, read.parts, times, seed, progress)
        return CompressResult(suggestions=suggestions(original.prepared), sensitivities=found)
    if data is None:
        raise ConfigError(
            "there are no samples to fit and to judge by",
            hint="Give some hundred of what the network will see with --data: an .npz, or a folder "
            "of .npy, .npz or images.",
        )
    given = read_data(
        data, original.signature, labels=labels, evaluation=eval, images=chosen.images, seed=seed
    )
    judged_by = metric or _suitable(original, given)
    if not callable(judged_by):
        check_metric(judged_by, original.signature, given.labels)
    described = chosen.described()
    folder = RunFolder(
        _checkpoint(checkpoint, path),
        {
            "model": original.digest,
            "prepared": content_digest(original.prepared),
            "data": given.digest,
            "recipe": described,
            "budget": seconds,
            "seed": seed,
            "times": times.identity,
            "max_drop": allowed,
            "metric": "a function" if callable(judged_by) else judged_by,
            "version": __version__,
        },
    )
    if folder.times is not None:
        times.keep_in(folder.times, folder.make)
    steps = Steps(
        original.prepared,
        given.parts,
        original.signature,
        seed,
        progress,
        folder,
        times,
        allowed,
        judged_by,
    )
    with folder.held():
        graph = steps.run(chosen.steps, seconds)
    progress.stage("judging")
    small = in_stored_type(finish(graph), original.model)
    score = judged(original, small, given, judged_by)
    accepted = score.drop <= allowed
    written, notes = written_model(small, original, json.dumps(described), given.judge)
    before, after = _sides(original, small, given, judged_by, target, device, measure, progress)
    proof = Proof(
        model=original.source,
        output=str(path) if accepted and path is not None else None,
        accepted=accepted,
        max_drop=allowed,
        score=score,
        before=before,
        after=after,
        steps=tuple(steps.proofs),
        samples={
            "fit": len(given.parts.fit),
            "watch": len(given.parts.watch),
            "judge": len(given.judge),
        },
        judged_on=given.judged_on,
        seed=seed,
        target=str(target),
        resumed=folder.resumed,
        notes=(*given.notes, *notes),
    )
    if accepted and path is not None:
        write_output(written, path)
    folder.remove()
    return CompressResult(written, proof)


def suggestions(prepared: onnx.ModelProto) -> tuple[Suggestion, ...]:
    """What could be tried with a network, of all techniques."""
    return tuple(each for kind in all_techniques().values() for each in kind.suggests(prepared))


def _suitable(original: Original, data: Data) -> Metric:
    """What to judge by where nobody says."""
    labelled = data.labels is not None
    scores = not labelled and gives_scores(Runner(original.prepared), data.parts.watch)
    return default_metric(original.signature, labelled, scores)


def judged(
    original: Original, small: onnx.ModelProto, data: Data, metric: Metric | CalledMetric
) -> Score:
    """The score of ``small`` beside the original's on samples that nothing else used."""
    (score,) = compared(
        Runner(original.prepared),
        Runner(small),
        data.judge,
        [metric],
        original.signature.outputs,
        data.labels,
    )
    return score


def _sides(
    original: Original,
    small: onnx.ModelProto,
    data: Data,
    metric: Metric | CalledMetric,
    target: str | os.PathLike[str],
    device: str | None,
    measure: bool,
    progress: Progress,
) -> tuple[Side, Side]:
    """The original and the small network, counted and, where asked for, measured."""
    as_given = Path(target)
    with temporary_folder("compress") as folder:
        measurement = Measurement(
            folder=folder,
            target=str(as_given.resolve() if as_given.exists() else target),
            device=device,
            metric=None if callable(metric) else metric,
            calibration=data.parts.fit,
            judge=data.judge,
            labels=data.labels,
        )
        graphs = {"before": original.prepared, "after": small}
        models = {name: TrainableNetwork(graph).to_onnx() for name, graph in graphs.items()}
        sides = measurement.sides(models, measure, progress)
    # What the original's own file takes, and not the prepared graph's.
    before = msgspec.structs.replace(sides["before"], onnx_bytes=original.model.ByteSize())
    return before, sides["after"]


def _checkpoint(given: str | os.PathLike[str] | None, output: Path | None) -> Path | None:
    if given is not None:
        return arguments.path(given, "checkpoint")
    return None if output is None else output.with_name(f"{output.name}.checkpoint")


def _max_drop(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 <= number <= 100:
        raise ConfigError(f"max_drop is {value!r}, not a number of points from 0 to 100")
    return number
