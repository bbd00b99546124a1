"""Matrix products of every type and shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.peers.operators.case import Draw, OperatorCase


def products(draw: Draw) -> Iterator[OperatorCase]:
    """MatMul, Gemm and Einsum."""
    dtypes = ("float32", "float64", "float16", "int32", "int64", "uint32")
    shapes: dict[str, tuple[Sequence[int], Sequence[int]]] = {
        "128x256x512": ((128, 256), (256, 512)),
        "batched 12x97x64x97": ((12, 97, 64), (12, 64, 97)),
        "broadcast 8x33x100 by 100x77": ((8, 33, 100), (100, 77)),
        "vector 512 by 512x2000": ((512,), (512, 2000)),
        "row 1x512 by 512x2000": ((1, 512), (512, 2000)),
        "2000x512 by vector": ((2000, 512), (512,)),
        "column 2000x512x1": ((2000, 512), (512, 1)),
        "narrow 3000x64x3": ((3000, 64), (64, 3)),
        "outer 500x1x400": ((500, 1), (1, 400)),
        "dot 100000": ((100000,), (100000,)),
    }
    for label, (a, b) in shapes.items():
        for dtype in dtypes if label[0] in "1b" else ("float32", "float64", "int32"):
            left, right = draw(a, dtype), draw(b, dtype)
            yield OperatorCase(f"MatMul {dtype} {label}", "MatMul", {"a": left, "b": right})
            name = f"MatMul {dtype} {label}, constant"
            yield OperatorCase(name, "MatMul", {"a": left}, {"b": right})
    left, right = draw((128, 256)), draw((256, 512))
    yield OperatorCase("MatMul constant left", "MatMul", {"b": right}, {"a": left}, ("a", "b"))
    for dtype in ("float32", "float64", "int32"):
        a, b, c = draw((256, 128), dtype), draw((512, 256), dtype), draw((512,), dtype)
        attributes = {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}
        if dtype == "int32":
            attributes |= {"alpha": 1.0, "beta": 1.0}
        inputs = {"a": a, "b": b, "c": c}
        yield OperatorCase(f"Gemm {dtype} all given", "Gemm", inputs, attributes=attributes)
        constants = {"b": b, "c": c}
        yield OperatorCase(f"Gemm {dtype} constant", "Gemm", {"a": a}, constants, (), attributes)
    for equation, a, b in (
        ("bij,bjk->bik", (8, 64, 96), (8, 96, 80)),
        ("bhid,bhjd->bhij", (2, 4, 64, 32), (2, 4, 64, 32)),
        ("bhwc,hkc->bhwk", (2, 16, 16, 64), (16, 16, 64)),
        ("ij,jk->ki", (128, 256), (256, 128)),
        ("i,j->ij", (500,), (600,)),
        ("ij->", (500, 600), None),
        ("abc->ca", (40, 50, 60), None),
    ):
        inputs = {"a": draw(a)} | ({"b": draw(b)} if b else {})
        yield OperatorCase(
            f"Einsum {equation}", "Einsum", inputs, attributes={"equation": equation}
        )


def integer_products(draw: Draw) -> Iterator[OperatorCase]:
    """MatMulInteger and ConvInteger."""
    for label, a, b in (
        ("128x384x1536", (128, 384), (384, 1536)),
        ("1x384x1536", (1, 384), (384, 1536)),
        ("8x33x100x77", (8, 33, 100), (100, 77)),
        ("batched 12x64x33x70", (12, 64, 33), (12, 33, 70)),
    ):
        for left in ("uint8", "int8"):
            for right in ("int8", "uint8"):
                if left == "int8" and right == "uint8":
                    continue  # ONNX Runtime has none.
                data, weight = draw(a, left), draw(b, right)
                name = f"MatMulInteger {left} {right} {label}"
                zero = {"za": np.array(3, left), "zb": np.array(1, right)}
                yield OperatorCase(f"{name}, all given", "MatMulInteger", {"a": data, "b": weight})
                yield OperatorCase(f"{name}, constant", "MatMulInteger", {"a": data}, {"b": weight})
                yield OperatorCase(
                    f"{name}, constant, zero points",
                    "MatMulInteger",
                    {"a": data, "za": zero["za"]},
                    {"b": weight, "zb": zero["zb"]},
                    ("a", "b", "za", "zb"),
                )
    for label, x, w, attributes in (
        ("3x3", (1, 32, 28, 28), (64, 32, 3, 3), {"pads": [1] * 4}),
        ("grouped", (1, 32, 28, 28), (64, 8, 3, 3), {"pads": [1] * 4, "group": 4}),
        ("depthwise", (1, 32, 28, 28), (32, 1, 3, 3), {"pads": [1] * 4, "group": 32}),
    ):
        data, weight = draw(x, "uint8"), draw(w, "uint8")
        yield OperatorCase(
            f"ConvInteger {label}", "ConvInteger", {"x": data}, {"w": weight}, (), attributes
        )
        yield OperatorCase(
            f"ConvInteger {label}, zero points",
            "ConvInteger",
            {"x": data, "zx": np.array(3, "uint8")},
            {"w": weight, "zw": np.array(2, "uint8")},
            ("x", "w", "zx", "zw"),
            attributes,
        )
