"""``tvmcomp convert``: write the ONNX model that a network of another format becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tvmcomp.cli.binding_options import binding_arguments, binding_options
from tvmcomp.cli.common import json_option, out, print_json


@click.command("convert")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="[default: MODEL's name with .onnx]"
)
@binding_options("shapes", "signature")
@json_option
def command(model: Path, output: Path | None, as_json: bool, **bindings: Any) -> None:
    """Write the ONNX model that MODEL becomes before it is compiled.

    MODEL is TensorFlow Lite, Keras (.keras, .h5), a SavedModel folder or an exported PyTorch
    program (.pt2). Any tool that reads ONNX opens what is written.

    \b
    Example:
      tvmcomp convert model.tflite -o model.onnx
    """
    from tvmcomp.frontend.convert import convert

    path = output or model.with_suffix(".onnx")
    made = convert(model, path, **binding_arguments(bindings))
    counts: dict[str, int] = {}
    for node in made.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    if as_json:
        print_json({"model": str(model), "output": str(path), "operators": counts})
        return
    listed = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    out.print(f"{path}  {len(made.graph.node)} operators: {listed}", soft_wrap=True, markup=False)
