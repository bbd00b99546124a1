"""ONNX Runtime's quantized operators that are not products: between Q and DQ.

Sources: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from tvmcomp.frontend.onnx.rewrites.rewriting import MICROSOFT, Rewriting, Rule


def _binary(operator: str) -> Rule:
    """Inputs A, its scale and zero point, B, its, those of the result."""

    def rule(r: Rewriting) -> None:
        left, right = (r.real(r.input(i), r.input(i + 1), r.input(i + 2)) for i in (0, 3))
        r.quantize(r.main(operator, left, right), r.input(6), r.input(7))

    return rule


def _unary(operator: str, *attributes: str) -> Rule:
    """Inputs X, its scale and zero point, those of the result."""

    def rule(r: Rewriting) -> None:
        data = r.real(r.input(0), r.input(1), r.input(2))
        result = r.main(operator, data, **r.pick(*attributes))
        r.quantize(result, r.input(3), r.input(4))

    return rule


def _softmax(r: Rewriting) -> None:
    """Its ``opset`` says which Softmax it is: before 13 over all axes from ``axis`` on, as one."""
    data = r.real(r.input(0), r.input(1), r.input(2))
    axis = r.attributes.get("axis", -1)
    if r.attributes.get("opset", 13) < 13 <= r.opset:
        flat = r.add("Flatten", data, axis=axis)
        normal = r.main("Softmax", flat, axis=1)
        result = r.add("Reshape", normal, r.add("Shape", data))
    else:
        result = r.main("Softmax", data, axis=axis)
    r.quantize(result, r.input(3), r.input(4))


_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")


def _average_pool(r: Rewriting) -> None:
    _pooled(r, "AveragePool", r.pick(*_POOL))


def _global_average_pool(r: Rewriting) -> None:
    _pooled(r, "GlobalAveragePool", {})


def _pooled(r: Rewriting, operator: str, attributes: dict[str, object]) -> None:
    data = r.real(r.input(0), r.input(1), r.input(2))
    last = bool(r.attributes.get("channels_last", 0))
    if last:
        data = r.add("Transpose", data, perm=[0, 3, 1, 2])
    result = r.main(operator, data, **attributes)
    if last:
        result = r.add("Transpose", result, perm=[0, 2, 3, 1])
    r.quantize(result, r.input(3), r.input(4))


def _concat(r: Rewriting) -> None:
    """Inputs: scale and zero point of the result, then three for each tensor."""
    count = len(r.node.input)
    if count < 5 or (count - 2) % 3:
        raise ValueError(f"it has {count} inputs, and must have 2 and 3 for each tensor")
    parts = [r.real(r.input(i), r.input(i + 1), r.input(i + 2)) for i in range(2, count, 3)]
    r.quantize(r.main("Concat", *parts, axis=r.attributes["axis"]), r.input(0), r.input(1))


def _where(r: Rewriting) -> None:
    left, right = (r.real(r.input(i), r.input(i + 1), r.input(i + 2)) for i in (1, 4))
    r.quantize(r.main("Where", r.input(0), left, right), r.input(7), r.input(8))


def _max_pool(r: Rewriting) -> None:
    """NhwcMaxPool of 8-bit numbers: the largest is the largest, quantized or not."""
    data = r.add("Transpose", r.input(0), perm=[0, 3, 1, 2])
    names = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
    pooled = r.main("MaxPool", data, **r.pick(*names))
    r.give(r.add("Transpose", pooled, perm=[0, 2, 3, 1]))


#: Domain and operator -> rule.
RULES: dict[tuple[str, str], Rule] = {
    (MICROSOFT, "NhwcMaxPool"): _max_pool,
    (MICROSOFT, "QLinearAdd"): _binary("Add"),
    (MICROSOFT, "QLinearAveragePool"): _average_pool,
    (MICROSOFT, "QLinearConcat"): _concat,
    (MICROSOFT, "QLinearGlobalAveragePool"): _global_average_pool,
    (MICROSOFT, "QLinearLeakyRelu"): _unary("LeakyRelu", "alpha"),
    (MICROSOFT, "QLinearMul"): _binary("Mul"),
    (MICROSOFT, "QLinearSigmoid"): _unary("Sigmoid"),
    (MICROSOFT, "QLinearSoftmax"): _softmax,
    (MICROSOFT, "QLinearWhere"): _where,
}
