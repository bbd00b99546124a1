"""What recurrent layers ask of their inputs and attributes, and which activations they have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tvmcomp.frontend.onnx.node_facts import NodeFacts
from tvmcomp.recurrent import GATES, Activation, Kind

#: The number must be given.
_NEEDED = float("nan")
#: Activation -> defaults of alpha and beta, None where it has none: those of the standard's
#: operators of that name. (ONNX Runtime takes 0 for most.) Functions that have a number consume one
#: of the attribute's list each.
_FUNCTIONS: dict[str, tuple[float | None, float | None]] = {
    "affine": (1.0, 0.0),
    "elu": (1.0, None),
    "hardsigmoid": (0.2, 0.5),
    "leakyrelu": (0.01, None),
    "relu": (None, None),
    "scaledtanh": (_NEEDED, _NEEDED),
    "sigmoid": (None, None),
    "softplus": (None, None),
    "softsign": (None, None),
    "tanh": (None, None),
    "thresholdedrelu": (1.0, None),
}
_DEFAULTS: dict[Kind, tuple[str, ...]] = {
    "lstm": ("sigmoid", "tanh", "tanh"),
    "gru": ("sigmoid", "tanh"),
    "rnn": ("tanh",),
}
#: Operator -> its kind of cell.
KINDS: dict[str, Kind] = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn", "DynamicQuantizeLSTM": "lstm"}
_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
_FLAGS = ("input_forget", "layout", "linear_before_reset")


def functions_of(
    kind: Kind, directions: int, attributes: Mapping[str, Any]
) -> tuple[tuple[Activation, ...], ...]:
    """The activations of each direction.

    Raises:
        ValueError: there is another number of them than the layer takes, or one is not known.
    """
    count = len(_DEFAULTS[kind])
    names = [_text(name) for name in attributes.get("activations", ())]
    names = names or [*_DEFAULTS[kind]] * directions
    if len(names) != count * directions:
        raise ValueError(
            f"its activations are {len(names)}, and it takes {count} for each of {directions} "
            "directions"
        )
    alphas, betas = (list(attributes.get(f"activation_{w}", ())) for w in ("alpha", "beta"))
    found = [_function(name, alphas, betas) for name in names]
    return tuple(tuple(found[d * count : (d + 1) * count]) for d in range(directions))


def _function(name: str, alphas: list[float], betas: list[float]) -> Activation:
    if name.lower() not in _FUNCTIONS:
        known = ", ".join(sorted(_FUNCTIONS))
        raise ValueError(f"its activation {name!r} is none of {known}")
    alpha, beta = _FUNCTIONS[name.lower()]
    found = Activation(name.lower(), _taken(alphas, alpha), _taken(betas, beta))
    if math.isnan(found.alpha) or math.isnan(found.beta):
        raise ValueError(f"its activation {name} needs an activation_alpha and activation_beta")
    return found


def _taken(given: list[float], default: float | None) -> float:
    if default is None:
        return 0.0
    return float(given.pop(0)) if given else default


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def check_recurrent_attributes(node: NodeFacts) -> None:
    """Raise ValueError where an attribute of a recurrent layer is not what it takes."""
    attributes = node.attributes
    direction = attributes.get("direction", "forward")
    if direction not in _DIRECTIONS:
        raise ValueError(f"its direction is {direction!r}, and not one of {', '.join(_DIRECTIONS)}")
    for name in _FLAGS:
        if attributes.get(name, 0) not in (0, 1):
            raise ValueError(f"its {name} is {attributes[name]}, and may only be 0 or 1")
    if "clip" in attributes and not attributes["clip"] > 0:
        raise ValueError(f"its clip is {attributes['clip']}, and must be above 0")
    functions_of(_kind(node), _DIRECTIONS[direction], attributes)


def check_recurrent(node: NodeFacts) -> None:
    """Raise ValueError where the inputs of a recurrent layer don't go together."""
    data, weight, recurrence = node.shape(0), node.shape(1), node.shape(2)
    kind, directions = _kind(node), _DIRECTIONS[node.attributes.get("direction", "forward")]
    if data is None or weight is None or recurrence is None:
        return
    if not len(data) == len(weight) == len(recurrence) == 3:
        raise ValueError("its X, W and R must have 3 dimensions")
    units = recurrence[2]
    if node.attributes.get("hidden_size", units) != units:
        raise ValueError(f"its hidden_size is {node.attributes['hidden_size']}, and R has {units}")
    rows = GATES[kind] * units
    steps_first = not node.attributes.get("layout", 0)
    batch = data[1 if steps_first else 0]
    state = (directions, batch, units) if steps_first else (batch, directions, units)
    wanted: Sequence[tuple[str, int, tuple[int, ...]]] = (
        ("W", 1, (directions, rows, data[2])),
        ("R", 2, (directions, rows, units)),
        ("B", 3, (directions, 2 * rows)),
        ("sequence_lens", 4, (batch,)),
        ("initial_h", 5, state),
        ("initial_c", 6, state),
        ("P", 7, (directions, 3 * units)),
    )
    for name, position, shape in wanted:
        given = node.shape(position)
        if given is not None and given != shape:
            raise ValueError(f"its {name} has the shape {list(given)}, and must have {list(shape)}")
    lengths, steps = node.value(4), data[0 if steps_first else 1]
    if lengths is not None and any(not 0 <= int(n) <= steps for n in lengths.reshape(-1)):
        raise ValueError(f"its sequence_lens {lengths.tolist()} are not within 0 to {steps}")


def _kind(node: NodeFacts) -> Kind:
    return KINDS[node.node.op_type]
