"""LSTM and GRU layers as torch's own, which its exporter writes as one node each.

Keras's torch backend has them for CUDA alone, and unrolls them over time elsewhere: thousands of
nodes. These take the backend's place while a model is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

#: What of a layer's call the backend answers: last output, all outputs, states.
Answer = tuple["Tensor", "Tensor", list["Tensor"]]


#: Of each direction.
Answers = tuple[Answer, Answer]


@contextmanager
def as_nodes() -> Iterator[None]:
    """Let Keras's layers compute so meanwhile."""
    from keras.src import backend

    ours: dict[str, Callable[..., Any]] = {
        "lstm": _lstm,
        "gru": _gru,
        "bidirectional_lstm": _bidirectional_lstm,
        "bidirectional_gru": _bidirectional_gru,
    }
    before = {name: getattr(backend, name) for name in ours if hasattr(backend, name)}
    for name in before:
        setattr(backend, name, ours[name])
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(backend, name, function)


def _lstm(
    inputs: Any,
    initial_state_h: Any,
    initial_state_c: Any,
    mask: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    activation: Any,
    recurrent_activation: Any,
    return_sequences: bool = False,
    go_backwards: bool = False,
    **others: Any,
) -> Answer:
    """As ``lstm`` of ``keras.src.backend.torch.rnn``."""
    import torch

    _check(mask, activation, recurrent_activation)
    weights = _lstm_weights(kernel, recurrent_kernel, bias)
    x = _sequence(inputs, weights, go_backwards)
    states = tuple(_state(x, state) for state in (initial_state_h, initial_state_c))
    every, h, c = torch._VF.lstm(x, states, weights, True, 1, 0.0, False, False, True)
    return _answer(every, [h[0], c[0]], return_sequences)


def _bidirectional_lstm(
    inputs: Any,
    fwd_initial_state_h: Any,
    fwd_initial_state_c: Any,
    bwd_initial_state_h: Any,
    bwd_initial_state_c: Any,
    mask: Any,
    activation: Any,
    recurrent_activation: Any,
    return_sequences: bool = False,
    **weights: Any,
) -> Answers:
    """As ``bidirectional_lstm`` of ``keras.src.backend.torch.rnn``."""
    import torch

    _check(mask, activation, recurrent_activation)
    both = [*_lstm_weights(*_of(weights, "fwd")), *_lstm_weights(*_of(weights, "bwd"))]
    x = _sequence(inputs, both, False)
    h = _state(x, fwd_initial_state_h, bwd_initial_state_h)
    c = _state(x, fwd_initial_state_c, bwd_initial_state_c)
    every, h, c = torch._VF.lstm(x, (h, c), both, True, 1, 0.0, False, True, True)
    return _answers(every, [h, c], return_sequences)


def _gru(
    inputs: Any,
    initial_state: Any,
    mask: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    activation: Any,
    recurrent_activation: Any,
    return_sequences: bool = False,
    go_backwards: bool = False,
    reset_after: bool = True,
    **others: Any,
) -> Answer:
    """As ``gru`` of ``keras.src.backend.torch.rnn``."""
    import torch

    if not reset_after:
        raise NotImplementedError
    _check(mask, activation, recurrent_activation)
    weights = _gru_weights(kernel, recurrent_kernel, bias)
    x = _sequence(inputs, weights, go_backwards)
    state = _state(x, initial_state)
    every, h = torch._VF.gru(x, state, weights, True, 1, 0.0, False, False, True)
    return _answer(every, [h[0]], return_sequences)


def _bidirectional_gru(
    inputs: Any,
    fwd_initial_state: Any,
    bwd_initial_state: Any,
    mask: Any,
    activation: Any,
    recurrent_activation: Any,
    return_sequences: bool = False,
    reset_after: bool = True,
    **weights: Any,
) -> Answers:
    """As ``bidirectional_gru`` of ``keras.src.backend.torch.rnn``."""
    import torch

    if not reset_after:
        raise NotImplementedError
    _check(mask, activation, recurrent_activation)
    both = [*_gru_weights(*_of(weights, "fwd")), *_gru_weights(*_of(weights, "bwd"))]
    x = _sequence(inputs, both, False)
    state = _state(x, fwd_initial_state, bwd_initial_state)
    every, h = torch._VF.gru(x, state, both, True, 1, 0.0, False, True, True)
    return _answers(every, [h], return_sequences)


def _check(mask: Any, activation: Any, recurrent_activation: Any) -> None:
    """Raise NotImplementedError, for Keras to unroll, where torch's layer has other functions."""
    from keras import activations

    if mask is not None or activation is not activations.tanh:
        raise NotImplementedError
    if recurrent_activation is not activations.sigmoid:
        raise NotImplementedError


def _of(weights: dict[str, Any], direction: str) -> tuple[Any, Any, Any]:
    kernel, recurrent_kernel, bias = (
        weights[f"{direction}_{name}"] for name in ("kernel", "recurrent_kernel", "bias")
    )
    return kernel, recurrent_kernel, bias


def _lstm_weights(kernel: Any, recurrent_kernel: Any, bias: Any) -> list[Tensor]:
    """Torch's weights; both have the gates in the order i, f, c, o, and Keras one bias."""
    import torch

    kernel, recurrent_kernel = _tensor(kernel), _tensor(recurrent_kernel)
    bias = torch.zeros_like(kernel[0]) if bias is None else _tensor(bias)
    return [kernel.T, recurrent_kernel.T, bias, torch.zeros_like(bias)]


def _gru_weights(kernel: Any, recurrent_kernel: Any, bias: Any) -> list[Tensor]:
    """Torch's weights; Keras's gates are z, r, h, and torch's r, z, h."""
    import torch

    def swapped(weights: Tensor) -> Tensor:
        z, r, h = weights.chunk(3, -1)
        return torch.cat([r, z, h], -1)

    kernel, recurrent_kernel = _tensor(kernel), _tensor(recurrent_kernel)
    bias = torch.stack([torch.zeros_like(kernel[0])] * 2) if bias is None else _tensor(bias)
    return [swapped(kernel).T, swapped(recurrent_kernel).T, *swapped(bias)]


def _tensor(value: Any) -> Tensor:
    from keras import ops

    found: Tensor = ops.convert_to_tensor(value)
    return found


def _sequence(inputs: Any, weights: list[Tensor], go_backwards: bool) -> Tensor:
    x = _tensor(inputs).to(weights[0].dtype)
    return x.flip(1) if go_backwards else x


def _state(like: Tensor, *states: Any) -> Tensor:
    """The states of all directions, of the type of ``like``."""
    import torch

    return torch.stack([_tensor(state).to(like.dtype) for state in states])


def _answer(every: Tensor, states: list[Tensor], return_sequences: bool) -> Answer:
    last = every[:, -1]
    return last, every if return_sequences else last[:, None], states


def _answers(every: Tensor, states: list[Tensor], return_sequences: bool) -> Answers:
    """Of both directions; the last output of the backward one stands at the first step."""
    forward, backward = every.chunk(2, -1)
    first = backward[:, 0]
    return _answer(forward, [state[0] for state in states], return_sequences), (
        first,
        backward if return_sequences else first[:, None],
        [state[1] for state in states],
    )
