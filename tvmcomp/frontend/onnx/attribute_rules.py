"""What the attributes of ONNX operators may be, where neither onnx's checker nor its shape
inference says so: the words of the standard, 0-or-1 flags, positive sizes."""

from __future__ import annotations

import numpy as np
import onnx

from tvmcomp.frontend.onnx.node_facts import NodeFacts
from tvmcomp.frontend.onnx.recurrent_rules import KINDS, check_recurrent_attributes

_AUTO_PAD = ("", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
_REDUCTIONS = ("none", "add", "mul", "max", "min")

#: (operator, attribute) -> the words that it may be.
_WORDS: dict[tuple[str, str], tuple[str, ...]] = {
    **{
        (operator, "auto_pad"): _AUTO_PAD
        for operator in ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "AveragePool",
                         "MaxPool", "LpPool")
    },
    ("BitShift", "direction"): ("LEFT", "RIGHT"),
    ("Cast", "round_mode"): ("up", "down", "nearest"),
    ("CastLike", "round_mode"): ("up", "down", "nearest"),
    ("DepthToSpace", "mode"): ("DCR", "CRD"),
    ("SpaceToDepth", "mode"): ("DCR", "CRD"),
    ("Gelu", "approximate"): ("none", "tanh"),
    ("GridSample", "mode"): ("linear", "bilinear", "nearest", "cubic", "bicubic"),
    ("GridSample", "padding_mode"): ("zeros", "border", "reflection"),
    ("Pad", "mode"): ("constant", "reflect", "edge", "wrap"),
    ("Resize", "mode"): ("nearest", "linear", "cubic"),
    ("Resize", "coordinate_transformation_mode"): (
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
        "tf_half_pixel_for_nn", "tf_crop_and_resize",
    ),
    ("Resize", "nearest_mode"): ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    ("Resize", "keep_aspect_ratio_policy"): ("stretch", "not_larger", "not_smaller"),
    ("RoiAlign", "mode"): ("avg", "max"),
    ("RoiAlign", "coordinate_transformation_mode"): ("half_pixel", "output_half_pixel"),
    ("ScatterElements", "reduction"): _REDUCTIONS,
    ("ScatterND", "reduction"): _REDUCTIONS,
    ("TensorScatter", "mode"): ("linear", "circular"),
    ("TfIdfVectorizer", "mode"): ("TF", "IDF", "TFIDF"),
    ("Upsample", "mode"): ("nearest", "linear"),
}  # fmt: skip

#: (operator, attribute) that may only be 0 or 1.
_FLAGS = {
    ("CumProd", "exclusive"), ("CumProd", "reverse"),
    ("CumSum", "exclusive"), ("CumSum", "reverse"), ("MaxPool", "storage_order"), ("Mod", "fmod"),
    ("NonMaxSuppression", "center_point_box"),
}  # fmt: skip

#: (operator, attribute) of which every number must be above 0.
_POSITIVE = {
    ("Attention", "kv_num_heads"), ("Attention", "q_num_heads"),
    ("LRN", "alpha"), ("LRN", "beta"), ("LRN", "size"), ("LpPool", "p"),
    ("MaxUnpool", "kernel_shape"), ("MaxUnpool", "strides"),
    ("DepthToSpace", "blocksize"), ("SpaceToDepth", "blocksize"),
}  # fmt: skip

#: Channels that an LRN may average over: it is a loop of so many steps.
_WIDEST = 65535

#: Attributes that hold the number of a type of elements.
_TYPES = {"stash_type", "to", "dtype", "output_dtype"}

#: Operators whose pads may not stand beside an auto_pad that computes them.
_ONE_PADDING = {"Conv", "ConvInteger", "ConvTranspose", "QLinearConv"}


def check_attributes(node: NodeFacts) -> None:
    """Raise ValueError where an attribute of ``node`` is not what its operator takes."""
    operator = node.node.op_type
    for name, value in node.attributes.items():
        if isinstance(value, onnx.AttributeProto):
            raise ValueError(f"its {name} is an attribute of a function, and it is in none")
        words = _WORDS.get((operator, name))
        if words is not None and value not in words:
            raise ValueError(f"its {name} is {value!r}, and not one of {', '.join(words)}")
        if (operator, name) in _FLAGS and value not in (0, 1):
            raise ValueError(f"its {name} is {value}, and may only be 0 or 1")
        if (operator, name) in _POSITIVE and not np.all(np.asarray(value) > 0):
            raise ValueError(f"its {name} is {value}, and must be above 0")
        if name in _TYPES and (
            value not in onnx.TensorProto.DataType.values() or value == onnx.TensorProto.UNDEFINED
        ):
            raise ValueError(f"its {name} is {value}, which is no type of elements")
    if operator in KINDS:
        check_recurrent_attributes(node)
    size = node.attributes.get("size", 1)
    if operator == "LRN" and (size % 2 == 0 or size > _WIDEST):
        raise ValueError(f"its size is {size}, not an odd number to {_WIDEST}")
    mode = node.attributes.get("mode", "nearest")
    if operator == "Resize" and mode == "nearest" and node.attributes.get("antialias", 0):
        raise ValueError("its mode is nearest, and antialias goes with linear and cubic")
    if operator == "Resize" and mode != "cubic" and node.attributes.get("exclude_outside", 0):
        raise ValueError(f"its mode is {mode}, and exclude_outside goes with cubic")
    auto_pad = node.attributes.get("auto_pad", "NOTSET")
    if operator in _ONE_PADDING and auto_pad not in ("", "NOTSET") and "pads" in node.attributes:
        raise ValueError(f"it has both pads and the auto_pad {auto_pad}")
