"""Radiographs, archives and stores made to fill memory or disk, to lead out of a folder, or to run code."""

import io
import json
import resource
import shutil
import struct
import zipfile
import zlib
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from diffvqa.answering.dicom.sources import ELEMENTS, read_sources
from diffvqa.data.mimic.reports import Reports
from diffvqa.data.paths import LARGEST_MEMBER
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.images.radiograph import Radiograph, read_radiograph

MEMORY = 2**20
"""Kilobytes that reading something hostile may take beside what the tests had."""


@pytest.fixture(autouse=True)
def little_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)


def refused(path, secrets=()):
    with pytest.raises(InputError, match=r"^current: ") as caught:
        read_radiograph(path, "current")
    said = str(caught.value)
    assert said.isprintable()
    assert not any(secret in said for secret in (*secrets, str(path)))
    return said


@pytest.mark.parametrize("sides", [(65535, 65535), (65535, 16), (0, 0), (1, 65535)])
def test_a_picture_of_absurd_size(write_dicom, tmp_path, sides, secrets):
    refused(write_dicom(tmp_path / "a.dcm", PIXELS, Rows=sides[0], Columns=sides[1]), secrets)


def test_a_picture_of_very_many_frames(write_dicom, tmp_path, secrets):
    assert "several" in refused(write_dicom(tmp_path / "a.dcm", PIXELS, NumberOfFrames="999999999"), secrets)


@pytest.mark.parametrize("what", ["pixels", "nothing that it needs"])
def test_a_deflated_bomb(write_dicom, tmp_path, what):
    """Half a gigabyte in half a megabyte."""
    dataset = dcmread(write_dicom(tmp_path / "plain.dcm", PIXELS))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    if what == "pixels":
        dataset.Rows = dataset.Columns = 10_000
    small = io.BytesIO()
    dataset.save_as(small, enforce_file_format=True)
    small = small.getvalue()
    start = 128 + 4 + 12 + int.from_bytes(small[140:144], "little")
    whole = zlib.decompress(small[start:], -zlib.MAX_WBITS)
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    with (tmp_path / "bomb.dcm").open("wb") as file:
        file.write(small[:start] + packing.compress(whole))
        for _ in range(500):
            file.write(packing.compress(bytes(2**20)))
        file.write(packing.flush())
    assert "unpacks to more" in refused(tmp_path / "bomb.dcm")


@pytest.mark.parametrize("where", ["before the pixels", "behind them"])
def test_sequences_of_very_many_levels(write_dicom, tmp_path, where):
    """They are overlooked, or refused; and no error of Python's comes out."""
    levels = 5000
    opening = struct.pack("<HH2sHIHHI", 0x0019, 0x1001, b"SQ", 0, 2**32 - 1, 0xFFFE, 0xE000, 2**32 - 1)
    ending = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    path = write_dicom(tmp_path / "a.dcm", PIXELS)
    content = path.read_bytes()
    place = content.rindex(struct.pack("<HH", 0x7FE0, 0x0010)) if where == "before the pixels" else len(content)
    path.write_bytes(content[:place] + opening * levels + ending * levels + content[place:])
    with suppress(InputError):
        read_radiograph(path, "current")


def test_private_elements_and_code_are_overlooked(write_dicom, tmp_path, bomb):
    path = write_dicom(tmp_path / "a.dcm", PIXELS)
    dataset = dcmread(path)
    block = dataset.private_block(0x0011, "HOSTILE", create=True)
    block.add_new(0x01, "OB", bomb + b"\0" * (len(bomb) % 2))
    block.add_new(0x02, "UT", "__import__('os').system('true')")
    dataset.save_as(path)
    assert (read_radiograph(path, "current").stored >= 0).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2/../3", "1.2.\x1b[2J", "/tmp/x", "1" * 5000])
def test_an_identifier_that_is_a_path_names_no_file(write_dicom, tmp_path, uid):
    current = write_dicom(tmp_path / "a.dcm", PIXELS)
    prior = write_dicom(tmp_path / "b.dcm", PIXELS)
    dataset = dcmread(prior)
    dataset.SOPInstanceUID = uid
    dataset.save_as(prior, enforce_file_format=False)
    radiographs = [Radiograph.from_file(path, ELEMENTS) for path in (prior, current)]
    with pytest.raises(InputError, match=r"^current: .*valid SOPInstanceUID") as caught:
        read_sources(radiographs[0], radiographs[1:], "0" * 64, None)
    assert str(caught.value).isprintable()


@pytest.mark.filterwarnings("ignore")
def test_a_header_of_terminal_commands_prints_none(write_dicom, tmp_path, model_folder, run_command):
    said = dict.fromkeys(("PatientName", "PatientID", "StudyDescription", "SeriesDescription"), "\x1b[2J\x1b]0;x\x07")
    current = write_dicom(tmp_path / "a.dcm", PIXELS, **said, ViewPosition="\x1b[2J", BodyPartExamined="\x1b[2J")
    prior = write_dicom(tmp_path / "b.dcm", PIXELS.T, **{**said, "PatientID": "\x1b[31m"}, StudyDate="20230102")
    for more in ([], ["--json"], ["--trust-identity"]):
        status, printed = run_command("answer", model_folder, "--current", current, "--prior", prior, *more)
        assert status in (0, 2)
        assert "\x1b" not in printed


def test_a_picture_that_unpacks_to_too_much(tmp_path):
    Image.new("L", (12_000, 12_000)).save(tmp_path / "bomb.png")
    assert "too many" in refused(tmp_path / "bomb.png")


def archive_of(tmp_path, members):
    with zipfile.ZipFile(tmp_path / "mimic-cxr-reports.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return tmp_path


def test_members_that_lead_out_of_an_archive_are_left_out(tmp_path):
    problems = []
    names = ["../s1.txt", "/etc/s1.txt", "a/../../s1.txt", "..\\s1.txt"]
    reports = Reports(archive_of(tmp_path, dict.fromkeys(names, "FINDINGS: hostile")), problems)
    assert reports.read("10000000", "1") == ""
    assert [one.kind for one in problems] == ["path_outside"] * 4 + ["report_missing"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mimic-cxr-reports.zip"]


def test_a_member_that_unpacks_to_too_much_is_left_out(tmp_path):
    problems = []
    reports = Reports(archive_of(tmp_path, {"files/p10/p10000000/s1.txt": bytes(LARGEST_MEMBER + 1)}), problems)
    assert reports.read("10000000", "1") == ""
    assert [one.kind for one in problems] == ["report_unreadable"]


def test_a_member_that_says_less_than_it_unpacks_to_is_left_out(tmp_path):
    archive_of(tmp_path, {"files/p10/p10000000/s1.txt": bytes(2**20)})
    path = tmp_path / "mimic-cxr-reports.zip"
    path.write_bytes(path.read_bytes().replace((2**20).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    problems = []
    assert Reports(tmp_path, problems).read("10000000", "1") == ""
    assert [one.kind for one in problems] == ["report_unreadable"]


@pytest.fixture
def store_copy(store_folder, tmp_path):
    return shutil.copytree(store_folder, tmp_path / "store")


def edit_store(folder, **said):
    path = folder / "store.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **said}))


def pickled_shard(folder, bomb):
    for path in folder.rglob("*.npy"):
        path.write_bytes(bomb.ljust(path.stat().st_size, b"\0"))


def shard_of_objects(folder, bomb):
    for path in folder.rglob("*.npy"):
        size = path.stat().st_size
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (10,)})
            file.write(bomb.ljust(size, b"\0"))


def shard_of_absurd_shape(folder, bomb):
    for path in folder.rglob("*.npy"):
        size = path.stat().st_size
        with path.open("wb") as file:
            shape = {"descr": "|u1", "fortran_order": False, "shape": (2**40, 2**20)}
            np.lib.format.write_array_header_1_0(file, shape)
            file.write(bytes(size))


def index_of_other_columns(folder, bomb):
    pyarrow.parquet.write_table(pa.table({"image_id": ["../../etc/passwd"], "code": [bomb]}), folder / "images.parquet")


STORES = {
    "size as a path": lambda folder, bomb: edit_store(folder, size="../../../etc/passwd"),
    "absurd size": lambda folder, bomb: edit_store(folder, size=2**40),
    "negative size": lambda folder, bomb: edit_store(folder, size=-64),
    "shards as paths": lambda folder, bomb: edit_store(folder, shard_images=["../../etc/passwd"]),
    "absurd shards": lambda folder, bomb: edit_store(folder, shard_images=[2**62]),
    "many levels": lambda folder, bomb: (folder / "store.json").write_text("[" * 100_000 + "]" * 100_000),
    "index of other columns": index_of_other_columns,
    "pickled shards": pickled_shard,
    "shards of objects": shard_of_objects,
    "shards of absurd shape": shard_of_absurd_shape,
}


@pytest.mark.parametrize("name", sorted(STORES))
def test_a_hostile_store_is_refused_in_one_line(store_copy, bomb, run_command, tmp_path, name):
    STORES[name](store_copy, bomb)
    status, said = run_command("sheet", store_copy, "--out", tmp_path / "sheet.png")
    assert (status, said.count("\n")) == (2, 1), said
    assert said.startswith("error: ")
    assert not (tmp_path / "sheet.png").exists()
    with pytest.raises(InputError):
        Store.open(store_copy).pixels(0)
