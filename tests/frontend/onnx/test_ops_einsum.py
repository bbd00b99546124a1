"""Einsum against numpy: equations of all kinds, as products and sums."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.frontend import load_model
from tvmcomp.passes.pipeline import canonical

EQUATIONS = [
    ("ij,jk->ik", (3, 5), (5, 7)),
    ("ij,jk->ki", (3, 5), (5, 7)),
    ("ij,jk", (3, 5), (5, 7)),
    ("bhid,bhjd->bhij", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("bij,jk,kl->bil", (2, 3, 4), (4, 5), (5, 6)),
    ("...ij,...jk->...ik", (2, 3, 4), (2, 4, 5)),
    ("i,j->ij", (4,), (5,)),
    ("i,i->", (6,), (6,)),
    ("i,i->i", (6,), (6,)),
    ("ij->", (3, 4)),
    ("abc->ca", (3, 4, 5)),
    ("a b , b -> a", (3, 4), (4,)),
    ("ba", (3, 4)),
    ("ii->i", (4, 4)),
    ("ab,cd->", (2, 3), (4, 5)),
    ("bhwc,hkc->bhwk", (2, 3, 4, 5), (3, 6, 5)),
]


@pytest.mark.parametrize(("equation", "shapes"), [(e, shapes) for e, *shapes in EQUATIONS])
def test_equals_numpy(tmp_path, equation, shapes):
    rng = np.random.default_rng(0)
    arrays = {"abc"[n]: rng.normal(size=s).astype("float32") for n, s in enumerate(shapes)}
    expected = np.einsum(equation.replace(" ", ""), *arrays.values())
    graph = helper.make_graph(
        [helper.make_node("Einsum", list(arrays), ["y"], equation=equation)],
        "net",
        [helper.make_tensor_value_info(name, 1, a.shape) for name, a in arrays.items()],
        [helper.make_tensor_value_info("y", 1, expected.shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, tmp_path / "model.onnx")
    mod = canonical(load_model(tmp_path / "model.onnx", {}).mod)
    (given,), _ = run_here(mod, targets.detect(), list(arrays.values()))
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)
