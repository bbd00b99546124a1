"""``nn.RNN`` as ONNX's RNN: torch's exporter, which knows LSTM and GRU, would unroll it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def translations() -> dict[Any, Callable[..., Any]]:
    """What ``torch.onnx.export`` takes for its ``custom_translation_table``."""
    import torch

    return {
        torch.ops.aten.rnn_tanh.input: _rnn("Tanh"),
        torch.ops.aten.rnn_relu.input: _rnn("Relu"),
    }


def _rnn(activation: str) -> Callable[..., Any]:
    from onnxscript import opset18 as op

    def joined(parts: Sequence[Any]) -> Any:
        return op.Concat(*parts, axis=0) if len(parts) > 1 else parts[0]

    def rnn(
        input: Any,
        hx: Any,
        params: Sequence[Any],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Any, Any]:
        """``rnn_tanh.input`` and ``rnn_relu.input``; a direction's parameters stand together."""
        directions, each = 1 + bidirectional, 4 if has_biases else 2
        x = op.Transpose(input, perm=[1, 0, 2]) if batch_first else input
        states = []
        for layer in range(num_layers):
            first = layer * directions
            own = [params[at * each : (at + 1) * each] for at in range(first, first + directions)]
            weights, recurrent = (
                joined([op.Unsqueeze(part[kind], [0]) for part in own]) for kind in (0, 1)
            )
            bias = None
            if has_biases:
                both = [op.Concat(part[2], part[3], axis=0) for part in own]
                bias = joined([op.Unsqueeze(value, [0]) for value in both])
            every, last = op.RNN(
                x,
                weights,
                recurrent,
                bias,
                None,
                op.Slice(hx, [first], [first + directions], [0]),
                activations=[activation] * directions,
                direction="bidirectional" if bidirectional else "forward",
                hidden_size=hx.shape[2],
            )
            # [time, direction, batch, unit] to [time, batch, direction and unit]
            x = op.Reshape(op.Transpose(every, perm=[0, 2, 1, 3]), [0, 0, -1])
            states.append(last)
        return (op.Transpose(x, perm=[1, 0, 2]) if batch_first else x), joined(states)

    return rnn
