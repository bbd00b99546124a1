"""``tvmcomp convert``: write the ONNX model that a network of another format becomes."""

from __future__ import annotations

from pathlib import Path

import click

from tvmcomp.cli.common import json_option, out, parse_shapes, print_json


@click.command("convert")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="[default: MODEL's name with .onnx]"
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=DIM,…",
    help="Full shape of a Keras model's input; repeatable.",
)
@click.option("--signature", metavar="NAME", help="Which of a SavedModel's signatures.")
@json_option
def command(
    model: Path,
    output: Path | None,
    shapes: tuple[str, ...],
    signature: str | None,
    as_json: bool,
) -> None:
    """Write the ONNX model that MODEL becomes before it is compiled.

    MODEL is TensorFlow Lite, Keras (.keras, .h5), a SavedModel folder or an exported PyTorch
    program (.pt2). Any tool that reads ONNX opens what is written.

    \b
    Example:
      tvmcomp convert model.tflite -o model.onnx
    """
    from tvmcomp.frontend.convert import convert

    path = output or model.with_suffix(".onnx")
    made = convert(model, path, shapes=parse_shapes(shapes), signature=signature)
    counts: dict[str, int] = {}
    for node in made.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    if as_json:
        print_json({"model": str(model), "output": str(path), "operators": counts})
        return
    listed = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    out.print(f"{path}  {len(made.graph.node)} operators: {listed}", soft_wrap=True, markup=False)
