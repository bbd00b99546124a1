import struct
import zlib

import msgspec
import numpy as np
import pytest
from PIL import Image

from tvmcomp.errors import CalibrationError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.quantize.data import load_samples
from tvmcomp.quantize.images import Preprocess, load_image

PLAIN = Preprocess(layout="NCHW", color="RGB", scale=1.0)
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def spec(*shape, dtype="float32"):
    return TensorSpec("x", shape, dtype)


def write(tmp_path, pixels=PIXELS, name="a.png", **options):
    path = tmp_path / name
    Image.fromarray(pixels).save(path, **options)
    return path


def changed(**fields):
    return msgspec.structs.replace(PLAIN, **fields)


def test_layout_color_and_normalisation(tmp_path):
    path = write(tmp_path)
    rgb = load_image(path, PLAIN, spec(1, 3, 6, 8))
    assert rgb.dtype == np.float32
    np.testing.assert_array_equal(rgb[0], PIXELS.transpose(2, 0, 1))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    normal = changed(scale=1 / 255, mean=mean, std=std, layout="NHWC")
    expected = (PIXELS / 255 - mean) / std
    got = load_image(path, normal, spec(1, 6, 8, 3))
    np.testing.assert_allclose(got[0], expected, rtol=1e-6)
    # mean and std are in the order of the color given.
    bgr = changed(color="BGR", mean=(1.0, 2.0, 3.0))
    got = load_image(path, bgr, spec(1, 3, 6, 8))
    np.testing.assert_array_equal(got[0, 0], PIXELS[:, :, 2] - 1.0)
    np.testing.assert_array_equal(got[0, 2], PIXELS[:, :, 0] - 3.0)


def test_gray_input(tmp_path):
    got = load_image(write(tmp_path), changed(color="gray"), spec(1, 1, 6, 8))
    np.testing.assert_allclose(got[0, 0], PIXELS @ [0.299, 0.587, 0.114], atol=1)


def test_integer_input(tmp_path):
    path = write(tmp_path)
    got = load_image(path, PLAIN, spec(1, 3, 6, 8, dtype="uint8"))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got[0], PIXELS.transpose(2, 0, 1))
    with pytest.raises(CalibrationError, match="uint8 does not hold"):
        load_image(path, changed(mean=128.0), spec(1, 3, 6, 8, dtype="uint8"))


def test_stretch(tmp_path):
    path = write(tmp_path, np.full((10, 40, 3), 77, np.uint8))
    assert (load_image(path, PLAIN, spec(1, 3, 8, 8)) == 77).all()


def test_center_crop(tmp_path):
    pixels = np.zeros((4, 12, 3), np.uint8)
    pixels[:, 4:8] = 200
    crop = changed(resize="center-crop", resize_shorter=4)
    assert (load_image(write(tmp_path, pixels), crop, spec(1, 3, 4, 4)) == 200).all()
    assert (load_image(write(tmp_path, pixels), crop, spec(1, 3, 2, 2)) == 200).all()
    with pytest.raises(CalibrationError, match="resize_shorter = 4 is less"):
        load_image(write(tmp_path, pixels), crop, spec(1, 3, 8, 8))


def test_letterbox(tmp_path):
    pixels = np.full((4, 8, 3), 200, np.uint8)
    box = changed(resize="letterbox", letterbox_fill=9)
    got = load_image(write(tmp_path, pixels), box, spec(1, 3, 8, 8))[0, 0]
    assert (got[:2] == 9).all() and (got[2:6] == 200).all() and (got[6:] == 9).all()


def test_exif_orientation_palette_and_alpha(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    flat = np.full((6, 8, 3), 90, np.uint8)
    flat[:, :4] = 10
    path = write(tmp_path, flat, "a.png", exif=exif)
    got = load_image(path, PLAIN, spec(1, 3, 8, 6))[0, 0]
    assert (got[:4] == 10).all() and (got[4:] == 90).all()
    rgba = np.dstack([PIXELS, np.full((6, 8), 128, np.uint8)])
    got = load_image(write(tmp_path, rgba), PLAIN, spec(1, 3, 6, 8))
    np.testing.assert_array_equal(got[0], PIXELS.transpose(2, 0, 1))


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "webp", "JPEG"])
def test_formats(tmp_path, suffix):
    path = write(tmp_path, np.full((6, 8, 3), 77, np.uint8), f"a.{suffix}")
    got = load_image(path, PLAIN, spec(1, 3, 6, 8))
    np.testing.assert_allclose(got, 77, atol=2)


def test_folder_of_images_in_class_folders(tmp_path):
    for name, value in [("cat/1.png", 10), ("cat/2.jpg", 20), ("dog/1.png", 30)]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, np.full((6, 8, 3), value, np.uint8), name)
    signature = Signature((spec(1, 3, 6, 8),), ())
    samples = load_samples(tmp_path, signature, PLAIN)
    assert [round(float(sample["x"].mean())) for sample in samples] == [10, 20, 30]
    with pytest.raises(CalibrationError, match="declared") as caught:
        load_samples(tmp_path, signature)
    assert "[calibration.images]" in str(caught.value)
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(CalibrationError, match="both arrays"):
        load_samples(tmp_path, signature, PLAIN)


@pytest.mark.parametrize("shape", [(1, 6, 8, 3), (2, 3, 6, 8), (1, 48), (1, 1, 6, 8)])
def test_image_does_not_fit_the_input(tmp_path, shape):
    with pytest.raises(CalibrationError, match="does not fit the shape"):
        load_image(write(tmp_path), PLAIN, spec(*shape))


def png_header(width, height):
    """A PNG that claims a size and holds no pixels."""
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr))
    idat = b"IDAT" + zlib.compress(b"")
    data = struct.pack(">I", len(idat) - 4) + idat + struct.pack(">I", zlib.crc32(idat))
    return b"\x89PNG\r\n\x1a\n" + chunk + data


@pytest.mark.parametrize("size", [(9000, 9000), (12000, 10000), (60000, 60000)])
def test_decompression_bomb(tmp_path, size, recwarn):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(*size))
    with pytest.raises(CalibrationError, match=r"bomb\.png.*64 megapixels"):
        load_image(path, PLAIN, spec(1, 3, 6, 8))
    assert not recwarn.list


def test_damaged_and_deep_images(tmp_path):
    path = write(tmp_path, np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(CalibrationError, match=r"a\.png.*can't be read"):
        load_image(path, PLAIN, spec(1, 3, 6, 8))
    path.write_bytes(b"GIF89a")
    with pytest.raises(CalibrationError, match="not a PNG"):
        load_image(path, PLAIN, spec(1, 3, 6, 8))
    deep = write(tmp_path, np.full((6, 8), 40000, np.uint16), "deep.png")
    with pytest.raises(CalibrationError, match="more than 8 bits"):
        load_image(deep, PLAIN, spec(1, 3, 6, 8))
