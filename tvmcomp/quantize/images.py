"""Image files as network inputs, with the preprocessing that the user declares."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from tvmcomp.errors import CalibrationError
from tvmcomp.model import TensorSpec

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")

#: An image of more pixels is refused before it is decoded: a few kilobytes can claim gigapixels.
MAX_PIXELS = 64_000_000

EXAMPLE = """\
[calibration.images]
layout = "NCHW"              # or "NHWC"
color = "RGB"                # or "BGR", "gray"
scale = 0.00392156862745098  # 1/255; then (pixel * scale - mean) / std
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
resize = "center-crop"       # or "stretch", "letterbox"
resize_shorter = 256         # for "center-crop"
"""


class Preprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How an image becomes an input: resized, then ``(pixel * scale - mean) / std``.

    Height, width and dtype are the network input's own. The image is first turned as its EXIF
    orientation says; transparency is dropped.

    Attributes:
        layout: axis order of the input.
        color: channel order of the input; ``gray`` is one channel.
        scale: factor on pixels, which are 0 to 255.
        mean: subtracted after scaling: one value, or one a channel in the order of ``color``.
        std: divided by after that: one value, or one a channel in the order of ``color``.
        resize: ``stretch`` to the input's size; ``center-crop`` after resizing the shorter side
            to ``resize_shorter``; ``letterbox`` keeps the aspect ratio and fills the rest.
        resize_shorter: pixels, for ``center-crop``; not below the input's height or width.
        letterbox_fill: pixel value 0 to 255 of the filled part.
        interpolation: how pixels are resampled; all but ``nearest`` are antialiased.
    """

    layout: Literal["NCHW", "NHWC"]
    color: Literal["RGB", "BGR", "gray"]
    scale: float
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    resize: Literal["stretch", "center-crop", "letterbox"] = "stretch"
    resize_shorter: int | None = None
    letterbox_fill: int = 114
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"

    def __post_init__(self) -> None:
        for name, value in (("mean", self.mean), ("std", self.std)):
            if isinstance(value, tuple) and len(value) != self.channels:
                raise ValueError(
                    f"{name} has {len(value)} values; {self.color} has {self.channels} channels"
                )
            if not np.isfinite(value).all():
                raise ValueError(f"{name} must be finite")
        if not np.all(self.std):
            raise ValueError("std must not be 0")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError("scale must be greater than 0")
        if not 0 <= self.letterbox_fill <= 255:
            raise ValueError("letterbox_fill must lie in 0 to 255")
        if (self.resize == "center-crop") != (self.resize_shorter is not None):
            raise ValueError('resize = "center-crop" and resize_shorter belong together')

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return 1 if self.color == "gray" else 3

    def image_size(self, spec: TensorSpec) -> tuple[int, int]:
        """Height and width of the images that the input takes.

        Raises:
            CalibrationError: the input can't hold one image of this layout and color.
        """
        shape = spec.shape
        if len(shape) == 4 and shape[0] == 1:
            channels, size = (
                (shape[1], shape[2:]) if self.layout == "NCHW" else (shape[3], shape[1:3])
            )
            if channels == self.channels:
                return size[0], size[1]
        raise CalibrationError(
            f"an image of layout {self.layout} and color {self.color} does not fit the shape "
            f"{shape}",
            where=f"input {spec.name!r}",
            hint="It takes a batch of 1, with 3 channels for RGB and BGR or 1 for gray: correct "
            "[calibration.images], or give arrays in an .npz file.",
        )


def load_image(path: Path, preprocess: Preprocess, spec: TensorSpec) -> np.ndarray:
    """The image at ``path`` as an array of the input's shape and dtype.

    Raises:
        CalibrationError: the file is no image, is damaged or too large, or does not fit.
    """
    height, width = preprocess.image_size(spec)
    pixels = np.asarray(_resize(_decode(path, preprocess), preprocess, height, width), np.float32)
    pixels = pixels.reshape(height, width, preprocess.channels)
    if preprocess.color == "BGR":
        pixels = pixels[:, :, ::-1]
    mean, std = np.asarray(preprocess.mean), np.asarray(preprocess.std)
    values = (pixels.astype(np.float64) * preprocess.scale - mean) / std
    if preprocess.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    return _cast(values[None], spec, path)


def _decode(path: Path, preprocess: Preprocess) -> Image.Image:
    """The image, upright, in 8-bit RGB or gray."""
    from PIL import Image, ImageOps, UnidentifiedImageError  # late: `--help` needs no images

    try:
        with warnings.catch_warnings():
            # Pillow warns of large images; ours are refused.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG", "BMP", "WEBP")) as image:
                _check(image, path)
                upright = ImageOps.exif_transpose(image)
                return upright.convert("L" if preprocess.color == "gray" else "RGB")
    except UnidentifiedImageError:
        raise CalibrationError(
            "not a PNG, JPEG, BMP or WebP image, or damaged", where=str(path)
        ) from None
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # what decoders raise
        raise CalibrationError(f"the image can't be read: {error}", where=str(path)) from error


def _check(image: Image.Image, path: Path) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(path)
    if image.mode.startswith(("I", "F")):
        raise CalibrationError(
            f"the image has more than 8 bits a pixel (mode {image.mode})",
            where=str(path),
            hint="Convert it to 8 bits, or give arrays in an .npz file.",
        )


def _too_large(path: Path) -> CalibrationError:
    return CalibrationError(
        f"the image has more than {MAX_PIXELS // 1_000_000} megapixels",
        where=str(path),
        hint="Resize it nearer to the network's input first.",
    )


def _resize(image: Image.Image, preprocess: Preprocess, height: int, width: int) -> Image.Image:
    from PIL import Image

    resample = Image.Resampling[preprocess.interpolation.upper()]
    if preprocess.resize == "stretch":
        return image.resize((width, height), resample)
    if preprocess.resize == "letterbox":
        ratio = min(width / image.width, height / image.height)
        fill = preprocess.letterbox_fill
        canvas = Image.new(image.mode, (width, height), fill if image.mode == "L" else (fill,) * 3)
    else:
        shorter = preprocess.resize_shorter or 0
        if shorter < max(height, width):
            raise CalibrationError(
                f"resize_shorter = {shorter} is less than the input's {height} x {width}",
                where="[calibration.images]",
                hint=f"Set it to {max(height, width)} or more.",
            )
        ratio = shorter / min(image.width, image.height)
        canvas = Image.new(image.mode, (width, height))
    size = max(1, round(image.width * ratio)), max(1, round(image.height * ratio))
    resized = image.resize(size, resample)
    # Centred; a negative offset crops.
    canvas.paste(resized, ((width - size[0]) // 2, (height - size[1]) // 2))
    return canvas


def _cast(values: np.ndarray, spec: TensorSpec, path: Path) -> np.ndarray:
    dtype = np.dtype(spec.dtype)
    if np.issubdtype(dtype, np.floating):
        return np.ascontiguousarray(values, dtype)
    limits = np.iinfo(dtype)
    values = np.rint(values)
    if values.min() < limits.min or values.max() > limits.max:
        raise CalibrationError(
            f"after preprocessing, pixels lie in [{values.min():g}, {values.max():g}], which "
            f"{spec.dtype} does not hold",
            where=f"{path}, input {spec.name!r}",
            hint="Correct scale, mean and std in [calibration.images].",
        )
    return np.ascontiguousarray(values.astype(dtype))
