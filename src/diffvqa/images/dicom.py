"""DICOM files: the size that their header states, whether they are whole, and their one picture as grey pixels.

An open file is parsed once, and everything is taken from that. Only what is asked for by name is read; for pictures
that is no name, date or identifier.
"""

from __future__ import annotations

import io
import logging
import os
import re
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from diffvqa.images.intensities import distinct, stretch, to_bytes
from diffvqa.images.opening import ImageFile
from diffvqa.images.shape import UnreadableImage

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = (".dcm", ".dicom")

SHAPE = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames", "PhotometricInterpretation")
"""The elements that the size of a picture rests on, and whether its file is whole."""

PICTURE = (
    *SHAPE, "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration", "PixelData", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "FloatPixelData", "DoubleFloatPixelData", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
    "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence",
    *(f"{kind}{colour}PaletteColorLookupTable{part}" for colour in ("Red", "Green", "Blue")
      for kind, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))),
)  # fmt: skip
"""The elements that grey pixels are made of."""

_WITHOUT_PREAMBLE = (b"\x02\0", b"\x08\0")
"""How older files begin: with the first element, of group 2 or 8."""

_OTHER_KINDS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
"""How PNG and JPEG files begin."""

_LUMA = (0.299, 0.587, 0.114)
_NO_DICOM = "not a DICOM file that can be read"
_NO_PICTURE = "a DICOM file without a picture"
_CUT = "the file ends before its image does"


def is_dicom(opened: BinaryIO, file: ImageFile) -> bool:
    """Whether an open file is a DICOM file by its content, or by its name where its content does not say otherwise.

    The file stands at its beginning, before and after.
    """
    head = opened.read(132)
    opened.seek(0)
    if head.startswith(_OTHER_KINDS):
        return False
    named = not isinstance(file, bytes) and Path(file).suffix.lower() in SUFFIXES
    return named or head[128:] == b"DICM" or head.startswith(_WITHOUT_PREAMBLE)


def parse(opened: BinaryIO, names: Iterable[str], stop_before_pixels: bool = False) -> Dataset:
    """The elements of these names, each still as its bytes, and a transfer syntax in any case. Raises UnreadableImage.

    stop_before_pixels: the file then stands at its pixel data.
    """
    try:
        from pydicom import dcmread
        from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
    except ImportError as error:
        raise UnreadableImage("a DICOM file, and pydicom, which reads them, is not installed") from error
    _silence_pydicom()
    try:
        dataset = dcmread(opened, stop_before_pixels=stop_before_pixels, force=True, specific_tags=list(names))
        if "TransferSyntaxUID" not in dataset.file_meta:
            # Files older than the preamble: pydicom has found out how they are written.
            implicit, little = dataset.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        return dataset
    except Exception as error:  # damaged files make pydicom raise many kinds
        raise UnreadableImage(_NO_DICOM) from error


def _silence_pydicom() -> None:
    """No warnings of pydicom: on damaged files they quote what should not be read, names too.

    For good, and not only while a file is read: warnings belong to the process, and several threads read.
    """
    warnings.filterwarnings("ignore", module=rf"pydicom|{re.escape(__name__)}")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def decode_elements(dataset: Dataset, names: Iterable[str]) -> None:
    """Turn the bytes of these elements into values, and remove those that are empty.

    Raises UnreadableImage. Elements of other names may be damaged without harm.
    """
    try:
        for name in names:
            if name in dataset and dataset[name].is_empty:
                del dataset[name]
    except Exception as error:  # damaged files make pydicom raise many kinds
        raise UnreadableImage(_NO_DICOM) from error


def take_elements(dataset: Dataset, names: Iterable[str]) -> Dataset:
    """A dataset of these elements alone, each as it is, without the file that they are of."""
    from pydicom import Dataset
    from pydicom.tag import Tag

    taken = Dataset({tag: dataset.get_item(tag) for tag in map(Tag, names) if tag in dataset})
    implicit, little = dataset.original_encoding
    taken.set_original_encoding(implicit, little, dataset.original_character_set)
    return taken


def size_of(dataset: Dataset) -> tuple[int, int]:
    """Width and height in pixels that the header states. Raises UnreadableImage."""
    decode_elements(dataset, SHAPE)
    if not len(dataset):
        raise UnreadableImage(_NO_DICOM)
    width, height = dataset.get("Columns"), dataset.get("Rows")
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
        raise UnreadableImage(_NO_PICTURE)
    return width, height


def require_whole(dataset: Dataset, opened: BinaryIO) -> None:
    """Raises UnreadableImage for a file that does not hold all of the picture that its header announces.

    opened: stands at its pixel data, none of which is decoded.
    """
    width, height = size_of(dataset)
    try:
        if dataset.file_meta.TransferSyntaxUID.is_deflated:
            return  # unpacked whole when the header was read
        frames, samples = int(dataset.get("NumberOfFrames", 1)), int(dataset.get("SamplesPerPixel", 1))
        bits = width * height * frames * samples * int(dataset.get("BitsAllocated", 8))
        if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
            bits = bits * 2 // 3
        implicit, little = dataset.original_encoding
        reason = _why_pixels_incomplete(opened, bool(implicit), bool(little), expected=(bits + 7) // 8)
    except Exception:  # values of any kind stand where numbers should
        reason = _NO_DICOM
    if reason:
        raise UnreadableImage(reason)


def _why_pixels_incomplete(file: BinaryIO, implicit: bool, little: bool, expected: int) -> str | None:
    """Why the pixel data are incomplete, or None; expected: the bytes of the picture if it is not compressed."""
    end, order = os.fstat(file.fileno()).st_size, "<" if little else ">"
    header = file.read(8 if implicit else 12)
    if len(header) < (8 if implicit else 12):
        return _CUT if header else _NO_PICTURE
    if struct.unpack(order + "HH", header[:4]) != (0x7FE0, 0x0010):
        return _NO_PICTURE
    (length,) = struct.unpack(order + "I", header[-4:])
    if length != 0xFFFFFFFF:
        return _CUT if length < expected or file.tell() + length > end else None
    # Compressed: fragments, each behind its length, up to a mark.
    while len(item := file.read(8)) == 8:
        group, element, length = struct.unpack("<HHI", item)
        if (group, element) == (0xFFFE, 0xE0DD):
            return None
        if (group, element) != (0xFFFE, 0xE000):
            return "compressed pixels that are not in order"
        file.seek(length, os.SEEK_CUR)
    return _CUT


def pixels_of(dataset: Dataset, opened: BinaryIO) -> np.ndarray:
    """The one picture of a file: uint8, shape (height, width), higher is brighter.

    dataset: has the elements PICTURE of the open file. Raises UnreadableImage, also for several frames, and where a
    decoder is not installed.
    """
    decode_elements(dataset, PICTURE)
    _require_decodable(dataset)
    width, height = size_of(dataset)
    try:
        pixels = _brightness(dataset, _stored(dataset, opened))
    except Exception as error:  # decoders raise many kinds on damaged files
        raise UnreadableImage("a DICOM file whose picture cannot be decoded") from error
    if pixels.shape != (height, width):
        raise UnreadableImage("a DICOM file whose picture has another size than its header says")
    return pixels


def _require_decodable(dataset: Dataset) -> None:
    from pydicom.pixels import get_decoder

    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise UnreadableImage("a DICOM file of floating-point pixels; radiographs have whole numbers")
    if "PixelData" not in dataset:
        raise UnreadableImage(_NO_PICTURE)
    frames = dataset.get("NumberOfFrames", 1)
    if frames != 1:
        raise UnreadableImage("a DICOM file of several pictures (frames); one is expected")
    try:
        decodable = get_decoder(dataset.file_meta.TransferSyntaxUID).is_available
    except Exception:  # an unknown one, or in damaged files no identifier at all
        decodable = False
    if not decodable:
        raise UnreadableImage("a DICOM file compressed in a way that no installed decoder reads")


def _stored(dataset: Dataset, file: BinaryIO) -> np.ndarray:
    """The levels or colours as stored, decoded."""
    from pydicom.pixels import get_decoder, pixel_array
    from pydicom.uid import JPEGExtended12Bit

    syntax = dataset.file_meta.TransferSyntaxUID
    plugins = [name for name in get_decoder(syntax).available_plugins if name != _CRASHES]
    deep = syntax == JPEGExtended12Bit and dataset.BitsStored > 8  # more than Pillow reads
    if syntax.is_encapsulated and (deep or not plugins):
        return _decode_apart(file)
    return pixel_array(dataset, decoding_plugin=plugins[0] if plugins else "")


_CRASHES = "gdcm"
"""The decoder that reads lossless JPEG and JPEG-LS, alone; many damaged files make it end the whole process."""

_APART_SECONDS = 30
"""Less than a server waits for a picture, so that it is this process that ends the decoder."""

_APART = f"""
import io, resource, sys
# Should this process's parent be killed, nobody else would end it.
resource.setrlimit(resource.RLIMIT_CPU, ({_APART_SECONDS}, {_APART_SECONDS}))
import numpy
from pydicom.pixels import pixel_array
found = io.BytesIO()
pixels = pixel_array(io.BytesIO(sys.stdin.buffer.read()), decoding_plugin={_CRASHES!r})
numpy.save(found, pixels, allow_pickle=False)
sys.stdout.buffer.write(found.getvalue())
"""


def _decode_apart(file: BinaryIO) -> np.ndarray:
    """The same by the decoder that may crash or never end, in a process of its own, half a second a picture.

    The content goes by its input: there may be no path, and arguments are seen by everyone on the machine.
    """
    file.seek(0)
    command = [sys.executable, "-P", "-c", _APART]
    done = subprocess.run(command, input=file.read(), capture_output=True, check=True, timeout=_APART_SECONDS)
    return np.load(io.BytesIO(done.stdout), allow_pickle=False)


def _brightness(dataset: Dataset, stored: np.ndarray) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
        return _of_colours(stored, 8 * stored.itemsize)
    if stored.ndim == 3:
        return _of_colours(stored, dataset.BitsStored)
    levels, counts, places = distinct(stored)
    return to_bytes(_of_levels(levels, counts, dataset))[places]


def _of_colours(colours: np.ndarray, bits: int) -> np.ndarray:
    return to_bytes(np.clip(colours[..., :3] @ (np.array(_LUMA, np.float32) / (2**bits - 1)), 0, 1))


def _of_levels(levels: np.ndarray, counts: np.ndarray, dataset: Dataset) -> np.ndarray:
    """The brightness, 0 to 1, of each stored level of a monochrome picture."""
    from pydicom.pixels import apply_modality_lut

    padding = _padding(levels, dataset)
    counts = np.where(padding, 0, counts)
    values = np.asarray(apply_modality_lut(levels, dataset), dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a slope or an intercept that is no number")
    brightness = _through_table(values, dataset) if "VOILUTSequence" in dataset else _through_window(values, dataset)
    if brightness is None or not len(seen := brightness[counts > 0]) or seen.min() == seen.max():
        # No window, or one that shows nothing.
        brightness = stretch(values, counts)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        brightness = 1 - brightness
    return np.where(padding, 0.0, brightness)


def _padding(levels: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Which levels stand for no anatomy: they fill up the rectangle, and are black."""
    ends = [dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")]
    ends = [int(_first(end)) for end in ends if end is not None]
    if "PixelPaddingValue" not in dataset:
        return np.zeros(len(levels), bool)
    if dataset.PixelRepresentation:
        # Some writers give a negative value as an unsigned one.
        ends = [end - 2**16 if end >= 2**15 else end for end in ends]
    return (levels >= min(ends)) & (levels <= max(ends))


def _through_window(values: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    if not ("WindowCenter" in dataset and "WindowWidth" in dataset):
        return None
    center, width = float(_first(dataset.WindowCenter)), float(_first(dataset.WindowWidth))
    function = str(dataset.get("VOILUTFunction", "LINEAR")).upper()
    if function == "LINEAR":
        # As the standard has it: a window of 256 covers the 256 levels from the first to the last.
        center, width = center - 0.5, width - 1
    if not (width > 0 and np.isfinite(center)):
        return None
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-np.clip(4 * (values - center) / width, -50, 50)))
    return np.clip((values - center) / width + 0.5, 0, 1)


def _through_table(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    from pydicom.pixels import apply_voi

    entries, first, _ = dataset.VOILUTSequence[0].LUTDescriptor
    every = np.arange(first, first + (entries or 2**16))
    # Many files misstate the depth of their table: its own lowest and highest entry are black and white.
    table = apply_voi(every, dataset).astype(np.float64)
    shown = table[np.clip(np.rint(values) - first, 0, len(table) - 1).astype(int)]
    return (shown - table.min()) / max(float(np.ptp(table)), 1e-9)


def _first(value: Any) -> Any:
    """The first of several values, or the only one."""
    return value[0] if isinstance(value, Sequence) and not isinstance(value, str) else value
