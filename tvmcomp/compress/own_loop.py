"""``tvmcomp.compress.prepare``: a smaller network for one's own training loop, and back to ONNX.

What a recipe says of making it smaller is done; what would learn back what that costs is left to
the loop, with the rates and the schedule that distillation has:

    prepared = tvmcomp.compress.prepare("net.onnx", bits=4, data="samples.npz")
    optimizer = prepared.optimizer()
    schedule = prepared.schedule(optimizer, steps)
    for x, y in loader:
        loss = my_loss(prepared.module(x), y)
        loss.backward(); optimizer.step(); optimizer.zero_grad(); schedule.step()
    prepared.finish("small.onnx")
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import onnx
import torch

from tvmcomp import arguments
from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.compress import DEFAULT_MAX_DROP
from tvmcomp.compress.cost import OperatorTimes
from tvmcomp.compress.data import SampleSource, read_data
from tvmcomp.compress.distil import DistilOptions
from tvmcomp.compress.fake_quantize import finish
from tvmcomp.compress.operators.table import Tensor
from tvmcomp.compress.original import Original, read_original
from tvmcomp.compress.output_file import output_path, write_output
from tvmcomp.compress.recipe import Recipe, RecipeSource, recipe_of
from tvmcomp.compress.run_folder import RunFolder
from tvmcomp.compress.samples import Sample
from tvmcomp.compress.schedule import Schedule
from tvmcomp.compress.steps import Steps
from tvmcomp.compress.stored_weights import in_stored_type
from tvmcomp.compress.weights import Training, weights_to_train
from tvmcomp.compress.written_model import written_model
from tvmcomp.errors import ConfigError, InputError
from tvmcomp.frontend import ModelSource
from tvmcomp.model import Signature
from tvmcomp.progress import NoProgress, Progress


class BatchModule(torch.nn.Module):  # type: ignore[misc]
    """A network as torch has them: it takes and gives batches."""

    def __init__(self, batched: BatchedNetwork, signature: Signature) -> None:
        super().__init__()
        self.network = batched.network  # its parameters are this module's
        self._batched, self._signature = batched, signature

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What the network gives: a tensor, or one for each output.

        Args:
            inputs: for each of its inputs ``(N, *shape)``; where a sample's own shape begins with
                1, as of an image ``(1, C, H, W)``, that 1 may be left out. It is left out of the
                outputs likewise.

        Raises:
            InputError: the inputs are others.
            ModelError: a node can't be computed.
        """
        specs = self._signature.inputs
        if len(inputs) != len(specs):
            raise InputError(f"{len(inputs)} inputs are given, the network has {len(specs)}")
        given = {}
        for spec, x in zip(specs, inputs, strict=True):
            if tuple(x.shape[1:]) == spec.shape:
                given[spec.name] = x
            elif spec.shape[:1] == (1,) and tuple(x.shape[1:]) == spec.shape[1:]:
                given[spec.name] = x.unsqueeze(1)
            else:
                raise InputError(
                    f"{spec.name!r} has shape {list(x.shape)}; the network takes a batch of "
                    f"{list(spec.shape)}"
                )
        results = self._batched.run(given, [spec.name for spec in self._signature.outputs])
        outputs = tuple(
            results[spec.name].squeeze(1) if spec.shape[:1] == (1,) else results[spec.name]
            for spec in self._signature.outputs
        )
        return outputs[0] if len(outputs) == 1 else outputs


class Prepared:
    """A network that was made smaller and is to be trained.

    Attributes:
        module: the network. What is trained of it are its parameters that need a gradient: weights,
            and the scales and zero points of what is quantized.
        teacher: the original, for who wants to learn from it; it needs no gradient.
        notes: what the techniques say.
    """

    def __init__(
        self,
        model: ModelSource,
        original: Original,
        graph: onnx.ModelProto,
        samples: list[Sample],
        recipe: Recipe,
        notes: tuple[str, ...],
    ) -> None:
        self._model, self._original, self._recipe = model, original, recipe
        self._samples = samples
        self._batched = BatchedNetwork(graph, samples)
        weights_to_train(self._batched.network)
        self.module = BatchModule(self._batched, original.signature)
        teacher = BatchedNetwork(original.prepared, samples)
        self.teacher = BatchModule(teacher, original.signature).requires_grad_(False)
        self.notes = notes

    def optimizer(
        self, rate: float = DistilOptions().rate, scale_rate: float = DistilOptions().scale_rate
    ) -> torch.optim.Optimizer:
        """Adam, with a rate of its own for each tensor.

        Args:
            rate: share of its own size that a weight moves at a step.
            scale_rate: the same of a scale.
        """
        return Training(self._batched.network, rate, scale_rate).optimizer

    @staticmethod
    def schedule(
        optimizer: torch.optim.Optimizer, steps: int
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """What the rates are multiplied by over ``steps`` steps: they rise, and fall as a cosine
        does."""
        steps = arguments.integer(steps, "steps", 1)

        def factor(step: int) -> float:
            return Schedule(None, steps, planned=steps, step=step).rate()

        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    def finish(self, output: str | os.PathLike[str] | None = None) -> onnx.ModelProto:
        """The network as it is now in ONNX, and in a file where ``output`` names one.

        Raises:
            ConfigError, ModelError: it can't be written there.
        """
        path = None if output is None else output_path(output, self._model)
        small = in_stored_type(finish(self._batched.trained()), self._original.model)
        done = json.dumps(self._recipe.described())
        written, _ = written_model(small, self._original, done, self._samples)
        if path is not None:
            write_output(written, path)
        return written


def prepare(
    model: ModelSource,
    recipe: RecipeSource | None = None,
    data: SampleSource | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    dims: Mapping[str, int] | None = None,
    fixed: Mapping[str, Any] | None = None,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    signature: str | None = None,
    **options: Any,
) -> Prepared:
    """Make a network smaller, for a training loop of one's own.

    Args:
        model: as of :func:`tvmcomp.build`: a file, or a network of PyTorch or Keras in memory.
        recipe, data, seed, progress: as of :func:`tvmcomp.compress`. All samples are used: nothing
            is judged here. A step that learns back what the others cost is left out.
        shapes, dims, fixed, example_inputs, dynamic_shapes, signature: as of
            :func:`tvmcomp.build`.
        options: what to do, in place of a recipe: ``bits=4``, ….

    Raises:
        TvmcompError: as :func:`tvmcomp.compress`; or nothing of the recipe makes it smaller.
    """
    asked = recipe_of(recipe, options)
    chosen = replace(asked, steps=tuple(step for step in asked.steps if not step.repeats))
    if not chosen.steps:
        raise ConfigError(
            "nothing of it makes the network smaller", hint="Say what does, as bits=4."
        )
    if data is None:
        raise ConfigError("there are no samples to fit by", hint="Give some hundred as `data`.")
    original = read_original(
        model,
        shapes=shapes,
        dims=dims,
        fixed=fixed,
        example_inputs=example_inputs,
        dynamic_shapes=dynamic_shapes,
        signature=signature,
    )
    parts = read_data(
        data,
        original.signature,
        labels=None,
        evaluation=None,
        images=chosen.images,
        seed=arguments.integer(seed, "seed", 0, 2**32 - 1),
    ).parts
    whole = replace(parts, fit=[*parts.fit, *parts.judge], judge=[])
    steps = Steps(
        original.prepared,
        whole,
        original.signature,
        seed,
        progress or NoProgress(),
        RunFolder(None, {}),
        OperatorTimes(),
        DEFAULT_MAX_DROP,
    )
    graph = steps.run(chosen.steps, 0.0)
    notes = tuple(f"{step.technique}: {note}" for step in steps.proofs for note in step.notes)
    return Prepared(model, original, graph, whole.fit, chosen, notes)
