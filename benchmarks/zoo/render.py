"""Draws pages and lines of text, and wears them as a camera or a scanner would.

Everything random comes from the generator that is passed in, so one seed gives one picture.
"""

from __future__ import annotations

import functools
import io

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from benchmarks.zoo.packages import Wheel, member_file
from benchmarks.zoo.preprocess import Image8
from benchmarks.zoo.text import hanzi, sentences

CALADEA = Wheel(
    "font-caladea", "0.0.2", "eab5b77f1da830226524f419d16d4bc4cb5b68d2de0f47ef83760a8b202e94bc"
)
LATO = Wheel(
    "font-lato", "0.1.0", "ff74f2d4647187bac4b853ab8215e6b2afe124fcd01c809629aadd8f4356e959"
)
OPEN_SANS = Wheel(
    "ttf-opensans", "2020.10.30", "2ce65f171eb60fc16c15b31fc714cc5735533acb43b0637e5cebb612e2a9ac9c"
)
SOURCE_SERIF = Wheel(
    "font-source-serif-pro",
    "0.0.1",
    "38dd9a8d8027d22aa8ef2d10d27d7c558701b32772ff9f3790f509577e91dca4",
)
NOTO_CJK = Wheel(
    "noto-cjk-sans-jp-regular",
    "0.0.1",
    "7d3db65a6fdc4cc64d7bed5c869a1f70c99da9ef4cbce9c5dd94756207a2ac85",
)

CHINESE = (NOTO_CJK, "noto_cjk_sans_jp_regular/NotoSansCJKjp-Regular.otf")
LATIN = [
    *(
        (CALADEA, f"font_caladea/files/Caladea-{style}.ttf")
        for style in ("Regular", "Bold", "Italic")
    ),
    *(
        (LATO, f"font_lato/files/Lato-{style}.ttf")
        for style in ("Regular", "Bold", "Italic", "Light")
    ),
    *(
        (OPEN_SANS, f"ttf_opensans/ttf/OpenSans-{style}.ttf")
        for style in ("Regular", "Bold", "Italic")
    ),
    *(
        (SOURCE_SERIF, f"font_source_serif_pro/files/SourceSerifPro-{s}.ttf")
        for s in ("Regular", "It")
    ),
]

Colour = tuple[int, int, int]


@functools.cache
def font(wheel: Wheel, member: str, size: int) -> ImageFont.FreeTypeFont:
    """A face of a font at a size in pixels."""
    # By path: FreeType maps the file, where each size of a font from memory holds a copy of it.
    # The basic layout: the other one exists only where Pillow was built with libraqm.
    path = member_file(wheel, member)
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def choose_font(rng: Generator, chinese: bool, size: int) -> ImageFont.FreeTypeFont:
    """The one Chinese font, or any of the Latin ones."""
    wheel, member = CHINESE if chinese else LATIN[rng.integers(len(LATIN))]
    return font(wheel, member, size)


def chinese_text(rng: Generator, length: int) -> str:
    """Common characters with a comma here and there: no meaning, but the look of Chinese."""
    characters = [hanzi()[i] for i in rng.integers(len(hanzi()), size=length)]
    for i in range(length):
        if rng.random() < 0.07:
            characters[i] = "，"
    return "".join(characters)


def figures(rng: Generator) -> str:
    """A number, a date, a price or a code, as forms and receipts hold them."""
    a, b, c = (int(n) for n in rng.integers(1, 1000, size=3))
    forms = [
        f"{a}.{b % 100:02d}",
        f"20{a % 30:02d}-{1 + b % 12:02d}-{1 + c % 28:02d}",
        f"{a},{b:03d}",
        f"No. {a}{b}{c}",
        f"+{a % 99} {b} {c} {a}",
        f"{a}/{b}",
        f"{a % 100}%",
    ]
    return forms[rng.integers(len(forms))]


def some_text(rng: Generator, chinese: bool) -> str:
    """A sentence, or a run of Chinese of a sentence's length."""
    if chinese:
        return chinese_text(rng, int(rng.integers(20, 90)))
    return sentences()[rng.integers(len(sentences()))]


def colours(rng: Generator) -> tuple[Colour, Colour]:
    """Paper and ink: mostly dark on light, now and then light on dark, never too close to read."""
    light, dark = rng.integers(175, 256, size=3), rng.integers(0, 110, size=3)
    if rng.random() < 0.5:  # plain paper
        light, dark = np.full(3, rng.integers(225, 256)), np.full(3, rng.integers(0, 60))
    paper, ink = (dark, light) if rng.random() < 0.12 else (light, dark)
    return tuple(int(v) for v in paper), tuple(int(v) for v in ink)


def draw_paragraph(
    draw: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    text: str,
    face: ImageFont.FreeTypeFont,
    ink: Colour,
    spacing: float,
) -> int:
    """Set `text` into the box (left, top, right, bottom), breaking lines; the y below the last
    line.
    """
    left, y, right, bottom = box
    separator = " " if " " in text else ""
    words = text.split(" ") if separator else list(text)
    step, line = int(face.size * spacing), ""
    for word in [*words, None]:
        longer = f"{line}{separator if line else ''}{word}"
        if word is not None and (not line or draw.textlength(longer, font=face) <= right - left):
            line = longer
            continue
        if y + step > bottom:
            break
        draw.text((left, y), line, font=face, fill=ink)
        y += step
        line = word or ""
    return y


def page(rng: Generator, width: int, height: int) -> Image8:
    """A page (height, width, 3): a title, and columns of paragraphs, tables of figures and
    pictures.
    """
    paper, ink = colours(rng)
    image = Image.new("RGB", (width, height), paper)
    draw = ImageDraw.Draw(image)
    chinese = rng.random() < 0.35
    size = int(rng.integers(10, 23))
    margin = int(width * rng.uniform(0.04, 0.12))
    top = int(height * rng.uniform(0.02, 0.15))
    if rng.random() < 0.6:
        title = some_text(rng, chinese)[: int(rng.integers(10, 40))]
        face = choose_font(rng, chinese, int(size * rng.uniform(1.3, 2.2)))
        top = (
            draw_paragraph(draw, (margin, top, width - margin, height), title, face, ink, 1.3)
            + size
        )
    columns = int(rng.choice([1, 1, 1, 2]))
    column = (width - 2 * margin - (columns - 1) * margin // 2) // columns
    # A page need not be full: a letter or a form leaves much of the paper empty.
    bottom = int(height * rng.uniform(0.5, 0.97))
    for i in range(columns):
        left = margin + i * (column + margin // 2)
        draw_column(draw, rng, (left, top, left + column, bottom), chinese, size, ink)
    return np.asarray(image)


def draw_column(
    draw: ImageDraw.ImageDraw,
    rng: Generator,
    box: tuple[int, int, int, int],
    chinese: bool,
    size: int,
    ink: Colour,
) -> None:
    """Fill the box (left, top, right, bottom) from above with paragraphs, tables and pictures."""
    left, y, right, bottom = box
    face, spacing = choose_font(rng, chinese, size), rng.uniform(1.15, 1.8)
    while y + 2 * size < bottom:
        kind = rng.choice(["paragraph", "table", "picture"], p=[0.74, 0.18, 0.08])
        if kind == "paragraph":
            text = some_text(rng, chinese)
            for _ in range(int(rng.integers(0, 4))):
                text += ("" if chinese else " ") + some_text(rng, chinese)
            y = draw_paragraph(draw, (left, y, right, bottom), text, face, ink, spacing)
        elif kind == "table":
            for _ in range(int(rng.integers(2, 7))):
                if y + 2 * size > bottom:
                    break
                label = chinese_text(rng, 5) if chinese else some_text(rng, False).split()[0]
                draw.text((left, y), label, font=face, fill=ink)
                for at in (0.4, 0.7):
                    draw.text(
                        (left + int((right - left) * at), y), figures(rng), font=face, fill=ink
                    )
                y += int(size * spacing)
                if rng.random() < 0.5:
                    draw.line((left, y - 2, right, y - 2), fill=ink)
        else:
            low = min(bottom, y + int((right - left) * rng.uniform(0.2, 0.6)))
            fill = tuple(int(v) for v in rng.integers(60, 220, size=3))
            draw.rectangle((left, y, right, low), fill=fill)
            draw.ellipse((left, y, (left + right) // 2, low), outline=ink)
            y = low
        y += int(size * rng.uniform(0.5, 2.0))


def line(rng: Generator) -> Image8:
    """One line of text cut close, (height, width, 3): words, Chinese or figures."""
    paper, ink = colours(rng)
    kind = rng.choice(["words", "chinese", "figures"], p=[0.5, 0.35, 0.15])
    face = choose_font(rng, kind == "chinese", int(rng.integers(18, 44)))
    if kind == "words":
        words = some_text(rng, False).split()
        start = int(rng.integers(len(words)))
        text = " ".join(words[start : start + int(rng.integers(1, 5))])
    else:
        text = chinese_text(rng, int(rng.integers(2, 13))) if kind == "chinese" else figures(rng)
    box = face.getbbox(text)
    left, right = rng.integers(2, 12, size=2)
    above, below = rng.integers(1, 9, size=2)
    size = (int(box[2] - box[0] + left + right), int(box[3] - box[1] + above + below))
    image = Image.new("RGB", size, paper)
    ImageDraw.Draw(image).text((left - box[0], above - box[1]), text, font=face, fill=ink)
    return np.asarray(image)


def worn(rng: Generator, image: Image8, angle: float, blur: float, noise: float) -> Image8:
    """The picture a little turned (up to `angle` degrees), blurred (up to `blur` pixels), unevenly
    lit, grainy (up to `noise` grey levels) and saved as JPEG; same shape.
    """
    picture = Image.fromarray(image)
    corner = tuple(int(v) for v in image[0, 0])
    picture = picture.rotate(rng.uniform(-angle, angle), Image.Resampling.BICUBIC, fillcolor=corner)
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, blur)))
    pixels = np.asarray(picture).astype(np.float32)
    height, width = pixels.shape[:2]
    lights = rng.uniform(0.72, 1.1, size=4)
    across = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    light = (lights[0] * (1 - across) + lights[1] * across) * (
        lights[2] * (1 - down) + lights[3] * down
    )
    pixels = (pixels - 127) * rng.uniform(0.55, 1.05) + 127  # contrast
    grain = rng.standard_normal((height, width, 1), np.float32) * np.float32(rng.uniform(0, noise))
    pixels = pixels * light[:, :, None] + grain
    stored = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(
        stored, "JPEG", quality=int(rng.integers(25, 92))
    )
    return np.asarray(Image.open(stored).convert("RGB"))
