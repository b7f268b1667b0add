"""DICOM files as X-ray units, archives and researchers write them, and damaged ones."""

import builtins
import io
import logging

import gdcm
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)

from diffvqa.images import Seen, UnreadableImage, letterbox, read_image, read_squares
from diffvqa.images.undecoded import image_size, seen_whole

WIDTH, HEIGHT = 60, 40
SECRET = "Nobody^Known"


def why_incomplete(path):
    try:
        return seen_whole(path) and None
    except UnreadableImage as error:
        return str(error)


@pytest.fixture
def ramp():
    return np.tile(np.arange(WIDTH, dtype=np.uint16) * 60 + 100, (HEIGHT, 1))


def dicom(pixels, syntax=ExplicitVRLittleEndian, **elements):
    """A dataset with these pixels: uint8, uint16 or int16, of shape (height, width) or (height, width, 3)."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid(entropy_srcs=["test"])
    dataset.PatientName = SECRET
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in elements.items():
        setattr(dataset, name, value)
    little = syntax != ExplicitVRBigEndian
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<" if little else ">")).tobytes()
    dataset["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"
    return dataset


def write(path, dataset):
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def read(tmp_path):
    """The picture that comes of a dataset that is written and read, with its header looked at on the way."""

    def written_and_read(dataset):
        path = write(tmp_path / "file.dcm", dataset)
        assert image_size(path) == (dataset.Columns, dataset.Rows)
        assert why_incomplete(path) is None
        pixels = read_image(path)
        assert (pixels.dtype, pixels.shape) == (np.uint8, (dataset.Rows, dataset.Columns))
        assert (read_image(path.read_bytes()) == pixels).all()
        return pixels

    return written_and_read


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_a_picture_without_a_window_is_spread_over_all_levels(read, ramp, syntax):
    pixels = read(dicom(ramp, syntax)).astype(int)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert (np.abs(pixels[0] - np.linspace(0, 255, WIDTH)) <= 0.5).all()
    assert (pixels == pixels[0]).all()


def packed(pixels, syntax, **writing):
    """A dataset whose pixels are a file that Pillow writes."""
    inside = io.BytesIO()
    Image.fromarray(pixels).save(inside, **writing)
    dataset = dicom(pixels, syntax)
    dataset.PixelData = encapsulate([inside.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    return dataset


def test_run_lengths(read, ramp):
    dataset = dicom(ramp)
    dataset.compress(RLELossless, generate_instance_uid=False)
    assert (read(dataset) == read(dicom(ramp))).all()


def test_jpeg_2000(read, ramp):
    assert (read(packed(ramp, JPEG2000Lossless, format="JPEG2000", no_jp2=True)) == read(dicom(ramp))).all()


def test_jpeg(read):
    grey = np.tile(np.arange(WIDTH, dtype=np.uint8) * 4, (HEIGHT, 1))
    dataset = packed(grey, JPEGBaseline8Bit, format="JPEG", quality=95)
    assert np.abs(read(dataset).astype(int) - read(dicom(grey))).mean() < 1.5


def jpeg_lossless(path, dataset):
    """The same file with its pixels in lossless JPEG."""
    writer, reader, change = gdcm.ImageWriter(), gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(write(path.with_suffix(".plain"), dataset)))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()
    return path


def test_lossless_jpeg(read, tmp_path, ramp):
    path = jpeg_lossless(tmp_path / "packed.dcm", dicom(ramp, BitsStored=12, HighBit=11))
    assert dcmread(path).file_meta.TransferSyntaxUID == JPEGLosslessSV1
    assert why_incomplete(path) is None
    assert (read_image(path) == read(dicom(ramp))).all()
    assert (read_image(path.read_bytes()) == read_image(path)).all()


def test_a_decoder_that_crashes_takes_nothing_with_it(tmp_path, ramp):
    path = jpeg_lossless(tmp_path / "packed.dcm", dicom(ramp, BitsStored=12, HighBit=11))
    content = path.read_bytes()
    precision = content.rindex(b"\xff\xc3") + 4
    path.write_bytes(content[:precision] + b"\x82" + content[precision + 1 :])
    with pytest.raises(UnreadableImage, match="cannot be decoded"):
        read_image(path)


def test_a_compression_that_nothing_reads(tmp_path, ramp):
    dataset = packed(ramp.astype(np.uint8), MPEG2MPML, format="JPEG")
    with pytest.raises(UnreadableImage, match="no installed decoder"):
        read_image(write(tmp_path / "file.dcm", dataset))


def test_monochrome_1_is_inverted(read, ramp):
    assert (read(dicom(ramp, PhotometricInterpretation="MONOCHROME1")) == 255 - read(dicom(ramp))).all()


def test_outliers_do_not_darken_the_picture(read, ramp):
    large = np.kron(ramp, np.ones((4, 4), np.uint16))
    plain = read(dicom(large))
    large[0, :3] = 65535
    assert (read(dicom(large))[1:] == plain[1:]).all()


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("padding", [0, 65535])
def test_padding_is_black_and_does_not_count(read, ramp, padding, photometric):
    plain = read(dicom(ramp, PhotometricInterpretation=photometric))
    padded = np.pad(ramp, 12, constant_values=padding)
    pixels = read(dicom(padded, PhotometricInterpretation=photometric, PixelPaddingValue=padding))
    assert (pixels[12:-12, 12:-12] == plain).all()
    pixels[12:-12, 12:-12] = 0
    assert not pixels.any()


def test_a_range_of_padding(read, ramp):
    padded = np.pad(ramp, 12, constant_values=60000)
    padded[0] = 65000
    pixels = read(dicom(padded, PixelPaddingValue=60000, PixelPaddingRangeLimit=65535))
    assert (pixels[12:-12, 12:-12] == read(dicom(ramp))).all()
    assert not pixels[:12].any()


def test_negative_padding(read, ramp):
    signed = np.pad(ramp.astype(np.int16), 12, constant_values=-2000)
    pixels = read(dicom(signed, PixelPaddingValue=-2000))
    assert (pixels[12:-12, 12:-12] == read(dicom(ramp))).all()


def test_nothing_but_padding_is_black(read):
    assert not read(dicom(np.full((HEIGHT, WIDTH), 7, np.uint16), PixelPaddingValue=7)).any()


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, lambda x: (x - 999.5) / 1000 + 0.5),
        ({"VOILUTFunction": "LINEAR"}, lambda x: (x - 999.5) / 1000 + 0.5),
        ({"VOILUTFunction": "LINEAR_EXACT"}, lambda x: (x - 1000) / 1001 + 0.5),
        ({"VOILUTFunction": "SIGMOID"}, lambda x: 1 / (1 + np.exp(-4 * (x - 1000) / 1001))),
        ({"RescaleSlope": "2", "RescaleIntercept": "-500"}, lambda x: (2 * x - 500 - 999.5) / 1000 + 0.5),
        ({"WindowCenter": ["1000", "5"], "WindowWidth": ["1001", "7"]}, lambda x: (x - 999.5) / 1000 + 0.5),
    ],
)
def test_a_window_is_kept(read, ramp, elements, expected):
    pixels = read(dicom(ramp, **{"WindowCenter": "1000", "WindowWidth": "1001", **elements})).astype(float)
    assert np.allclose(pixels, 255 * np.clip(expected(ramp.astype(float)), 0, 1), atol=0.51)


@pytest.mark.parametrize(
    ("center", "width"), [("60000", "100"), ("1000", "0"), ("1000", "-5"), (None, None), ("1000", None)]
)
def test_a_window_that_shows_nothing_is_passed_over(read, ramp, center, width):
    assert (read(dicom(ramp, WindowCenter=center, WindowWidth=width)) == read(dicom(ramp))).all()


def test_a_window_that_is_black_in_nearly_all_pixels_is_passed_over(read):
    levels = np.tile(np.arange(200, dtype=np.uint16), (60, 1))
    assert (read(dicom(levels, WindowCenter="199", WindowWidth="2")) == read(dicom(levels))).all()
    assert (read(dicom(levels, WindowCenter="190", WindowWidth="2")) != read(dicom(levels))).any()
    flat = np.where(levels == 0, 200, 60).astype(np.uint16)  # of one grey that is neither black nor white
    assert set(np.unique(read(dicom(flat, WindowCenter="128", WindowWidth="256")))) == {60, 200}


def lookup(name, descriptor, data):
    item = Dataset()
    item.LUTDescriptor, item.LUTData = descriptor, data
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return {name: [item]}


def test_lookup_tables(read, ramp):
    falling = lookup("ModalityLUTSequence", [4096, 0, 16], list(range(4095, -1, -1)))
    assert (read(dicom(ramp, **falling)) == 255 - read(dicom(ramp))).all()
    bent = lookup("VOILUTSequence", [4096, 0, 16], [min(value, 1000) for value in range(4096)])
    pixels = read(dicom(ramp, **bent))
    assert np.allclose(pixels, 255 * np.clip(ramp / 1000, 0, 1), atol=0.51)


def aligned(ramp, bits, high, signed=False):
    """The ramp in `bits` bits below and with bit `high`, and what the header says of them."""
    levels = ramp.astype(int) * (2**bits - 1) // 4095 - (2 ** (bits - 1) if signed else 0)
    pixels = (levels << (high + 1 - bits)).astype(np.int16 if signed else np.uint16)
    return pixels, {"BitsStored": bits, "HighBit": high}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits", "high"), [(12, 15), (12, 11), (10, 11), (14, 15), (12, 13)])
def test_bits_that_are_not_stored_do_not_count(read, ramp, bits, high, signed):
    pixels, elements = aligned(ramp, bits, high, signed)
    plain, _ = aligned(ramp, bits, bits - 1, signed)
    assert (read(dicom(pixels, **elements)) == read(dicom(plain))).all()


def test_negative_levels_without_their_upper_bits(read, ramp):
    signed = ramp.astype(np.int16) - 2048
    elements = {"BitsStored": 12, "HighBit": 11}
    assert (read(dicom(signed & 0xFFF, **elements)) == read(dicom(ramp))).all()


@pytest.mark.parametrize(
    ("change", "elements", "reason"),
    [
        (lambda ramp: ramp, {"BitsStored": 12, "HighBit": 15}, "bits below"),
        (lambda ramp: ramp << 4, {"BitsStored": 12, "HighBit": 11}, "out of the range"),
        (lambda ramp: ramp, {"BitsStored": 12, "HighBit": 9}, "contradict"),
        (lambda ramp: ramp, {"BitsStored": 16, "HighBit": 16}, "contradict"),
        (lambda ramp: ramp, {"BitsAllocated": 12, "BitsStored": 12}, "packed, at 12 bits"),
    ],
)
def test_bits_that_cannot_be_so_are_refused_by_name(tmp_path, ramp, change, elements, reason):
    path = write(tmp_path / "file.dcm", dicom(change(ramp), **elements))
    with pytest.raises(UnreadableImage, match=reason):
        read_image(path)


def test_a_few_pixels_out_of_range_are_the_brightest(read, ramp):
    large = np.kron(ramp, np.ones((4, 4), np.uint16))
    plain = read(dicom(large, BitsStored=12, HighBit=11))
    large[0, :3] = 4096
    found = read(dicom(large, BitsStored=12, HighBit=11))
    assert (found[1:] == plain[1:]).all()
    assert (found[0, :3] == 255).all()


def test_padding_may_lie_out_of_range(read, ramp):
    padded = np.pad(ramp, 12, constant_values=63536)
    pixels = read(dicom(padded, BitsStored=12, HighBit=11, PixelPaddingValue=63536))
    assert (pixels[12:-12, 12:-12] == read(dicom(ramp))).all()
    assert not pixels[:12].any()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("name", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("depth", [8, 10, 12, 16])
@pytest.mark.parametrize("words", [True, False])
def test_tables_of_any_depth_in_words_and_in_bytes(read, ramp, name, depth, words, syntax):
    bits, order = (depth, "<u2") if words else (8, "<u1")
    table = np.linspace(2**bits - 1, 0, 4096).round().astype(order).tobytes()
    item = Dataset()
    item.LUTDescriptor = [4096, 0, depth]
    item.add_new("LUTData", "OW", table)
    if syntax == ExplicitVRBigEndian:
        item["LUTData"].value = np.frombuffer(table, "<u2").astype(">u2").tobytes()
    found = read(dicom(ramp, syntax, **{name: [item]})).astype(int)
    assert np.abs(found - (255 - read(dicom(ramp)).astype(int))).max() <= 2


@pytest.mark.parametrize("name", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("entries", [0, 100, 5000])
def test_a_table_that_does_not_fit_its_header_is_refused_by_name(tmp_path, ramp, name, entries):
    path = write(tmp_path / "file.dcm", dicom(ramp, **lookup(name, [entries, 0, 16], list(range(4096)))))
    with pytest.raises(UnreadableImage, match="lookup table of another length"):
        read_image(path)


def test_a_damaged_table_beside_a_window_gives_way_to_it(read, ramp):
    window = {"WindowCenter": "1000", "WindowWidth": "1001"}
    broken = lookup("VOILUTSequence", [5000, 0, 16], list(range(4096)))
    assert (read(dicom(ramp, **broken, **window)) == read(dicom(ramp, **window))).all()


@pytest.mark.parametrize("intercept", ["0", "-1024"])
def test_a_slope_of_0_is_none(read, ramp, intercept):
    found = read(dicom(ramp, RescaleSlope="0", RescaleIntercept=intercept))
    assert (found == read(dicom(ramp))).all()
    assert (found.min(), found.max()) == (0, 255)


def test_no_frames_are_one(read, ramp):
    assert (read(dicom(ramp, NumberOfFrames=0)) == read(dicom(ramp))).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [("WindowCenter", "1000.5"), ("WindowWidth", "1001.5"), ("RescaleSlope", "1.25"), ("RescaleIntercept", "-0.25")],
)
def test_decimal_commas_are_points(tmp_path, read, ramp, name, value):
    elements = {"WindowCenter": "1000", "WindowWidth": "1001", "RescaleSlope": "1", "RescaleIntercept": "0"}
    expected = read(dicom(ramp, **{**elements, name: value}))
    content = (tmp_path / "file.dcm").read_bytes()
    assert content.count(value.encode()) == 1
    (tmp_path / "comma.dcm").write_bytes(content.replace(value.encode(), value.replace(".", ",").encode()))
    assert (read_image(tmp_path / "comma.dcm") == expected).all()


@pytest.mark.parametrize("name", ["WindowCenter", "WindowWidth"])
def test_a_window_that_cannot_be_read_is_passed_over(tmp_path, read, ramp, name):
    path = write(tmp_path / "file.dcm", dicom(ramp, **{"WindowCenter": "1234", "WindowWidth": "1234", name: "9876"}))
    path.write_bytes(path.read_bytes().replace(b"9876", b"wide"))
    assert (read_image(path) == read(dicom(ramp))).all()


def test_a_slope_that_cannot_be_read_is_named(tmp_path, ramp):
    path = write(tmp_path / "file.dcm", dicom(ramp, RescaleSlope="9876", RescaleIntercept="0"))
    path.write_bytes(path.read_bytes().replace(b"9876", b"none"))
    with pytest.raises(UnreadableImage, match="RescaleSlope cannot be read"):
        read_image(path)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_an_empty_transfer_syntax_is_one_that_is_not_said(tmp_path, read, ramp, syntax):
    content = write(tmp_path / "file.dcm", dicom(ramp, syntax)).read_bytes()
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    said = b"\x02\0\x10\0UI" + len(uid).to_bytes(2, "little") + uid
    assert content.count(said) == 1
    length = int.from_bytes(content[140:144], "little") - len(uid)
    path = tmp_path / "empty.dcm"
    empty = b"\x02\0\x10\0UI\0\0"
    path.write_bytes(content[:140] + length.to_bytes(4, "little") + content[144:].replace(said, empty))
    assert (read_image(path) == read(dicom(ramp))).all()
    assert why_incomplete(path) is None


def test_signed_levels(read, ramp):
    assert (read(dicom(ramp.astype(np.int16) - 1500)) == read(dicom(ramp))).all()


def test_colours_become_grey_without_being_spread(read):
    grey = np.tile(np.arange(WIDTH, dtype=np.uint8) + 50, (HEIGHT, 1))
    assert (read(dicom(np.repeat(grey[:, :, None], 3, 2))) == grey).all()
    green = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    green[:, :, 1] = 100
    assert (read(dicom(green)) == 59).all()


def test_a_palette(read):
    places = np.tile(np.arange(WIDTH, dtype=np.uint8), (HEIGHT, 1))
    elements = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        table = (np.arange(256)[::-1] * 257).astype("<u2")
        elements[f"{colour}PaletteColorLookupTableData"] = table.tobytes()
    assert (read(dicom(places, **elements)) == 255 - places).all()


def test_squares_are_those_of_the_whole_picture(tmp_path, ramp):
    path = write(tmp_path / "file.dicom", dicom(ramp))
    source, squares = read_squares(path, (32, 48))
    assert source == Seen(WIDTH, HEIGHT)
    assert all((square == letterbox(read_image(path), len(square))[0]).all() for square in squares)


def test_a_dicom_file_is_known_by_its_content(tmp_path, ramp):
    named = write(tmp_path / "file.dcm", dicom(ramp))
    for name in ("IM0001", "wrong.png"):
        (tmp_path / name).write_bytes(named.read_bytes())
        assert (read_image(tmp_path / name) == read_image(named)).all()
        assert image_size(tmp_path / name) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_another_kind_of_file_is_known_by_its_content_too(tmp_path, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    for name in ("named.dcm", f"named.{kind.lower()}"):
        Image.fromarray(pixels).save(tmp_path / name, format=kind)
    expected = read_image(tmp_path / f"named.{kind.lower()}")
    assert (read_image(tmp_path / "named.dcm") == expected).all()
    assert image_size(tmp_path / "named.dcm") == (50, 40)


def test_text_that_is_called_dicom_is_none(tmp_path):
    (tmp_path / "text.dcm").write_text("no picture in here, and no element either" * 10)
    with pytest.raises(UnreadableImage, match="not a DICOM file"):
        read_image(tmp_path / "text.dcm")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_file_without_preamble_is_known_by_its_name_or_its_first_element(tmp_path, ramp, syntax):
    dataset = dicom(ramp, syntax)
    expected = read_image(write(tmp_path / "whole.dcm", dataset))
    del dataset.file_meta
    dataset.save_as(tmp_path / "old.DCM", implicit_vr=syntax.is_implicit_VR, little_endian=True)
    assert (read_image(tmp_path / "old.DCM") == expected).all()
    assert (read_image((tmp_path / "old.DCM").read_bytes()) == expected).all()
    assert why_incomplete(tmp_path / "old.DCM") is None


def cut(by):
    return lambda content: content[:-by]


NOT_READ = {
    "no picture": ({"PixelData": None}, None, "without a picture"),
    "no rows": ({"Rows": None}, None, "without a picture"),
    "strip": ({"Rows": 3}, None, "shorter than 16"),
    "no polarity": ({"PhotometricInterpretation": None}, None, "does not say its PhotometricInterpretation"),
    "no bits": ({"BitsStored": None, "BitsAllocated": None}, None, "does not say its BitsAllocated, BitsStored"),
    "bomb": ({"Rows": 60000, "Columns": 60000}, None, "too many"),
    "more rows than pixels": ({"Rows": 100}, None, "cannot be decoded"),
    "unknown photometric": ({"PhotometricInterpretation": "ELSE"}, None, "cannot be decoded"),
    "cut": ({}, cut(100), "cannot be decoded"),
    "cut in the header": ({}, cut(WIDTH * HEIGHT * 2 + 60), "without a picture"),
    "text": ({}, lambda content: b"no image, " * 40, "DICOM"),
    "empty": ({}, lambda content: b"", "an empty file"),
}


@pytest.mark.parametrize("kind", sorted(NOT_READ))
def test_what_cannot_be_read_gives_a_reason_without_path_or_patient(tmp_path, ramp, kind, recwarn, capfd):
    changes, damage, reason = NOT_READ[kind]
    dataset = dicom(ramp)
    for name, value in changes.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    path = write(tmp_path / "patient-name.dcm", dataset)
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    for read in (read_image, lambda path: read_squares(path, [32])):
        with pytest.raises(UnreadableImage, match=reason) as caught:
            read(path)
        assert "patient-name" not in str(caught.value)
    said = "".join(capfd.readouterr()) + "".join(str(warning.message) for warning in recwarn)
    assert SECRET not in said
    assert "patient-name" not in said


def test_several_frames_are_refused(tmp_path, ramp):
    dataset = dicom(ramp, NumberOfFrames=2)
    dataset.PixelData = dataset.PixelData * 2
    path = write(tmp_path / "file.dcm", dataset)
    with pytest.raises(UnreadableImage, match="several pictures"):
        read_image(path)


@pytest.mark.parametrize(
    ("elements", "square"),
    [
        ({"PixelSpacing": ["0.14", "0.14"], "ImagerPixelSpacing": ["0.168", "0.1681"]}, True),
        ({"PixelAspectRatio": ["1", "1"]}, True),
        ({"PixelSpacing": ["0", "0"]}, True),
        ({"PixelSpacing": "0.14"}, True),
        ({"PixelAspectRatio": ["2", "1"]}, False),
        ({"PixelSpacing": ["0.14", "0.28"]}, False),
        ({"ImagerPixelSpacing": ["0.2", "0.1"]}, False),
    ],
)
def test_pixels_that_are_not_square_are_refused(tmp_path, ramp, elements, square):
    path = write(tmp_path / "file.dcm", dicom(ramp, **elements))
    if square:
        assert read_image(path).shape == (HEIGHT, WIDTH)
    else:
        with pytest.raises(UnreadableImage, match="not square"):
            read_image(path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("share", "whole"), [(1.0, True), (0.95, False), (0.5, False), (0.1, False)])
def test_an_incomplete_file_is_found_without_decoding(tmp_path, compressed, share, whole):
    dataset = dicom(np.random.default_rng(0).integers(0, 4000, (100, 100)).astype(np.uint16))
    if compressed:
        dataset.compress(RLELossless, generate_instance_uid=False)
    path = write(tmp_path / "file.dcm", dataset)
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    assert (why_incomplete(path) is None) == whole
    if whole:
        path.write_bytes(content + bytes(20))  # more than it says does no harm
        assert why_incomplete(path) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Rows": 100}, "ends before"),
        ({"PixelData": None}, "without a picture"),
        ({"Rows": None}, "without a picture"),
        ({"Rows": 8}, "shorter than 16"),
        ({"Rows": 16, "Columns": 100}, "4 times"),
    ],
)
def test_a_header_that_cannot_be_true_is_found(tmp_path, ramp, changes, reason):
    dataset = dicom(ramp)
    for name, value in changes.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    assert reason in why_incomplete(write(tmp_path / "file.dcm", dataset))


def test_no_damage_ends_in_anything_but_a_reason(tmp_path, ramp, recwarn, caplog, capfd):
    """Bytes of the header and of the first pixels are damaged in turn; nothing of the patient comes out."""
    caplog.set_level(logging.DEBUG)
    elements = {"WindowCenter": "1000", "WindowWidth": "900", "RescaleSlope": "1", "RescaleIntercept": "0"}
    content = write(tmp_path / "file.dcm", dicom(ramp[:20, :40], **elements, PixelPaddingValue=0)).read_bytes()
    path = tmp_path / "damaged.dcm"
    outcomes = set()
    for place in range(128, len(content) - 1500, 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xA5]) + content[place + 1 :])
        image_size(path)
        why_incomplete(path)
        try:
            read_image(path)
            outcomes.add("read")
        except UnreadableImage:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
    assert not recwarn
    assert SECRET not in caplog.text
    assert SECRET not in "".join(capfd.readouterr())


def test_without_pydicom_the_reason_says_so(tmp_path, ramp, monkeypatch):
    path = write(tmp_path / "file.dcm", dicom(ramp))
    real = builtins.__import__

    def without(name, *others, **more):
        if name.split(".")[0] == "pydicom":
            raise ImportError(name)
        return real(name, *others, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnreadableImage, match="pydicom"):
        read_image(path)
    assert image_size(path) is None
    assert "pydicom" in why_incomplete(path)
