"""Changed samples: by a seed, only of what is an image, only as the teacher bears it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import random, save

torch = pytest.importorskip("torch")

from tvmcomp.compress.augment import Augmentation, in_order_of_size  # noqa: E402

node = helper.make_node
IMAGE_CHANGES = ("shift", "zoom", "flip", "upend", "brightness")


def image_model(path, *before, shape=(1, 3, 16, 16)):
    """A convolution over ``x``, after the nodes that lead from "x" to "i"."""
    return onnx.load(
        save(
            path / "m.onnx",
            [*before, node("Conv", ["i" if before else "x", "w"], ["y"])],
            {"x": shape},
            ["y"],
            weights={"w": random(4, 3, 3, 3)},
        )
    )


def images(*shape, seed=0):
    values = np.random.default_rng(seed).uniform(size=(8, *shape)).astype("float32")
    return {"x": torch.from_numpy(values)}


def test_the_same_seed_changes_alike(tmp_path):
    augmentation, batch = (
        Augmentation(image_model(tmp_path), images(1, 3, 16, 16)),
        images(1, 3, 16, 16),
    )
    first, again, other = (augmentation(batch, (0, step))["x"] for step in (5, 5, 6))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first, other)
    assert first.shape == batch["x"].shape
    assert first.min() >= 0 and first.max() <= 1
    torch.testing.assert_close(batch["x"], images(1, 3, 16, 16)["x"])


def only(augmentation, name):
    augmentation.changes, augmentation.mixes = (name,), False
    return augmentation


def test_images_with_channels_last_are_found_through_a_transpose(tmp_path):
    model = image_model(
        tmp_path, node("Transpose", ["x"], ["i"], perm=[0, 3, 1, 2]), shape=(1, 16, 12, 3)
    )
    batch = images(1, 16, 12, 3)
    augmentation = Augmentation(model, batch)
    assert augmentation.changes == IMAGE_CHANGES
    flipped = only(augmentation, "flip")(batch, (0, 0))["x"]
    mirrored = [torch.equal(new, old.flip(2)) for new, old in zip(flipped, batch["x"], strict=True)]
    same = [torch.equal(new, old) for new, old in zip(flipped, batch["x"], strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True)) and any(mirrored) and any(same)


def test_a_shift_moves_whole_pixels(tmp_path):
    batch = {"x": torch.zeros(40, 1, 3, 20, 20)}
    batch["x"][:, :, :, 10, 10] = 1
    moved = only(Augmentation(image_model(tmp_path, shape=(1, 3, 20, 20)), batch), "shift")(
        batch, (1,)
    )
    places = {tuple(int(v) for v in image[0, 0].nonzero()[0]) for image in moved["x"]}
    assert torch.equal(moved["x"].sum((1, 2, 3, 4)), torch.full((40,), 3.0))
    assert len(places) > 5 and all(8 <= row <= 12 and 8 <= col <= 12 for row, col in places)


def test_what_the_teacher_minds_is_left_out(tmp_path):
    batch = images(1, 3, 16, 16)
    augmentation = Augmentation(image_model(tmp_path), batch)

    def agrees(changed):
        return 0.95 if torch.equal(changed["x"], batch["x"].flip(4)) else 0.5

    augmentation.keep_if(agrees, batch, seed=0)
    assert augmentation.changes == ("flip",)


def test_vectors_get_noise_and_mixtures(tmp_path):
    model = onnx.load(
        save(tmp_path / "m.onnx", [node("MatMul", ["x", "w"], ["y"])], {"x": (1, 50)}, ["y"],
             weights={"w": random(50, 2)})
    )  # fmt: skip
    batch = {"x": torch.from_numpy(random(64, 1, 50))}
    augmentation = Augmentation(model, batch)
    assert augmentation.changes == ("noise",)
    augmentation.changes = ()
    mixed = augmentation(batch, (0,))["x"]
    changed = (mixed != batch["x"]).any((1, 2))
    assert 16 < changed.sum() < 48
    # At least half of a mixture is the sample itself, so it is nearer to it than to any other.
    distance = torch.cdist(mixed.flatten(1), batch["x"].flatten(1))
    assert torch.equal(distance.argmin(1), torch.arange(64))


def test_whole_numbers_and_what_comes_with_them_stay(tmp_path):
    model = onnx.load(
        save(
            tmp_path / "m.onnx",
            [node("Gather", ["t", "ids"], ["g"]), node("Mul", ["g", "mask"], ["y"])],
            {"ids": (1, 4), "mask": (1, 4)},
            ["y"],
            weights={"t": random(9)},
            types={"ids": TensorProto.INT64},
        )
    )
    batch = {"ids": torch.arange(32).reshape(8, 1, 4) % 9, "mask": torch.ones(8, 1, 4)}
    changed = Augmentation(model, batch)(batch, (0,))
    assert all(torch.equal(changed[name], batch[name]) for name in batch)


def test_maps_are_compared_in_order_of_size():
    maps = torch.from_numpy(random(2, 1, 3, 4, 4))
    torch.testing.assert_close(in_order_of_size(maps), in_order_of_size(maps.flip(4)))
    rows = torch.from_numpy(random(2, 1, 8))
    assert in_order_of_size(rows) is rows
