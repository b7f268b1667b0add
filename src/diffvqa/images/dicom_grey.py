"""The stored levels or colours of a DICOM file to grey pixels: bits, tables, slope, window, polarity, padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diffvqa.images.intensities import BRIGHTEST, distinct, stretch, to_bytes
from diffvqa.images.shape import UnreadableImage

if TYPE_CHECKING:
    from pydicom import Dataset

_LUMA = (0.299, 0.587, 0.114)
_BLANK = 0.99
"""The share of the pixels that are black, or white, from which a window shows nothing."""


def is_monochrome(dataset: Dataset) -> bool:
    """Whether pixels are levels of grey, and neither colours nor places in a palette."""
    return str(dataset.PhotometricInterpretation).startswith("MONOCHROME")


def brightness(dataset: Dataset, stored: np.ndarray) -> np.ndarray:
    """Grey pixels, uint8 (height, width), of stored ones: of levels with all their bits.

    Raises UnreadableImage for what the header says of bits and tables where that does not fit the pixels.
    """
    from pydicom.pixels import apply_color_lut

    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
        return _of_colours(stored, 8 * stored.itemsize)
    if stored.ndim == 3:
        return _of_colours(stored, dataset.BitsStored)
    if not is_monochrome(dataset):
        raise ValueError("an unknown photometric interpretation")
    levels, counts, places = distinct(stored)
    return to_bytes(_of_levels(levels.astype(np.int64), counts, 8 * stored.itemsize, dataset))[places]


def _of_colours(colours: np.ndarray, bits: int) -> np.ndarray:
    return to_bytes(np.clip(colours[..., :3] @ (np.array(_LUMA, np.float32) / (2**bits - 1)), 0, 1))


def _of_levels(levels: np.ndarray, counts: np.ndarray, allocated: int, dataset: Dataset) -> np.ndarray:
    """The brightness, 0 to 1, of each level of a monochrome picture, which has `allocated` bits a pixel."""
    levels, padding = _without_unused_bits(levels, counts, allocated, dataset)
    counts = np.where(padding, 0, counts)
    values = _through_modality(levels, dataset)
    if not np.isfinite(values).all():
        raise ValueError("a slope or an intercept that is no number")
    shown = _through_table(values, counts, dataset)
    if shown is None:
        shown = _through_window(values, dataset)
    if shown is None or _shows_nothing(shown, counts):
        # No window, or one that shows nothing.
        shown = stretch(values, counts)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    return np.where(padding, 0.0, shown)


def _without_unused_bits(
    levels: np.ndarray, counts: np.ndarray, allocated: int, dataset: Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """The levels without the bits below and above those that are stored, and which of them are padding.

    Raises UnreadableImage where pixels use other bits: what was taken for a picture would be noise.
    """
    stored = int(dataset.BitsStored)
    unused = int(dataset.get("HighBit", stored - 1)) + 1 - stored
    if not (1 <= stored <= allocated and 0 <= unused <= allocated - stored):
        raise UnreadableImage("a DICOM file whose BitsStored, HighBit and BitsAllocated contradict one another")
    padding = _padding(levels, dataset)
    used = np.where(padding, 0, counts)
    if unused and used[levels & (2**unused - 1) != 0].any():
        raise UnreadableImage("a DICOM file whose pixels have bits below those that BitsStored and HighBit say")
    moved = levels >> unused
    low, high = 0, 2**stored - 1
    if dataset.PixelRepresentation:
        low, high = -(2 ** (stored - 1)), 2 ** (stored - 1) - 1
        # Some writers leave the bits above a negative number empty.
        moved = np.where((moved > high) & (moved < 2**stored), moved - 2**stored, moved)
    padding |= _padding(moved, dataset)
    outside = np.where(padding, 0, counts)[(moved < low) | (moved > high)].sum()
    if outside > (1 - BRIGHTEST) * counts.sum():
        raise UnreadableImage("a DICOM file whose pixels are out of the range that BitsStored says")
    return np.where(padding, moved, np.clip(moved, low, high)), padding


def _padding(levels: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Which levels stand for no anatomy: they fill up the rectangle, and are black."""
    ends = [dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")]
    ends = [int(first_of(end)) for end in ends if end is not None]
    if "PixelPaddingValue" not in dataset:
        return np.zeros(len(levels), bool)
    if dataset.PixelRepresentation:
        # Some writers give a negative value as an unsigned one.
        ends = [end - 2**16 if end >= 2**15 else end for end in ends]
    return (levels >= min(ends)) & (levels <= max(ends))


def _through_modality(levels: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Levels after the modality table, or slope and intercept. A slope of 0 is ignored: some converters write it."""
    if "ModalityLUTSequence" in dataset:
        first, table = _lookup(dataset.ModalityLUTSequence[0], dataset, levels.min() < 0)
        return _looked_up(levels, first, table)
    slope, intercept = (float(first_of(dataset.get(name, 0))) for name in ("RescaleSlope", "RescaleIntercept"))
    values = levels.astype(np.float64)
    return values * slope + intercept if slope else values


def _through_window(values: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    if not ("WindowCenter" in dataset and "WindowWidth" in dataset):
        return None
    center, width = float(first_of(dataset.WindowCenter)), float(first_of(dataset.WindowWidth))
    function = str(dataset.get("VOILUTFunction", "LINEAR")).upper()
    if function == "LINEAR":
        # In the standard, a window of 256 covers the 256 levels from the first to the last.
        center, width = center - 0.5, width - 1
    if not (width > 0 and np.isfinite(center)):
        return None
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-np.clip(4 * (values - center) / width, -50, 50)))
    return np.clip((values - center) / width + 0.5, 0, 1)


def _through_table(values: np.ndarray, counts: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    """None without a table, and for a damaged one beside a window, which says the same in another way."""
    if "VOILUTSequence" not in dataset:
        return None
    try:
        first, table = _lookup(dataset.VOILUTSequence[0], dataset, values.min() < 0)
    except UnreadableImage:
        if "WindowCenter" in dataset and "WindowWidth" in dataset:
            return None
        raise
    found, seen = _looked_up(values, first, table), values[counts > 0]
    straight = np.abs(table - np.linspace(table[0], table[-1], len(table))).max() <= 1
    if straight and len(seen) and first <= seen.min() and seen.max() < first + len(table):
        # It windows nothing, as if there were none.
        return stretch(found, counts)
    # Many files misstate the depth of their table: its own lowest and highest entry are black and white.
    return (found - table.min()) / max(float(np.ptp(table)), 1e-9)


def _lookup(item: Dataset, dataset: Dataset, signed: bool) -> tuple[int, np.ndarray]:
    """The level of the first entry of a table, and its entries, whatever their depth; signed: there are levels below 0.

    Each entry is a byte or a word, as the length of the data says: the depth that is stated says so in few files.
    """
    try:
        entries, first, _ = (int(one) for one in item.LUTDescriptor)
        data, order = item["LUTData"].value, "<" if dataset.original_encoding[1] is not False else ">"
        if not isinstance(data, bytes):
            data, order = np.array([*data] if isinstance(data, Sequence) else [data]).astype("<u2").tobytes(), "<"
    except Exception as error:  # damaged files make pydicom raise many kinds
        raise UnreadableImage("a DICOM file with a lookup table that cannot be read") from error
    entries, first = entries % 2**16 or 2**16, first % 2**16
    if signed and first >= 2**15:
        first -= 2**16
    words = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2")
    if len(words) not in (entries, (entries + 1) // 2):
        raise UnreadableImage("a DICOM file with a lookup table of another length than it says")
    table = words if len(words) == entries else words.astype("<u2").view(np.uint8)[:entries]
    return first, table.astype(np.float64)


def _looked_up(values: np.ndarray, first: int, table: np.ndarray) -> np.ndarray:
    return table[np.clip(np.rint(values) - first, 0, len(table) - 1).astype(int)]


def _shows_nothing(shown: np.ndarray, counts: np.ndarray) -> bool:
    """Whether a picture is of one grey, or black or white in all but a few pixels."""
    seen = shown[counts > 0]
    if not len(seen) or seen.min() == seen.max():
        return True
    return max(counts[shown <= 0].sum(), counts[shown >= 1].sum()) >= _BLANK * counts.sum()


def first_of(value: Any) -> Any:
    """The first of several values, or the only one."""
    return value[0] if isinstance(value, Sequence) and not isinstance(value, str) else value
