"""What moves elements: transposes, joins, borders, indices, resizing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.peers.operators.case import Draw, OperatorCase


def moves(draw: Draw) -> Iterator[OperatorCase]:
    """Transpose, Concat, Split, Pad, Slice and the like."""
    data = draw((8, 60, 40, 30))
    for dtype in ("float32", "uint8", "int64", "float64", "float16"):
        for perm in (
            [0, 2, 3, 1],
            [0, 3, 1, 2],
            [3, 2, 1, 0],
            [1, 0, 2, 3],
            [0, 2, 1, 3],
            [2, 0, 3, 1],
        ):
            if dtype != "float32" and perm not in ([0, 2, 3, 1], [3, 2, 1, 0]):
                continue
            yield OperatorCase(
                f"Transpose {dtype} {perm}",
                "Transpose",
                {"x": data.astype(dtype)},
                attributes={"perm": perm},
            )
    yield OperatorCase(
        "Transpose 2-d", "Transpose", {"x": draw((1000, 700))}, attributes={"perm": [1, 0]}
    )
    yield OperatorCase(
        "Transpose 5-d",
        "Transpose",
        {"x": draw((8, 6, 10, 40, 30))},
        attributes={"perm": [0, 3, 1, 4, 2]},
    )
    for axis in range(4):
        inputs = {"a": data, "b": draw((8, 60, 40, 30)), "c": draw((8, 60, 40, 30))}
        yield OperatorCase(f"Concat {axis}", "Concat", inputs, attributes={"axis": axis})
        constants = {"sizes": np.array([data.shape[axis] - 5, 5])}
        yield OperatorCase(
            f"Split {axis}", "Split", {"x": data}, constants, (), {"axis": axis}, outputs=2
        )
    for mode in ("constant", "edge", "reflect", "wrap"):
        for label, pads in (
            ("hw", [0, 0, 2, 3, 0, 0, 2, 3]),
            ("w", [0, 0, 0, 5, 0, 0, 0, 4]),
            ("c", [0, 3, 0, 0, 0, 4, 0, 0]),
        ):
            opset = 19 if mode == "wrap" else 17
            constants = {"pads": np.array(pads)}
            yield OperatorCase(
                f"Pad {mode} {label}",
                "Pad",
                {"x": data},
                constants,
                (),
                {"mode": mode},
                opset=opset,
            )
    for label, starts, ends, axes, steps in (
        ("inner", [3], [27], [3], [1]),
        ("stride 2 inner", [0], [30], [3], [2]),
        ("stride 2 outer", [0], [40], [2], [2]),
        ("reversed inner", [-1], [-31], [3], [-1]),
        ("channel", [7], [50], [1], [1]),
    ):
        constants = {
            k: np.array(v) for k, v in zip("seat", (starts, ends, axes, steps), strict=True)
        }
        yield OperatorCase(f"Slice {label}", "Slice", {"x": data}, constants)
    yield OperatorCase("Tile", "Tile", {"x": draw((1, 20, 40, 30))}, {"r": np.array([2, 3, 1, 2])})
    yield OperatorCase(
        "Expand outer", "Expand", {"x": draw((1, 60, 1, 30))}, {"s": np.array([8, 60, 40, 30])}
    )
    yield OperatorCase(
        "Expand inner", "Expand", {"x": draw((8, 60, 40, 1))}, {"s": np.array([8, 60, 40, 30])}
    )
    for mode in ("DCR", "CRD"):
        data = draw((1, 64, 40, 40))
        yield OperatorCase(
            f"DepthToSpace {mode}",
            "DepthToSpace",
            {"x": data},
            attributes={"blocksize": 2, "mode": mode},
        )
    yield OperatorCase(
        "SpaceToDepth", "SpaceToDepth", {"x": draw((1, 16, 80, 80))}, attributes={"blocksize": 2}
    )
    yield OperatorCase("Trilu", "Trilu", {"x": draw((20, 100, 100))})
    lengths = draw.rng.integers(1, 50, 20)
    yield OperatorCase(
        "ReverseSequence",
        "ReverseSequence",
        {"x": draw((50, 20, 64)), "l": lengths},
        attributes={"time_axis": 0},
    )


def indexing(draw: Draw) -> Iterator[OperatorCase]:
    """Gather, Scatter and OneHot."""
    data, rng = draw((100, 60, 50)), draw.rng
    for axis in range(3):
        indices = rng.integers(0, data.shape[axis], (40,))
        yield OperatorCase(
            f"Gather {axis}", "Gather", {"x": data, "i": indices}, attributes={"axis": axis}
        )
        yield OperatorCase(
            f"Gather {axis} constant", "Gather", {"x": data}, {"i": indices}, (), {"axis": axis}
        )
        several = rng.integers(0, data.shape[axis], (70, 50, 40))
        inputs = {"x": data, "i": several}
        yield OperatorCase(
            f"GatherElements {axis}", "GatherElements", inputs, attributes={"axis": axis}
        )
        shape = [40, 30, 20]
        target = np.argsort(rng.random(data.shape), axis=axis)[:40, :30, :20]
        inputs = {"x": data, "i": np.ascontiguousarray(target), "u": draw(shape)}
        yield OperatorCase(
            f"ScatterElements {axis}", "ScatterElements", inputs, attributes={"axis": axis}
        )
    inputs = {"x": draw((5000, 64)), "i": rng.integers(0, 5000, (16, 64))}
    yield OperatorCase("Gather embedding", "Gather", inputs)
    inputs = {"x": data, "i": rng.integers(0, 50, (500, 2))}
    yield OperatorCase("GatherND 2", "GatherND", inputs)
    inputs = {"x": data, "i": rng.integers(0, 50, (5000, 3))}
    yield OperatorCase("GatherND 3", "GatherND", inputs)
    places = rng.permutation(100)[:60, None]
    yield OperatorCase(
        "ScatterND 1", "ScatterND", {"x": data, "i": places, "u": draw((60, 60, 50))}
    )
    inputs = {"i": rng.integers(0, 100, (50, 40))}
    constants = {"d": np.array(100), "v": np.array([0, 1], "float32")}
    yield OperatorCase("OneHot", "OneHot", inputs, constants)
    yield OperatorCase("OneHot axis 0", "OneHot", inputs, constants, (), {"axis": 0})


def resizes(draw: Draw) -> Iterator[OperatorCase]:
    """Resize, GridSample and RoiAlign."""
    for mode in ("nearest", "linear", "cubic"):
        for label, shape, size in (
            ("up 2", (1, 32, 40, 40), (1, 32, 80, 80)),
            ("down", (1, 32, 80, 80), (1, 32, 33, 47)),
        ):
            constants = {"s": np.array(size)}
            yield OperatorCase(
                f"Resize {mode} {label}",
                "Resize",
                {"x": draw(shape)},
                constants,
                ("x", "", "", "s"),
                {"mode": mode},
            )
    for mode in ("nearest", "linear"):
        constants = {"s": np.array((1, 32, 1000))}
        yield OperatorCase(
            f"Resize {mode} 1-d",
            "Resize",
            {"x": draw((1, 32, 400))},
            constants,
            ("x", "", "", "s"),
            {"mode": mode},
        )
        constants = {"s": np.array((1, 8, 16, 40, 40))}
        yield OperatorCase(
            f"Resize {mode} 3-d",
            "Resize",
            {"x": draw((1, 8, 8, 20, 20))},
            constants,
            ("x", "", "", "s"),
            {"mode": mode},
        )
    for mode in ("linear", "nearest"):
        grid = draw.rng.uniform(-1.1, 1.1, (1, 40, 40, 2)).astype("float32")
        attributes = {"mode": "bilinear" if mode == "linear" else mode}
        yield OperatorCase(
            f"GridSample {mode}",
            "GridSample",
            {"x": draw((1, 32, 40, 40)), "g": grid},
            attributes=attributes,
        )
    boxes = np.array([[2, 3, 20, 30], [0, 0, 39, 39], [10, 5, 15, 25]] * 4, "float32")
    batch = np.zeros(12, "int64")
    attributes = {"output_height": 7, "output_width": 7, "sampling_ratio": 2}
    yield OperatorCase(
        "RoiAlign",
        "RoiAlign",
        {"x": draw((1, 32, 40, 40)), "r": boxes, "b": batch},
        attributes=attributes,
    )
