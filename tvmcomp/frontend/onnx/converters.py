"""The converters of ONNX operators to Relax: TVM's, and ours in place of some of TVM's."""

from __future__ import annotations

from typing import Any

import onnx

from tvmcomp.frontend.onnx.block_weights import BLOCKS
from tvmcomp.frontend.onnx.ops_attention import ATTENTION
from tvmcomp.frontend.onnx.ops_bounded import BOUNDED
from tvmcomp.frontend.onnx.ops_cumulative import CUMULATIVE
from tvmcomp.frontend.onnx.ops_detect import DETECT
from tvmcomp.frontend.onnx.ops_dynamic_recurrent import DYNAMIC_RECURRENT
from tvmcomp.frontend.onnx.ops_einsum import EINSUM
from tvmcomp.frontend.onnx.ops_elementwise import ELEMENTWISE
from tvmcomp.frontend.onnx.ops_fused_attention import FUSED_ATTENTION
from tvmcomp.frontend.onnx.ops_group_query_attention import GROUP_QUERY_ATTENTION
from tvmcomp.frontend.onnx.ops_integer import INTEGER
from tvmcomp.frontend.onnx.ops_math import MATH
from tvmcomp.frontend.onnx.ops_microsoft import MICROSOFT
from tvmcomp.frontend.onnx.ops_move import MOVE
from tvmcomp.frontend.onnx.ops_nn import NN
from tvmcomp.frontend.onnx.ops_normalize import NORMALIZE
from tvmcomp.frontend.onnx.ops_overlap import OVERLAP
from tvmcomp.frontend.onnx.ops_place import PLACE
from tvmcomp.frontend.onnx.ops_pool import POOL
from tvmcomp.frontend.onnx.ops_product import PRODUCTS
from tvmcomp.frontend.onnx.ops_quantize import QUANTIZE
from tvmcomp.frontend.onnx.ops_quantized_lstm import OWN
from tvmcomp.frontend.onnx.ops_recurrent import RECURRENT
from tvmcomp.frontend.onnx.ops_reduce import REDUCE
from tvmcomp.frontend.onnx.ops_region import REGION
from tvmcomp.frontend.onnx.ops_scatter import SCATTER
from tvmcomp.frontend.onnx.ops_sequence import SEQUENCE
from tvmcomp.frontend.onnx.ops_signal import SIGNAL
from tvmcomp.frontend.onnx.ops_tensor import TENSOR
from tvmcomp.frontend.onnx.ops_text import TEXT
from tvmcomp.tvm_import import tvm

# isort: split
from tvm.relax.frontend.onnx import onnx_frontend  # noqa: TID253
from tvm.relax.frontend.onnx.onnx_frontend import onnx_input  # noqa: TID253

relax = tvm.relax

__all__ = [
    "CONVERTERS",
    "MICROSOFT_CONVERTERS",
    "OWN_CONVERTERS",
    "onnx_input",
    "relax",
    "resolve",
]

_TVM: dict[str, Any] = onnx_frontend._get_convert_map()

#: Operators of our own domain.
OWN_CONVERTERS: dict[str, Any] = {**BLOCKS, **BOUNDED, **OWN}

#: Operators of the ``com.microsoft`` domain: TVM's, and ours.
MICROSOFT_CONVERTERS: dict[str, Any] = {
    **{name: _TVM[name] for name in ("BiasGelu", "FastGelu", "Gelu", "MatMulInteger16")},
    **{name: QUANTIZE[name] for name in ("DequantizeLinear", "QuantizeLinear")},
    **DYNAMIC_RECURRENT,
    **FUSED_ATTENTION,
    **GROUP_QUERY_ATTENTION,
    **MICROSOFT,
}

#: TVM's converters that can't serve: of another domain, of values that are no tensors, or with
#: results whose shape depends on data.
_NOT_SERVED = {
    "AllClassNMS",
    "NonMaxSuppression",
    "Optional",  # rewritten
    "OptionalGetElement",
    "OptionalHasElement",
    "BiasGelu",
    "Compress",
    "EmbedLayerNormalization",
    "FastGelu",
    "MatMulInteger16",
    "NonZero",
    "SkipLayerNormalization",
    "Unique",
}

#: Operators of the standard's domain.
CONVERTERS: dict[str, Any] = {
    **{name: converter for name, converter in _TVM.items() if name not in _NOT_SERVED},
    **ATTENTION,
    **CUMULATIVE,
    **DETECT,
    **EINSUM,
    **ELEMENTWISE,
    **INTEGER,
    **MATH,
    **MOVE,
    **NN,
    **NORMALIZE,
    **OVERLAP,
    **PLACE,
    **POOL,
    **PRODUCTS,
    **QUANTIZE,
    **RECURRENT,
    **REDUCE,
    **REGION,
    **SCATTER,
    **SEQUENCE,
    **SIGNAL,
    **TENSOR,
    **TEXT,
}


_BY_DOMAIN = {"com.microsoft": MICROSOFT_CONVERTERS, "tvmcomp": OWN_CONVERTERS}


def resolve(node: onnx.NodeProto) -> Any:
    """Return the converter class of a supported node."""
    table = _BY_DOMAIN.get(node.domain, CONVERTERS)
    return table[node.op_type]
