"""How far a student is from its teacher: a loss to train by, and an agreement for a person.

Scores are compared by the Kullback-Leibler divergence with a temperature (Hinton et al.,
"Distilling the Knowledge in a Neural Network", 2015), odds by that of each one, values by squares
over the teacher's variance. The network's blocks are compared by such squares too, as far as both
have them in the same shape (Romero et al., "FitNets", 2015): they say where an error arose, which
the outputs of a deep network hardly do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from tvmcomp.compress.ends import End, classes_last, ends_of, looks_like_scores
from tvmcomp.compress.operators.table import Tensor
from tvmcomp.errors import CalibrationError, ModelError

Values = Mapping[str, Tensor]

#: What ends a block: where a residual is added, sizes change, or branches meet.
_BLOCK_ENDS = frozenset(["Concat", "GlobalAveragePool", "MaxPool", "AveragePool"])
#: More cost time, and say little more.
_MOST_BLOCKS = 8
#: Of a tensor's mean square: less than this is no variance to divide by.
_NO_VARIANCE = 1e-6
#: So many numbers of a sample are probabilities of one thing each; more are a map of one thing.
_FEW_ODDS = 16


@dataclass(frozen=True)
class _Compared:
    """A tensor of the student and the teacher's, and the variance that errors are divided by."""

    student: str
    teacher: str
    variance: float


class Objective:
    """What a student is trained for.

    Attributes:
        student_wants, teacher_wants: the tensors that it compares.
    """

    def __init__(
        self,
        student: onnx.ModelProto,
        teacher: onnx.ModelProto,
        observed: tuple[Values, Values],
        *,
        temperature: float = 2.0,
        block_weight: float = 1.0,
        label_weight: float = 0.5,
    ) -> None:
        """Args:
        student, teacher: graphs, prepared.
        observed: tensors of both for the same samples, with those of :func:`candidates`.
        temperature: that scores are divided by.
        block_weight: of all blocks together, beside the outputs.
        label_weight: of the labels beside the teacher's outputs, from 0 to 1.

        Raises:
            ModelError: no output of both networks can be compared.
            CalibrationError: the teacher's outputs are not finite.
        """
        self.temperature = temperature
        self.block_weight = block_weight
        self.label_weight = label_weight
        learned, taught = observed
        self.ends: list[tuple[End, _Compared]] = []
        theirs = ends_of(teacher)
        for output, mine in ends_of(student).items():
            compared = _paired(mine, theirs.get(output), learned, taught)
            if compared is not None:
                self.ends.append(compared)
        if not self.ends:
            raise ModelError(
                "there is nothing to learn from the original network: no output of numbers is in "
                "both, of one shape"
            )
        same = [
            name
            for name in _block_ends(student, {end.tensor for end, _ in self.ends})
            if name in taught and taught[name].shape == learned[name].shape
        ]
        self.blocks = [_Compared(name, name, _variance(taught[name])) for name in _thinned(same)]
        compared_all = [*(pair for _, pair in self.ends), *self.blocks]
        self.student_wants = tuple(dict.fromkeys(each.student for each in compared_all))
        self.teacher_wants = tuple(dict.fromkeys(each.teacher for each in compared_all))

    def loss(self, learned: Values, taught: Values, labels: Tensor | None = None) -> Tensor:
        """What is minimized: the outputs' loss, with the blocks' and the labels'."""
        total = self.output_loss(learned, taught, labels)
        for block in self.blocks:
            error = (learned[block.student] - taught[block.teacher]).square().mean()
            total = total + self.block_weight / len(self.blocks) * error / block.variance
        return total

    def output_loss(self, learned: Values, taught: Values, labels: Tensor | None = None) -> Tensor:
        """Of the outputs alone, 0 where they are the teacher's; with labels, also of the first."""
        losses = []
        for end, pair in self.ends:
            mine, theirs = learned[pair.student], taught[pair.teacher]
            if end.kind == "scores":
                losses.append(_divergence(end, mine, theirs, self.temperature))
            elif end.kind == "odds":
                losses.append(_odds_divergence(mine, theirs))
            else:
                losses.append((mine - theirs).square().mean() / pair.variance)
        if labels is not None:
            own = _label_loss(*self.ends[0], learned, labels)
            losses[0] = (1 - self.label_weight) * losses[0] + self.label_weight * own
        return torch.stack(losses).sum()

    def agreement(self, learned: Values, taught: Values) -> Tensor:
        """For each sample from 0 to 1, the mean over the outputs.

        Scores: the share of rows with the same largest class. Odds: the share of the same side of
        even; of a map what both call true, over what either does. Values: 1 less the squared error
        over the teacher's variance.
        """
        shares = []
        for end, pair in self.ends:
            mine, theirs = learned[pair.student], taught[pair.teacher]
            count = len(mine)
            if end.kind == "scores":
                rows = (classes_last(end, each).argmax(-1) for each in (mine, theirs))
                shares.append(torch.eq(*rows).float().mean(-1))
            elif end.kind == "odds":
                shares.append(
                    _same_side(mine.reshape(count, -1) > 0, theirs.reshape(count, -1) > 0)
                )
            else:
                error = (mine - theirs).square().reshape(count, -1).mean(1) / pair.variance
                shares.append((1 - error).clamp(0, 1))
        return torch.stack(shares).mean(0)

    def check_labels(self, labels: Sequence[NDArray], learned: Values) -> None:
        """Raise CalibrationError where labels are none of the first output's."""
        end, pair = self.ends[0]
        values = learned[pair.student]
        if end.kind == "scores":
            _, rows, classes = classes_last(end, values).shape
            fits = all(
                label.size == rows
                and np.issubdtype(label.dtype, np.integer)
                and label.min() >= 0
                and label.max() < classes
                for label in labels
            )
            wanted = f"{rows} whole numbers from 0 to {classes - 1}"
        else:
            size = values[0].numel()
            fits = all(label.size == size and np.isfinite(label).all() for label in labels)
            wanted = f"{size} finite numbers"
        if not fits:
            raise CalibrationError(f"a label of output {end.output!r} is not {wanted}")

    def correct(self, learned: Values, labels: Tensor) -> Tensor:
        """For each sample from 0 to 1, how far the first output is as its label says."""
        end, pair = self.ends[0]
        mine = learned[pair.student]
        count = len(mine)
        if end.kind == "scores":
            found = classes_last(end, mine).argmax(-1)
            return (found == labels.reshape(count, -1)).float().mean(-1)
        if end.kind == "odds":
            return _same_side(mine.reshape(count, -1) > 0, labels.reshape(count, -1) > 0.5)
        error = (mine.reshape(count, -1) - labels.reshape(count, -1)).square().mean(1)
        return (1 - error / pair.variance).clamp(0, 1)


def candidates(model: onnx.ModelProto) -> tuple[str, ...]:
    """The tensors of a network that an :class:`Objective` may compare."""
    ends = ends_of(model)
    outer = dict.fromkeys([*(end.tensor for end in ends.values()), *ends])
    return (*outer, *_block_ends(model, set(outer)))


def _paired(
    mine: End, theirs: End | None, learned: Values, taught: Values
) -> tuple[End, _Compared] | None:
    """How an output of both is compared; None where it can't be."""
    if theirs is None:
        return None
    alike = mine.kind == theirs.kind and learned[mine.tensor].shape == taught[theirs.tensor].shape
    rank = max(1, taught[theirs.tensor].ndim - 1)
    if not alike or (mine.axis - theirs.axis) % rank:  # the last axis has two numbers
        mine, theirs = (End(mine.output, mine.output, "values") for _ in range(2))
        if mine.tensor not in learned or mine.tensor not in taught:
            return None
    wanted = taught[theirs.tensor]
    if not wanted.is_floating_point() or wanted.shape != learned[mine.tensor].shape:
        return None
    if not torch.isfinite(wanted).all():
        raise CalibrationError(
            f"the original network's output {mine.output!r} holds NaN or Inf on these samples",
            hint="Leave out the samples that it can't compute.",
        )
    if theirs.in_question and looks_like_scores(theirs, wanted):
        mine = replace(mine, kind="scores")
    return mine, _Compared(mine.tensor, theirs.tensor, _variance(wanted))


def _variance(values: Tensor) -> float:
    wide = values.detach().double()
    square = float(wide.square().mean())
    return max(float(wide.var(correction=0)), _NO_VARIANCE * square) or 1.0


def _block_ends(model: onnx.ModelProto, ends: set[str]) -> list[str]:
    """Tensors at the ends of a network's blocks, in order; none of ``ends``."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [
        node.output[0]
        for node in model.graph.node
        if node.output[0] not in ends
        and (
            node.op_type in _BLOCK_ENDS
            or (node.op_type == "Add" and not constants.intersection(node.input))
        )
    ]


def _thinned(names: Sequence[str]) -> list[str]:
    """At most so many of them, evenly spaced, the last one too."""
    count = min(len(names), _MOST_BLOCKS)
    return [names[(i + 1) * len(names) // count - 1] for i in range(count)]


def _divergence(end: End, mine: Tensor, theirs: Tensor, temperature: float) -> Tensor:
    learned = F.log_softmax(classes_last(end, mine) / temperature, -1)
    taught = F.log_softmax(classes_last(end, theirs) / temperature, -1)
    return temperature**2 * (taught.exp() * (taught - learned)).sum(-1).mean()


def _odds_divergence(mine: Tensor, theirs: Tensor) -> Tensor:
    wanted = torch.sigmoid(theirs)
    crossed = F.binary_cross_entropy_with_logits(mine, wanted)
    return crossed - F.binary_cross_entropy_with_logits(theirs, wanted)


def _label_loss(end: End, pair: _Compared, learned: Values, labels: Tensor) -> Tensor:
    mine = learned[pair.student]
    count = len(mine)
    if end.kind == "scores":
        rows = classes_last(end, mine)
        return F.cross_entropy(rows.flatten(0, 1), labels.reshape(-1).long())
    wanted = labels.reshape(mine.shape).to(mine.dtype)
    if end.kind == "odds":
        return F.binary_cross_entropy_with_logits(mine, wanted)
    return (mine - wanted).square().reshape(count, -1).mean() / pair.variance


def _same_side(mine: Tensor, theirs: Tensor) -> Tensor:
    if mine.shape[1] < _FEW_ODDS:
        return (mine == theirs).float().mean(1)
    either = (mine | theirs).sum(1)
    return torch.where(either == 0, 1.0, (mine & theirs).sum(1) / either.clamp(min=1))
