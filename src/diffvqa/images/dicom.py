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
import zlib
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from diffvqa.images.dicom_grey import brightness, first_of, is_monochrome
from diffvqa.images.opening import ImageFile
from diffvqa.images.shape import MAXIMUM_PIXELS, UnreadableImage

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
    "PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing",
    *(f"{kind}{colour}PaletteColorLookupTable{part}" for colour in ("Red", "Green", "Blue")
      for kind, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))),
)  # fmt: skip
"""The elements that grey pixels are made of."""

DECIMALS = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")
_SIDES_OF_PIXELS = ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing")
_DISPENSABLE = ("WindowCenter", "WindowWidth", "VOILUTFunction", *_SIDES_OF_PIXELS)
"""Without them a picture is brighter or darker, or nothing is known of its pixels' sides, but it is the same."""

_SQUARE = 1.05
"""How many times as long as the other a side of a pixel may be; a heart that is broader by more is another heart."""

_WITHOUT_PREAMBLE = (b"\x02\0", b"\x08\0")
"""How older files begin: with the first element, of group 2 or 8."""

_OTHER_KINDS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
"""How PNG and JPEG files begin."""

_NEEDED = ("PhotometricInterpretation", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")
_WHOLE_BYTES = (1, 8, 16, 32)
"""The bits of a pixel that are read: those of one or more bytes, and black and white."""

_NO_DICOM = "not a DICOM file that can be read"
_LARGEST_UNPACKED = 3 * MAXIMUM_PIXELS
"""Bytes of a deflated file: the most pixels allowed, of two bytes, and half as much again."""

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
    _require_unpackable(opened)
    try:
        dataset = dcmread(opened, stop_before_pixels=stop_before_pixels, force=True, specific_tags=list(names))
        if not dataset.file_meta.get("TransferSyntaxUID"):
            # Files older than the preamble do not say it: pydicom has found out how they are written.
            implicit, little = dataset.original_encoding
            if "Rows" in dataset:
                # Where the element is there and empty, pydicom has found out, but tells it of elements alone.
                implicit = getattr(dataset.get_item("Rows"), "is_implicit_VR", implicit)
                dataset.set_original_encoding(implicit, little, dataset.original_character_set)
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        return dataset
    except Exception as error:  # damaged files make pydicom raise many kinds
        raise UnreadableImage(_NO_DICOM) from error


def _require_unpackable(opened: BinaryIO) -> None:
    """Raises UnreadableImage for a deflated file that unpacks to more than any radiograph: pydicom unpacks it whole.

    The file stands at its beginning, before and after.
    """
    from pydicom.filereader import _read_file_meta_info as read_meta  # what is public takes a path
    from pydicom.filereader import read_preamble

    try:
        read_preamble(opened, force=True)
        deflated = bool((syntax := read_meta(opened).get("TransferSyntaxUID")) and syntax.is_deflated)
    except Exception:  # damaged files make pydicom raise many kinds, and it will once more
        deflated = False
    if deflated:
        unpacking, length = zlib.decompressobj(-zlib.MAX_WBITS), 0
        with suppress(zlib.error):
            for packed in iter(lambda: opened.read(2**16), b""):
                while packed:
                    length += len(unpacking.decompress(packed, 2**20))
                    if length > _LARGEST_UNPACKED:
                        raise UnreadableImage("a DICOM file that unpacks to more than any radiograph has")
                    packed = unpacking.unconsumed_tail
    opened.seek(0)


def _silence_pydicom() -> None:
    """No warnings of pydicom: on damaged files they quote what should not be read, names too.

    For good, and not only while a file is read: warnings belong to the process, and several threads read.
    """
    warnings.filterwarnings("ignore", module=rf"pydicom|{re.escape(__name__)}")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def decode_elements(dataset: Dataset, names: Iterable[str], dispensable: Container[str] = ()) -> None:
    """Turn the bytes of these elements into values, and remove those that are empty.

    Raises UnreadableImage; a damaged one of those that are dispensable is removed instead. Elements of other names may
    be damaged without harm.
    """
    for name in names:
        try:
            if name in DECIMALS:
                _mend_commas(dataset, name)
            if name in dataset and dataset[name].is_empty:
                del dataset[name]
            if name in DECIMALS and name in dataset:
                float(first_of(dataset[name].value))
        except Exception as error:  # damaged files make pydicom raise many kinds
            if name not in dispensable:
                raise UnreadableImage(f"a DICOM file whose {name} cannot be read") from error
            del dataset[name]


def _mend_commas(dataset: Dataset, name: str) -> None:
    """Points in the place of decimal commas, which some writers leave in numbers."""
    from pydicom.dataelem import RawDataElement

    found = dataset.get_item(name) if name in dataset else None
    if isinstance(found, RawDataElement) and isinstance(found.value, bytes) and b"," in found.value:
        dataset[found.tag] = found._replace(value=found.value.replace(b",", b"."))


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
        frames, samples = _frames(dataset), int(dataset.get("SamplesPerPixel", 1))
        bits = width * height * frames * samples * int(dataset.get("BitsAllocated", 8))
        if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
            bits = bits * 2 // 3
        implicit, little = dataset.original_encoding
        reason = _why_pixels_incomplete(opened, bool(implicit), bool(little), expected=(bits + 7) // 8)
    except Exception:  # values of any kind stand where numbers should
        reason = _NO_DICOM
    if reason:
        raise UnreadableImage(reason)


def _frames(dataset: Dataset) -> int:
    """How many pictures a file has: one, where some writers say that there are none."""
    return int(dataset.get("NumberOfFrames", 1)) or 1


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
    decode_elements(dataset, PICTURE, dispensable=_DISPENSABLE)
    _require_decodable(dataset)
    width, height = size_of(dataset)
    try:
        pixels = brightness(dataset, _stored(dataset, opened))
    except UnreadableImage:
        raise
    except Exception as error:  # decoders raise many kinds on damaged files
        raise UnreadableImage("a DICOM file whose picture cannot be decoded") from error
    if pixels.shape != (height, width):
        raise UnreadableImage("a DICOM file whose picture has another size than its header says")
    return pixels


def _require_decodable(dataset: Dataset) -> None:
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGExtended12Bit

    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise UnreadableImage("a DICOM file of floating-point pixels; radiographs have whole numbers")
    if "PixelData" not in dataset:
        raise UnreadableImage(_NO_PICTURE)
    if _frames(dataset) != 1:
        raise UnreadableImage("a DICOM file of several pictures (frames); one is expected")
    if missing := [name for name in _NEEDED if name not in dataset]:
        raise UnreadableImage(f"a DICOM file that does not say its {', '.join(missing)}")
    if dataset.BitsAllocated not in _WHOLE_BYTES:
        bits = dataset.BitsAllocated
        raise UnreadableImage(f"a DICOM file whose pixels are packed, at {bits} bits each; whole bytes are expected")
    if any(map(_is_oblong, (dataset.get(name) for name in _SIDES_OF_PIXELS))):
        raise UnreadableImage("a DICOM file whose pixels are not square; save it with square ones")
    syntax = dataset.file_meta.TransferSyntaxUID
    deep = syntax == JPEGExtended12Bit and dataset.BitsStored > 8  # which neither Pillow nor GDCM reads
    try:
        decodable = get_decoder(syntax).is_available
    except Exception:  # an unknown one, or in damaged files no identifier at all
        decodable = False
    if deep or not decodable:
        raise UnreadableImage("a DICOM file compressed in a way that no installed decoder reads")


def _is_oblong(sides: Any) -> bool:
    """Whether two numbers say that a pixel is no square; other values say nothing."""
    try:
        one, other = map(float, sides)
    except (TypeError, ValueError):
        return False
    return one > 0 and other > 0 and max(one, other) > _SQUARE * min(one, other)


def _stored(dataset: Dataset, file: BinaryIO) -> np.ndarray:
    """The levels or colours as stored, decoded: of levels all bits, also those that are not used."""
    from pydicom.pixels import get_decoder, pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    plugins = [name for name in get_decoder(syntax).available_plugins if name != _CRASHES]
    if syntax.is_encapsulated and not plugins:
        return _decode_apart(file)
    dataset.NumberOfFrames = 1
    plugin = plugins[0] if plugins else ""
    return pixel_array(dataset, decoding_plugin=plugin, correct_unused_bits=not is_monochrome(dataset))


_CRASHES = "gdcm"
"""The decoder that reads lossless JPEG and JPEG-LS, alone; many damaged files make it end the whole process."""

_APART_SECONDS = 30
"""Less than a server waits for a picture, so that it is this process that ends the decoder."""

_APART = f"""
import io, resource, sys
# Should this process's parent be killed, nobody else would end it.
resource.setrlimit(resource.RLIMIT_CPU, ({_APART_SECONDS}, {_APART_SECONDS}))
import numpy
from pydicom import dcmread
from pydicom.pixels import pixel_array
from pydicom.uid import JPEGLossless, JPEGLosslessSV1
found, dataset = io.BytesIO(), dcmread(io.BytesIO(sys.stdin.buffer.read()))
if dataset.file_meta.TransferSyntaxUID in (JPEGLossless, JPEGLosslessSV1):
    # The decoder would take away the bits above those that are stored, also where these are the upper ones.
    dataset.BitsStored = dataset.BitsAllocated
pixels = pixel_array(dataset, decoding_plugin={_CRASHES!r}, correct_unused_bits=False)
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
