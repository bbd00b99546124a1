"""What the shapes of ONNX operators' inputs must be, where onnx's shape inference does not say."""

from __future__ import annotations

from tvmcomp.frontend.onnx.node_facts import NodeFacts


def check_shapes(node: NodeFacts) -> None:
    """Raise ValueError where the inputs of ``node`` are not what its operator takes."""
