"""Masks: what reads channels reads zero, or what it is told, in the place of some."""

from __future__ import annotations

from needed import package

package("torch", "compress")

import numpy as np  # noqa: E402
from networks import NetworkWriter  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from test_groups import image, outputs  # noqa: E402

from tvmcomp.compress.channels.groups import find_groups  # noqa: E402
from tvmcomp.compress.channels.mask import masked, read_tensors  # noqa: E402
from tvmcomp.compress.original import read_original  # noqa: E402


def test_means_stand_in_for_what_is_removed(tmp_path):
    net = NetworkWriter(0)
    wide = net.op("Relu", net.conv("x", (8, 3), (1, 1)))
    pooled = net.op("GlobalAveragePool", wide)
    net.op("Flatten", net.conv(pooled, (5, 8), (1, 1)), name="y")
    model = read_original(net.save(tmp_path / "n.onnx", {"x": (1, 3, 6, 6)}, ["y"])).prepared
    groups = find_groups(model)
    (group,) = groups.groups
    assert list(read_tensors(groups)) == [f"{pooled}:1"]
    means = np.arange(8, dtype=np.float32)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    first, bias, second, last = (constants[n] for node in convolutions for n in node.input[1:])
    removed = {group.classes[1], group.classes[6]}
    got = outputs(masked(groups, removed, {f"{pooled}:1": means}).model, image(0))
    read = np.einsum("oc,chw->ohw", first[:, :, 0, 0], image(0)[0]) + bias[:, None, None]
    read = np.maximum(read, 0).mean((1, 2))
    read[[1, 6]] = means[[1, 6]]
    np.testing.assert_allclose(got[0], second[:, :, 0, 0] @ read + last, rtol=1e-4, atol=1e-5)
