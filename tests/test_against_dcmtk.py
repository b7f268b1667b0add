"""Our reading of DICOM pixels against that of an independent decoder, dcmtk, over hundreds of kinds of files."""

import random
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from diffvqa.images import UnreadableImage, read_image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("dcm2pnm"), reason="dcmtk is not installed (Debian: apt-get install dcmtk)"),
    pytest.mark.filterwarnings("ignore"),  # of writing unusual files
]

WIDTH, HEIGHT = 48, 40
PARTS, EACH = 8, 40
"""In so many parts, so many kinds of grey pictures each: of colours and of what is packed by dcmtk there are more."""

SYNTAXES = (
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless,
)  # fmt: skip
MAPPINGS = (
    "none", "slope", "falling slope", "modality table of 8 bits", "modality table of 12 bits",
    "modality table of 16 bits", "table of 8 bits", "table of 12 bits", "table of 16 bits", "LINEAR", "LINEAR_EXACT",
    "SIGMOID", "slope and window",
)  # fmt: skip


@pytest.fixture(scope="module")
def shades():
    """A picture of smooth shades and a sharp edge, 0 to 1, black and white in many pixels."""
    x, y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    picture = 0.5 + 0.5 * np.sin(5 * x + 3 * y * y) * np.cos(2 * y)
    picture[HEIGHT // 2 :, WIDTH // 3 : WIDTH // 2] = 0.9
    return np.clip(1.3 * (picture - picture.min()) / np.ptp(picture) - 0.15, 0, 1)


def dataset(pixels, syntax, **elements):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8 * pixels.itemsize
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in elements.items():
        setattr(made, name, value)
    made.HighBit = elements.get("HighBit", made.BitsStored - 1)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    made.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    made["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"
    return made


def save(made, path, syntax):
    """Write a dataset; run lengths are of dcmtk."""
    plain = path.with_suffix(".plain")
    made.save_as(plain, enforce_file_format=True)
    if syntax == RLELossless:
        subprocess.run(["dcmcrle", "-q", plain, path], check=True, capture_output=True)
    else:
        plain.rename(path)


def table(bits, low, high, syntax):
    """A curved table over the levels from low to high, of a few thousand entries at most, as a sequence."""
    entries = min(high - low + 1, 4096)
    item = Dataset()
    item.LUTDescriptor = [entries, low % 2**16 if low >= 0 else low, bits]
    item["LUTDescriptor"].VR = "SS" if low < 0 else "US"
    curve = np.rint(np.linspace(0, 1, entries) ** 1.5 * (2**bits - 1))
    item.add_new("LUTData", "OW", curve.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes())
    return [item]


def grey(shades, drawn):
    """A dataset of one of the many kinds of grey pictures, what it is, and how dcmtk is told to read it."""
    bits = drawn.choice((8, 8, 10, 12, 12, 14, 16))
    allocated = 8 if bits == 8 and drawn.random() < 0.6 else 16
    high = drawn.choice((bits - 1, allocated - 1, (bits + allocated) // 2 - 1))
    signed, photometric = drawn.random() < 0.4, drawn.choice(("MONOCHROME1", "MONOCHROME2"))
    syntax, mapping = drawn.choice(SYNTAXES), drawn.choice(MAPPINGS)
    low, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if "table" in mapping:
        most = min(most, low + 4095)
    levels = np.rint(low + shades * (most - low)).astype(np.int64)
    pixels = (levels << (high + 1 - bits)).astype(f"{'i' if signed else 'u'}{allocated // 8}")
    elements, told = {}, ["+Wm"]
    centre, width = (low + most) / 2, (most - low) * 0.7 + 1
    if "slope" in mapping:
        slope, intercept = (-1.5 if "falling" in mapping else 0.5), 100
        elements |= {"RescaleSlope": str(slope), "RescaleIntercept": str(intercept)}
        centre, width = centre * slope + intercept, width * abs(slope)
    elif "modality" in mapping:
        elements |= {"ModalityLUTSequence": table(int(mapping.split()[-2]), low, most, syntax)}
    elif "table" in mapping:
        elements |= {"VOILUTSequence": table(int(mapping.split()[-2]), low, most, syntax)}
        told = ["+Wl", "1"]
    if "window" in mapping or mapping in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        elements |= {"WindowCenter": f"{centre:.1f}", "WindowWidth": f"{width:.1f}"}
        elements |= {"VOILUTFunction": mapping} if mapping.isupper() else {}
        told = ["+Wi", "1"]
    made = dataset(pixels, syntax, BitsStored=bits, HighBit=high, PhotometricInterpretation=photometric, **elements)
    return (
        made,
        syntax,
        f"{bits} bits up to {high} of {allocated}, {signed=}, {photometric}, {syntax.name}, {mapping}",
        told,
    )


def by_dcmtk(path, *told, program="dcm2pnm"):
    out = path.with_suffix(".pnm")
    subprocess.run([program, "-q", "+op", "+Mm", "+Mv", *told, path, out], check=True, capture_output=True)
    with Image.open(out) as image:
        return np.asarray(image.convert("L")).astype(float)


def alike(ours, theirs):
    """The correlation of two pictures: of one that is read wrongly, inverted or noise, it is far from 1."""
    return np.corrcoef(ours.ravel().astype(float), theirs.ravel())[0, 1]


@pytest.mark.parametrize("part", range(PARTS))
def test_grey_pictures(tmp_path, shades, part):
    drawn, differ = random.Random(part), []
    for number in range(EACH):
        made, syntax, kind, told = grey(shades, drawn)
        path = tmp_path / f"{number}.dcm"
        save(made, path, syntax)
        try:
            found = alike(read_image(path), by_dcmtk(path, *told))
            differ += [f"{kind}: {found:.3f}"] if found < 0.995 else []
        except UnreadableImage as error:
            differ.append(f"{kind}: {error}")
    assert differ == []


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("planes", [0, 1])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colours(tmp_path, shades, syntax, planes, photometric):
    colours = np.stack([shades, shades[::-1], np.roll(shades, 7, 1)], -1)
    pixels = np.rint(255 * (colours if photometric == "RGB" else 0.25 + 0.5 * colours)).astype(np.uint8)
    laid = np.moveaxis(pixels, -1, 0) if planes and syntax != RLELossless else pixels
    made = dataset(laid.reshape(pixels.shape), syntax, SamplesPerPixel=3, PhotometricInterpretation=photometric,
                   PlanarConfiguration=int(planes and syntax != RLELossless))  # fmt: skip
    save(made, tmp_path / "a.dcm", syntax)
    assert np.abs(read_image(tmp_path / "a.dcm") - by_dcmtk(tmp_path / "a.dcm")).max() <= 3


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_palettes(tmp_path, shades, depth, syntax):
    elements = {"PhotometricInterpretation": "PALETTE COLOR"}
    for number, colour in enumerate(("Red", "Green", "Blue")):
        curve = np.linspace(0, 1, 256) ** (0.5 + number) * (2**depth - 1)
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, depth]
        elements[f"{colour}PaletteColorLookupTableData"] = np.rint(curve).astype(f"<u{depth // 8}").tobytes()
    made = dataset(np.rint(255 * shades).astype(np.uint8), syntax, **elements)
    save(made, tmp_path / "a.dcm", syntax)
    assert np.abs(read_image(tmp_path / "a.dcm") - by_dcmtk(tmp_path / "a.dcm")).max() <= 3


@pytest.mark.parametrize(("packer", "form", "reader"), [
    ("dcmcjpeg", "+e1", "dcmj2pnm"), ("dcmcjpeg", "+el", "dcmj2pnm"), ("dcmcjpls", "+el", "dcml2pnm"),
])  # fmt: skip
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_lossless_compression(tmp_path, shades, packer, form, reader, bits, signed, photometric):
    levels = np.rint(shades * (2**bits - 1)).astype(int) - 2 ** (bits - 1) * signed
    pixels = levels.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    plain, path = tmp_path / "plain.dcm", tmp_path / "packed.dcm"
    dataset(pixels, ExplicitVRLittleEndian, BitsStored=bits, PhotometricInterpretation=photometric).save_as(
        plain, enforce_file_format=True
    )
    subprocess.run([packer, "-q", form, plain, path], check=True, capture_output=True)
    assert (read_image(path) == read_image(plain)).all()
    assert alike(read_image(path), by_dcmtk(path, "+Wm", program=reader)) > 0.995


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("packer", "form"), [("dcmcjpeg", "+e1"), ("dcmcjpls", "+el"), ("dcmcrle", "-q")])
def test_left_aligned_pixels_that_are_compressed(tmp_path, shades, packer, form, signed):
    levels = np.rint(shades * 4095).astype(int) - 2048 * signed
    pixels = (levels << 4).astype(np.int16 if signed else np.uint16)
    plain, path = tmp_path / "plain.dcm", tmp_path / "packed.dcm"
    dataset(pixels, ExplicitVRLittleEndian, BitsStored=12, HighBit=15).save_as(plain, enforce_file_format=True)
    subprocess.run([packer, "-q", form, plain, path], check=True, capture_output=True)
    assert (read_image(path) == read_image(plain)).all()


@pytest.mark.parametrize("form", ["+ee", "+es", "+ep"])
def test_lossy_compression_of_12_bits_is_refused_by_name(tmp_path, shades, form):
    plain, path = tmp_path / "plain.dcm", tmp_path / "packed.dcm"
    pixels = np.rint(shades * 4095).astype(np.uint16)
    dataset(pixels, ExplicitVRLittleEndian, BitsStored=12).save_as(plain, enforce_file_format=True)
    subprocess.run(["dcmcjpeg", "-q", form, plain, path], check=True, capture_output=True)
    with pytest.raises(UnreadableImage, match="no installed decoder"):
        read_image(path)
