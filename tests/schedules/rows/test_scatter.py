"""Scattering elements: updates smaller than the data, each kind, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from schedules.anchor_cases import call, compiled

from tvmcomp import targets
from tvmcomp.schedules.rows.scatter import UPDATES, scatter_elements
from tvmcomp.tvm_import import tvm

te = tvm.te
HERE = targets.detect()

CASES = [
    ((5, 6, 7), (3, 4, 2), 0),
    ((5, 6, 7), (5, 9, 7), 1),
    ((20,), (30,), 0),
    ((4, 33), (2, 5), 1),
]
NUMPY = {
    "update": lambda old, new: new,
    "add": np.add,
    "mul": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
}


@pytest.mark.parametrize(("shape", "places", "axis"), CASES)
@pytest.mark.parametrize("reduction", UPDATES)
def test_equals_numpy(shape, places, axis, reduction):
    rng = np.random.default_rng(0)
    dtype = "float32" if axis else "int64"
    data, updates = (rng.integers(-4, 5, size).astype(dtype) for size in (shape, places))
    indices = rng.integers(0, shape[axis], places)
    expected = data.copy()
    for at in np.ndindex(*places):
        to = (*at[:axis], indices[at], *at[axis + 1 :])
        expected[to] = NUMPY[reduction](expected[to], updates[at])
    tensors = [
        te.placeholder(array.shape, str(array.dtype), name)
        for name, array in (("data", data), ("indices", indices), ("updates", updates))
    ]
    func = te.create_prim_func(
        [*tensors, scatter_elements(*tensors, axis, reduction, HERE)]
    ).with_attr("global_symbol", "main")
    executable = compiled(tvm.IRModule({"main": func}), HERE)
    np.testing.assert_array_equal(
        call(executable, [data, indices, updates], shape, dtype), expected
    )
