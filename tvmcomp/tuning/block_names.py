"""Names of blocks that say nothing of the network that a kernel comes from.

TVM names the block of a reduction after the tensor that it reads (``layer1_relu_red``), and a trace
names the blocks that it schedules. So that a trace fits the same kernel of any network, such blocks
are numbered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.tvm_import import tvm

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

_ENDINGS = ("_red", "_red_temp")
_NAME = "reduction"
#: The instruction that takes a block by its name, its first attribute.
_BY_NAME = "GetSBlock"


def numbered_reductions(func: PrimFunc) -> PrimFunc:
    """``func`` with its reductions' blocks by number, in their order."""
    blocks: list[Any] = []
    tvm_ffi.structural_walk(
        func.body,
        (
            tvm.s_tir.SBlock,
            lambda block: blocks.append(block) if block.name_hint.endswith(_ENDINGS) else None,
        ),
    )
    if not blocks:
        return func
    names = {str(block.name_hint): f"{_NAME}{at}" for at, block in enumerate(blocks)}

    def renamed(block: Any) -> Any:
        name = names.get(str(block.name_hint))
        return block if name is None else tvm.s_tir.SBlock(
            block.iter_vars, block.reads, block.writes, name, block.body, block.init,
            block.alloc_buffers, block.match_buffers, block.annotations,
        )  # fmt: skip

    return func.with_body(tvm_ffi.structural_map(func.body, ((tvm.s_tir.SBlock, renamed),)))


def numbered_in_trace(trace: list[Any]) -> list[Any]:
    """A trace of before there were numbers: its only reduction is number 0.

    Of several, the trace alone does not tell their order.
    """
    instructions, decisions = trace
    taken = [str(attributes[0]) for name, _, attributes, _ in instructions if name == _BY_NAME]
    old = {block for block in taken if block.endswith(_ENDINGS)}
    if len(old) != 1:
        return trace
    (block,) = old
    return [
        [
            # What is made of it has its name before an ending of its own (of rfactor, ``_rf``).
            [name, inputs, [f"{_NAME}0{attributes[0][len(block) :]}", *attributes[1:]], outputs]
            if name == _BY_NAME and attributes[0].startswith(block)
            else [name, inputs, attributes, outputs]
            for name, inputs, attributes, outputs in instructions
        ],
        decisions,
    ]
