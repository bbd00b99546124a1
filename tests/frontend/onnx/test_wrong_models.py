"""What ONNX Runtime refuses, at load or in a run, the import refuses, with one clear error.

Models are ONNX's node tests with one change each; ``wrong_models`` makes them.
"""

from __future__ import annotations

import random
import re

import onnx
import onnxruntime
import pytest
from onnx_node_suite import node_tests
from wrong_models import Variant, base, outcomes, variants

from tvmcomp.frontend import load_model
from tvmcomp.frontend.onnx.converters import CONVERTERS

#: Operator sets that the models are written in, where the operator allows it.
OPSETS = (17, 21)
#: Node tests that models of one operator are made from.
BASES = 3

#: Refused by ONNX Runtime and accepted here, with the reason.
ACCEPTED = {
    "Dilation not supported for AutoPadType": "a limit of its kernel; the standard allows it",
    "Calculated output dimension is negative": "its SAME padding leaves out the dilation",
    "round_mode is only used for": "it says nothing of other types, as the standard has it",
    "lrn.cc.* == 4 was false": "its kernel takes images alone; the standard any rank",
    "Axes input is null": "the standard has an input without a name for one that is left out",
    "mode only supports": "its kernels resize images alone; the standard any axes",
    "Non per-tensor quantization|matmul_integer": "a limit of its kernel",
    "ind(ex|ice) found|out of data bounds|Out of range value in index": "indices that come at "
    "run time are brought into range; docs say so",
    "Invalid sequence length": "lengths that come at run time are cut off at the axis's end",
    "attention_helper": "a mask of three dimensions, which the standard allows",
    "zero effective input extent": "a pooling of nothing but padding, which the standard allows",
    "window_functions": "bands up to half the rate of a transform of odd length",
    "Failed to allocate memory|bad_alloc": "memory is what the machine has, and our limits",
}

#: Accepted by ONNX Runtime and refused here, with the reason: a part of our message.
REFUSED = {
    "unbound dimension": "an input of no elements has nothing to compute",
    "One and only one of the attributes": "the standard refuses it",
    "is an extra output of its operator that is not supported": "not supported",
    "not supported": "said so: training, indices of pools, and the like",
    "can be read": "operator sets before 7",
    "which is no type of elements": "it ignores stash_type",
    "exceeds range of int32": "strides, pads and shifts above 2^31",
    "its (axis|axes) is -?[0-9]{10}": "it casts axes to 32 bits",
    "AffineGrid.*must be above 0": "it does not look at the number of channels",
    "batch_dims .* do not suit": "batches that differ",
    "float (NaN|infinity) to integer": "a Range by steps of 0 or NaN",
    "its window covers": "it rounds a size below 0 to one of 1",
    "its input . has shape .* channels": "a scale or bias of more dimensions",
    "it divides by that": "quantization by a scale of 0",
    "not an odd number to": "a loop of so many steps",
    "its p is": "a norm of order 0",
    "ReverseSequence .*its batch_axis": "axes other than the first two, which it takes for them",
    "CenterCropPad .*its shape is": "a size below 0",
    "its reduction is|its nearest_mode is|its mode is": "a word that there is not, ignored by it",
    "non-repetitive|repeated": "an axis named twice",
    "MeanVarianceNormalization .* its axes is": "it casts axes to 32 bits",
    "the limit is": "our limits",
    "its (linear_before_reset|input_forget) is": "any number but 0 means 1 to it",
    "Unrecognized attribute": "an attribute that the operator does not have",
    "n-grams, and [0-9]+ places": "more places than n-grams, which it does not count",
    "Attention.*its (q|kv)_num_heads is": "a number that it reads of inputs of three axes only",
    "TfIdfVectorizer.*n-grams hold numbers": "numbers of n-grams that the input's type can't hold",
    "RNN.*its clip is 0": "a clip of 0, by which it does not clip",
    "NonMaxSuppression .*max_output_boxes": "a number of boxes of no or several elements",
    "NonMaxSuppression .*threshold": "a threshold of no element, which it takes for none given",
    "holds strings|can't be given to a network": "types of inputs that a session can't take",
    "Unsupported PRelu slope|relax.nn.(rms_norm|group_norm|prelu)": "shapes that "
    "broadcast the input, or of a rank that the standard does not have",
    "uses .* operator": "operators that can't be compiled",
}


def draw(seed: int, count: int) -> list[Variant]:
    """``count`` variants, of all operators alike."""
    rng = random.Random(seed)
    by_operator: dict[str, list[Variant]] = {}
    names = sorted(node_tests())
    rng.shuffle(names)
    for name in names:
        case = node_tests()[name]
        node = case.model.graph.node[0] if case.model and len(case.model.graph.node) == 1 else None
        if node is None or node.domain or node.op_type not in CONVERTERS:
            continue
        found = by_operator.setdefault(node.op_type, [])
        start = base(case) if len(found) < BASES else None
        if start is not None:
            found.append(start)
    operators = [each for each, found in by_operator.items() if found]
    drawn: list[Variant] = []
    while len(drawn) < count:
        start = rng.choice(by_operator[rng.choice(operators)])
        set_opset(start, rng.choice(OPSETS))
        drawn.append(rng.choice(list(variants(start))))
    return drawn


def set_opset(start: Variant, wanted: int) -> None:
    """Write the model in operator set ``wanted``, or the operator's own where that is newer."""
    for entry in start.model.opset_import:
        schema = onnx.defs.get_schema(start.model.graph.node[0].op_type, entry.version)
        entry.version = max(schema.since_version, wanted)


def reference(variant: Variant) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = variant.model.SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(None, variant.feeds)


def faults(drawn: list[Variant]) -> list[str]:
    """What of ``drawn`` only one of them refuses, and everything that is no answer."""
    theirs = outcomes(reference, drawn)
    ours = outcomes(lambda variant: load_model(variant.model), drawn)
    found = []
    for variant, their, our in zip(drawn, theirs, ours, strict=True):
        if our.startswith(("raised", "died")):
            fault = True
        elif re.search("NOT_IMPLEMENTED|MLDataType|Numpy [Tt]ype|numpy_type", their):
            fault = False  # it can't run the model, or not from Python: it says nothing of it
        elif their == "ok":
            fault = our != "ok" and not any(re.search(text, our) for text in REFUSED)
        else:
            fault = our == "ok" and not any(re.search(text, their) for text in ACCEPTED)
        if fault:
            node = variant.model.graph.node[0]
            found.append(f"{node.op_type}, {variant.change}: {their[:200]} | {our[:200]}")
    return found


@pytest.mark.filterwarnings("ignore")
def test_some_wrong_models_are_refused():
    assert faults(draw(seed=1, count=60)) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_many_wrong_models_are_refused():
    assert faults(draw(seed=2, count=3000)) == []
