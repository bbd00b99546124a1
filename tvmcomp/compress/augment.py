"""Samples changed so that they are still what a network sees: a few hundred go a longer way.

The teacher says what a changed sample gives, so a change need not keep the answer, but it has to
give something that the network knows. So a change is used only if the teacher's outputs hardly
mind it (:data:`_LEAST_AGREEMENT`): a mirrored face is one, a mirrored letter is none. Outputs that
are maps of the image move with it: their values are compared in order of size.

Mixtures of two samples are not asked about. They are like neither, and it is for them to say what
the teacher does in between (Beyer et al., "Knowledge distillation: a good teacher is patient and
consistent", 2022).

Inputs of whole numbers (words, categories) are left as they are, with all that come with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx
import torch
import torch.nn.functional as F

from tvmcomp.compress.operators.table import Tensor
from tvmcomp.frontend.onnx.node_facts import attributes_of

Batch: TypeAlias = Mapping[str, Tensor]
Change: TypeAlias = Callable[[Tensor, "Input", torch.Generator], Tensor]

#: Of the teacher with itself, on samples and on changed ones.
_LEAST_AGREEMENT = 0.9
#: A smaller image has no room to be moved.
_LEAST_SIDE = 8
#: The most that an image is moved, of its side, and made larger or smaller.
_MOST_SHIFT, _MOST_ZOOM = 0.1, 0.15
#: Of the deviation of an input's values.
_BRIGHTNESS, _NOISE = 0.2, 0.05
#: A sample is changed in each way with this chance.
_CHANCE = 0.5


@dataclass(frozen=True)
class Input:
    """A float input.

    Attributes:
        name: of it.
        image: its axes of channels, height and width, in a sample's own shape; None of no image.
        low, high: of all of its values.
        deviation: of its values, ``[*shape]``, over the samples.
    """

    name: str
    image: tuple[int, int, int] | None
    low: float
    high: float
    deviation: Tensor


class Augmentation:
    """Changes batches, at random and by a seed.

    Attributes:
        inputs: those that are changed.
        changes: the names of the changes that are used.
        mixes: whether samples are mixed.
    """

    def __init__(self, model: onnx.ModelProto, samples: Batch) -> None:
        """Args:
        model: the graph; how it reads its inputs says which are images.
        samples: for each input ``[n, *shape]``.
        """
        numbers = all(values.is_floating_point() for values in samples.values())
        self.inputs = [_input(model, name, values) for name, values in samples.items() if numbers]
        fits = {
            name
            for name, (_, of_images) in _CHANGES.items()
            if any((each.image is not None) == of_images for each in self.inputs)
        }
        self.changes = tuple(name for name in _CHANGES if name in fits)
        #: Of several inputs one may be a mask of another.
        self.mixes = len(self.inputs) == 1

    def keep_if(self, agrees: Callable[[Batch], float], samples: Batch, seed: int) -> None:
        """Leave out the changes that ``agrees``, from 0 to 1, says too little of."""
        self.changes = tuple(
            name
            for name in self.changes
            if agrees(self._changed(samples, (name,), _generator(seed), 1.0)) >= _LEAST_AGREEMENT
        )

    def __call__(self, batch: Batch, seed: Sequence[int]) -> Batch:
        """A batch like ``batch``; the same for the same ``seed``."""
        generator = _generator(*seed)
        changed = self._changed(batch, self.changes, generator, _CHANCE)
        return _mixed(changed, generator) if self.mixes else changed

    def _changed(
        self, batch: Batch, names: Sequence[str], generator: torch.Generator, chance: float
    ) -> dict[str, Tensor]:
        result = dict(batch)
        for each in self.inputs:
            for name in names:
                change, of_images = _CHANGES[name]
                if of_images == (each.image is not None):
                    x = result[each.name]
                    chosen = torch.rand(len(x), generator=generator) < chance
                    chosen = chosen.reshape(-1, *[1] * (x.ndim - 1))
                    result[each.name] = torch.where(chosen, change(x, each, generator), x)
        return result


def in_order_of_size(values: Tensor) -> Tensor:
    """Maps ``[n, batch, channels, height, width]`` with each one's values sorted."""
    if values.ndim == 5 and min(values.shape[3:]) > 1:
        return values.flatten(3).sort(-1).values.reshape(values.shape)
    return values


def _shifted(x: Tensor, of: Input, generator: torch.Generator) -> Tensor:
    """Moved by whole pixels; what comes in at a border is the border's."""
    assert of.image is not None
    for axis in of.image[1:]:
        size = x.shape[axis + 1]
        most = max(1, int(size * _MOST_SHIFT))
        moves = torch.randint(-most, most + 1, (len(x), 1), generator=generator)
        places = (torch.arange(size) + moves).clamp(0, size - 1)
        along = [len(x), *[1] * (x.ndim - 1)]
        along[axis + 1] = size
        x = torch.gather(x, axis + 1, places.reshape(along).expand(x.shape))
    return x


def _zoomed(x: Tensor, of: Input, generator: torch.Generator) -> Tensor:
    """Larger or smaller around the middle."""
    assert of.image is not None
    planes = x.movedim([axis + 1 for axis in of.image], [-3, -2, -1])
    flat = planes.reshape(len(x), -1, *planes.shape[-2:])
    scale = 1 + _MOST_ZOOM * (2 * torch.rand(len(x), generator=generator) - 1)
    matrix = torch.zeros(len(x), 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = scale
    grid = F.affine_grid(matrix, list(flat.shape), align_corners=False)
    moved = F.grid_sample(flat, grid.to(x.dtype), padding_mode="border", align_corners=False)
    return moved.reshape(planes.shape).movedim([-3, -2, -1], [axis + 1 for axis in of.image])


def _flipped(x: Tensor, of: Input, generator: torch.Generator) -> Tensor:
    assert of.image is not None
    return x.flip(of.image[2] + 1)


def _upended(x: Tensor, of: Input, generator: torch.Generator) -> Tensor:
    assert of.image is not None
    return x.flip(of.image[1] + 1)


def _brightened(x: Tensor, of: Input, generator: torch.Generator) -> Tensor:
    """Of other contrast and brightness, within the values that there are."""
    wide = [len(x), *[1] * (x.ndim - 1)]
    factor = 1 + _BRIGHTNESS * (2 * torch.rand(wide, generator=generator) - 1)
    middle = x.mean(list(range(1, x.ndim)), keepdim=True)
    more = _BRIGHTNESS * (2 * torch.rand(wide, generator=generator) - 1) * of.deviation.mean()
    return ((x - middle) * factor + middle + more).clamp(of.low, of.high)


def _noisy(x: Tensor, of: Input, generator: torch.Generator) -> Tensor:
    return x + _NOISE * of.deviation * torch.randn(x.shape, generator=generator, dtype=x.dtype)


#: Name -> the change, and whether it is one of images.
_CHANGES: dict[str, tuple[Change, bool]] = {
    "shift": (_shifted, True),
    "zoom": (_zoomed, True),
    "flip": (_flipped, True),
    "upend": (_upended, True),
    "brightness": (_brightened, True),
    "noise": (_noisy, False),
}


def _mixed(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Some of the samples with up to a half of another one."""
    count = len(next(iter(batch.values())))
    others = torch.randperm(count, generator=generator)
    share = 0.5 * torch.rand(count, generator=generator)
    share = torch.where(torch.rand(count, generator=generator) < _CHANCE, share, 0)
    mixed = {}
    for name, x in batch.items():
        of_other = share.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)
        mixed[name] = (1 - of_other) * x + of_other * x[others]
    return mixed


def _generator(*seed: int) -> torch.Generator:
    """Of numbers that depend on each of ``seed``."""
    state = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def _input(model: onnx.ModelProto, name: str, values: Tensor) -> Input:
    deviation = values.std(0, correction=0)
    image = _image_axes(model, name, tuple(values.shape[1:]))
    return Input(name, image, float(values.min()), float(values.max()), deviation)


def _image_axes(
    model: onnx.ModelProto, name: str, shape: tuple[int, ...]
) -> tuple[int, int, int] | None:
    """The axes of channels, height and width of what a convolution reads as an image."""
    if len(shape) != 4:
        return None
    #: For each axis of the tensor, the axis of the input that it is.
    axes, tensor = [0, 1, 2, 3], name
    while True:
        reader = next((node for node in model.graph.node if tensor in node.input), None)
        if reader is None:
            return None
        if reader.op_type == "Conv" and reader.input[0] == tensor:
            _, channels, height, width = axes
            large = min(shape[height], shape[width]) >= _LEAST_SIDE
            return (channels, height, width) if large else None
        if reader.op_type == "Transpose":
            axes = [axes[place] for place in attributes_of(reader)["perm"]]
        elif reader.op_type not in ("Add", "Cast", "Div", "FakeQuantize", "Mul", "Pad", "Sub"):
            return None
        tensor = reader.output[0]
