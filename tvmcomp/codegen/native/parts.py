"""A batch in C as parts that another shape's ``run`` computes: one by one, or one a thread."""

from __future__ import annotations

from collections.abc import Sequence

from tvmcomp.codegen.native.inference import Inference, Repeated
from tvmcomp.codegen.native.plan import Tensor


def run_in_parts(first: Inference, batch: Repeated, static: str) -> str:
    """The function ``run`` of ``batch``, which calls that of ``first`` for each part.

    Args:
        first: what is repeated.
        batch: how often.
        static: ends the batch's static names.
    """

    def places(what: str, tensors: Sequence[Tensor], kind: str) -> str:
        at = (
            f"({kind}uint8_t *)frame->{what}[{i}] + part * (size_t){tensor.nbytes}u"
            for i, tensor in enumerate(tensors)
        )
        return ", ".join(at)

    plan, size = first.plan, first.workspace.size
    return f"""\
static int32_t part{static}(const tvmcomp_frame *frame, int32_t part, uint8_t *workspace) {{
  const void *const inputs[] = {{{places("inputs", plan.inputs, "const ")}}};
  void *const outputs[] = {{{places("outputs", plan.outputs, "")}}};
  tvmcomp_frame own = *frame;
  own.inputs = inputs;
  own.outputs = outputs;
  own.workspace = workspace;
  return run(&own);
}}

static int32_t run{static}(const tvmcomp_frame *frame) {{
  return tvmcomp_each_part(frame, part{static}, {batch.times}, {size}u, {batch.at_once});
}}

#define kernels{static} kernels
"""
