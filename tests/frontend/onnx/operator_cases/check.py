"""Build many cases as one network, run it, and compare each with ONNX Runtime or with onnx."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import onnxruntime
from onnx import helper, numpy_helper

import tvmcomp
from operator_cases.draw import MICROSOFT, Case
from operator_cases.exact import in_floats, saturates
from tvmcomp.api import build  # before children are forked: it takes seconds
from tvmcomp.errors import TvmcompError

onnxruntime.set_default_logger_severity(4)
#: Relative to the largest value of an output, by its type.
_TOLERANCE = {"float16": 4e-3, "float32": 2e-5, "float64": 1e-9}
#: Share of integers that may differ by a case's tolerance: a tie is rare, a wrong rounding is not.
_TIES = 0.05


def failures(cases: Sequence[Case], folder: Path) -> dict[str, str]:
    """Build ``cases``, of one operator set, and compare; return the failures by case."""
    wrong: dict[str, str] = {}
    _check(list(cases), folder, wrong)
    return wrong


def _check(cases: list[Case], folder: Path, wrong: dict[str, str]) -> None:
    try:
        results = _run(cases, folder)
    except Exception as error:  # noqa: BLE001  whatever it is, the case that causes it is named
        if len(cases) == 1:
            kind = "" if isinstance(error, TvmcompError) else f"{type(error).__name__}: "
            wrong[cases[0].describe()] = f"{kind}{' '.join(str(error).split())[:600]}"
            return
        half = len(cases) // 2
        _check(cases[:half], folder, wrong)
        _check(cases[half:], folder, wrong)
        return
    for case, got in zip(cases, results, strict=True):
        try:
            problem = difference(case, got, reference(case))
        except Exception as error:  # noqa: BLE001  a generator at fault is a failure as well
            problem = f"no reference: {type(error).__name__}: {error}"
        if problem:
            wrong[case.describe()] = problem


def _run(cases: list[Case], folder: Path) -> list[list[np.ndarray]]:
    """Build one network of all ``cases`` with the product and run it."""
    path = folder / "cases.onnx"
    onnx.save(merged(cases), path)
    feeds = {f"c{i}_{name}": a for i, case in enumerate(cases) for name, a in case.inputs.items()}
    with tvmcomp.load(build(path, log="none", reference=False)) as session:
        given = session.run(feeds)
    return [[given[f"c{i}_{name}"] for name in case.outputs] for i, case in enumerate(cases)]


def merged(cases: Sequence[Case], opset: int | None = None) -> onnx.ModelProto:
    """One model of all ``cases``: the names of the i-th begin with ``c<i>_``."""
    nodes, inputs, outputs, weights = [], [], [], []
    for i, case in enumerate(cases):
        for node in case.nodes:
            copy = onnx.NodeProto.FromString(node.SerializeToString())
            copy.name = f"c{i}_{node.op_type}_{node.output[0]}"
            copy.input[:] = [f"c{i}_{name}" if name else "" for name in node.input]
            copy.output[:] = [f"c{i}_{name}" if name else "" for name in node.output]
            for attribute in copy.attribute:
                for inner in attribute.g.node:
                    inner.input[:] = [f"c{i}_{name}" for name in inner.input]
                    inner.output[:] = [f"c{i}_{name}" for name in inner.output]
                graph = attribute.g
                for value in (*graph.input, *graph.output, *graph.initializer):
                    value.name = f"c{i}_{value.name}"
            nodes.append(copy)
        inputs += [_value(f"c{i}_{name}", array) for name, array in case.inputs.items()]
        outputs += [onnx.ValueInfoProto(name=f"c{i}_{name}") for name in case.outputs]
        weights += [_weight(f"c{i}_{name}", array) for name, array in case.weights.items()]
    graph = helper.make_graph(nodes, "cases", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", opset or cases[0].opset), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model)
    for output, typed in zip(model.graph.output, inferred.graph.output, strict=True):
        output.CopyFrom(typed)
        if not output.type.tensor_type.elem_type:
            # Shape inference knows nothing of other domains.
            index, name = output.name[1:].split("_", 1)
            case = cases[int(index)]
            dtype = case.types.get(name) or next(iter(case.inputs.values())).dtype
            output.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return model


def _value(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    element_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, element_type, array.shape)


def _weight(name: str, array: np.ndarray | onnx.TensorProto) -> onnx.TensorProto:
    if not isinstance(array, onnx.TensorProto):
        return numpy_helper.from_array(array, name)
    copy = onnx.TensorProto.FromString(array.SerializeToString())
    copy.name = name
    return copy


def reference(case: Case) -> list[np.ndarray]:
    """What ONNX Runtime computes, or onnx's reference where ONNX Runtime can't."""
    feeds = {f"c0_{name}": array for name, array in case.inputs.items()}
    wanted = [f"c0_{name}" for name in case.outputs]
    # In set 22 many operators only got bfloat16, and ONNX Runtime lacks kernels of that version.
    for opset in (case.opset, 21) if case.opset > 21 and _is_same_in_21(case) else (case.opset,):
        with contextlib.suppress(Exception):
            model = merged([case], opset)
            return _onnxruntime(in_floats(model, opset) if saturates() else model, wanted, feeds)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        model = merged([case])
        evaluator = onnx.reference.ReferenceEvaluator(model)
        # Some of its operators give numpy's type of a sum and not the standard's.
        inferred = onnx.shape_inference.infer_shapes(model).graph.output
        kinds = [value.type.tensor_type.elem_type for value in inferred]
        types = [onnx.helper.tensor_dtype_to_np_dtype(kind) for kind in kinds]
        outputs = evaluator.run(wanted, feeds)
        return [np.asarray(x).astype(ty) for x, ty in zip(outputs, types, strict=True)]


def _is_same_in_21(case: Case) -> bool:
    if case.operator.startswith(MICROSOFT):
        return False
    with contextlib.suppress(onnx.defs.SchemaError):
        new, old = (onnx.defs.get_schema(case.operator, opset) for opset in (case.opset, 21))
        return new.attributes.keys() == old.attributes.keys()
    return False


def _onnxruntime(
    model: onnx.ModelProto, wanted: list[str], feeds: dict[str, np.ndarray]
) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(wanted, feeds)


def difference(case: Case, got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> str | None:
    """What is wrong with the outputs of a case; None where they are right."""
    for index, (one, other) in enumerate(zip(got, want, strict=True)):
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            return f"output {index}: {one.dtype}{one.shape}, not {other.dtype}{other.shape}"
        if not other.size:
            continue
        if other.dtype.kind in "biu":
            bad = one != other
            if case.tolerance:
                far = np.abs(one.astype("float64") - other.astype("float64")) > case.tolerance
                whole = _beside_whole(case)
                if whole is not None:
                    bad &= far | ~whole
                elif bad.mean() <= _TIES:
                    bad = far
        else:
            left, right = one.astype("float64"), other.astype("float64")
            tolerance = case.tolerance or _TOLERANCE[str(other.dtype)]
            finite = np.abs(right[np.isfinite(right)])
            limit = tolerance * (finite.max(initial=0) + np.abs(right))
            with np.errstate(invalid="ignore"):
                same = (left == right) | (np.isnan(left) & np.isnan(right))
                bad = ~(same | (np.abs(left - right) <= limit))
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            return (
                f"output {index}: {int(bad.sum())} of {bad.size} wrong, "
                f"at {place} {one[place]} and not {other[place]}"
            )
    return None


def _beside_whole(case: Case) -> np.ndarray | None:
    """Where an interpolated value, that is cut off to an integer, is beside a whole number: there
    sums in another order fall on its other side. None of a case that interpolates nothing, or
    rounds in between."""
    attributes = {attribute.name for attribute in case.nodes[-1].attribute}
    if case.operator != "Resize" or "antialias" in attributes:
        return None
    ((name, array),) = case.inputs.items()
    (value,) = reference(replace(case, inputs={name: array.astype("float32")}, tolerance=None))
    return np.abs(value - np.round(value)) < 1e-4 * max(np.abs(value).max(initial=0), 1)
