"""A contact sheet: images of a store side by side with their boxes, for a look at what training will see."""

from __future__ import annotations

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from diffvqa.boxes import Frame
from diffvqa.data.index import StoredImage
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.images.colours import BOX_COLOURS
from diffvqa.images.sides import mark_sides

COLUMNS, TILE, CAPTION = 6, 256, 18
BOXES = 4
"""Boxes drawn in one image at most, those with a phrase first."""


def draw_sheet(store: Store, count: int, seed: int = 0) -> PillowImage.Image:
    """Up to `count` images of a store, drawn with a seed, half of them with boxes where there are as many.

    Raises InputError if the store holds no image.
    """
    chosen = _choose(store, count, seed)
    if not chosen:
        raise InputError("expected images, found none; prepare another", argument="store")
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    sheet = PillowImage.new("RGB", (columns * TILE, rows * (TILE + CAPTION) + CAPTION))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for number, position in enumerate(chosen):
        corner = (number % columns * TILE, number // columns * (TILE + CAPTION))
        _draw_tile(sheet, draw, font, corner, store.images[position], store.larger_pixels(position))
    draw.text((4, rows * (TILE + CAPTION) + 2), "Research software. Not for clinical use.", font=font, fill="white")
    return sheet


def _choose(store: Store, count: int, seed: int) -> list[int]:
    order = np.random.default_rng(seed).permutation(len(store.images)).tolist()
    boxed = {place for place, names in enumerate(store.images.column("region_names")) if names}
    with_boxes = [place for place in order if place in boxed][: count // 2]
    taken = set(with_boxes)
    return [*with_boxes, *(place for place in order if place not in taken)][:count]


def _draw_tile(
    sheet: PillowImage.Image,
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    corner: tuple[int, int],
    image: StoredImage,
    pixels: np.ndarray,
) -> None:
    left, top = corner
    sheet.paste(PillowImage.fromarray(pixels).resize((TILE, TILE), PillowImage.Resampling.LANCZOS), corner)
    frame = Frame.letterbox(image.width, image.height, TILE)
    # Upright, as all pictures of a store.
    mark_sides(draw, left + frame.left, top, left + TILE - frame.left, top + TILE, 14)
    shown = sorted(image.regions, key=lambda region: not region.phrases)[:BOXES]
    for region, colour in zip(shown, BOX_COLOURS, strict=False):
        box = frame.into(region.box)
        draw.rectangle((left + box.x1, top + box.y1, left + box.x2, top + box.y2), outline=colour, width=2)
        words = (region.phrases[0] if region.phrases else region.name or "")[:36]
        draw.text((left + box.x1 + 3, top + box.y1 + 2), words, font=font, fill=colour, stroke_width=1, stroke_fill=0)
    caption = " · ".join(word for word in (image.split, image.view, f"{image.width}x{image.height}") if word)
    draw.text((left + 4, top + TILE + 1), caption, font=font, fill="white")
