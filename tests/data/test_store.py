import csv
import errno
import json
import os
import pickle
import shutil
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image as PillowImage

from diffvqa.boxes import Box
from diffvqa.data import read_sources, shards
from diffvqa.data import store as store_module
from diffvqa.data.inspection import check_files
from diffvqa.data.prepare import prepare
from diffvqa.data.store import Store
from diffvqa.errors import InputError, RunFailed
from diffvqa.files import digest_of, is_unfinished
from diffvqa.images import letterbox, read_image, read_squares
from diffvqa.records import Cohort, Image, Pair, Question, Region, Study
from diffvqa.sealed import read_sealed

SIZE = 32


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Shards of three images, so that a tiny cohort has several."""
    monkeypatch.setattr(shards, "IMAGES", 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, makers):
    images = tmp_path_factory.mktemp("images")
    for number in range(10):
        makers["image"](images / f"{number}.png", number, 40 + number, 60)
    return images


def _cohort(folder, broken=()):
    studies = tuple(
        Study(
            f"study-{n}", f"patient-{n // 2}", n % 2, ("train", "test")[n // 6], report=f"numéro {n}\u2028",
            images=(Image(str(n), folder / ("x" * (n in broken) + f"{n}.png"), 40 + n, 60, "PA",
                          (Region(Box(1.5, 2, 30, 40), "left lung", ("clear", "no “x”")),) * (n % 3)),),
            findings=("edema",) * (n % 2),
        )
        for n in range(10)
    )  # fmt: skip
    questions = tuple(
        Question(f"q{n}", f"patient-{n // 2}", "difference", Pair(str(n), str(n - 1)), "what?", "nothing.", "train")
        for n in range(1, 10, 2)
    )
    return Cohort(studies, questions)


def _files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _contents(folder):
    """All files but the record of the run, which says how long it took."""
    return {path: content for path, content in _files(folder).items() if path.name != "started.json"}


def test_what_goes_in_comes_out(folder, tmp_path):
    cohort = _cohort(folder)
    made = prepare(cohort, tmp_path / "store", SIZE)
    assert made.size == SIZE
    assert made.folder == tmp_path / "store"
    assert made.questions == list(cohort.questions)
    assert len(made.images) == 10
    for study in cohort.studies:
        (image,) = study.images
        position = made.index[image.image_id]
        stored = made.images[position]
        square, frame = letterbox(read_image(image.path), SIZE)
        np.testing.assert_array_equal(made.pixels(position), square)
        assert made.pixels(position).dtype == np.uint8
        np.testing.assert_array_equal(
            made.larger_pixels(position), letterbox(read_image(image.path), made.larger_size)[0]
        )
        assert stored.frame == frame
        assert stored.regions == image.regions
        assert (stored.width, stored.height, stored.view) == (image.width, image.height, image.view)
        for name in ("subject_id", "study_id", "split", "report", "findings"):
            assert getattr(stored, name) == getattr(study, name)
    assert Store.open(tmp_path / "store").images == made.images
    with pytest.raises(IndexError):
        made.pixels(10)


def test_the_folder_is_the_owner_s_alone_and_says_what_it_holds(folder, tmp_path):
    prepare(_cohort(folder), tmp_path / "store", SIZE)
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    about = json.loads((tmp_path / "store" / "store.json").read_text())
    assert (about["images"], about["patients"], about["questions"], about["size"]) == (10, 5, 5, SIZE)
    assert not [path for path in (tmp_path / "store").rglob("*") if is_unfinished(path)]


def test_any_number_of_workers_makes_the_same_store(folder, tmp_path):
    cohort = _cohort(folder, broken=(4,))
    prepare(cohort, tmp_path / "one", SIZE, workers=1)
    prepare(cohort, tmp_path / "two", SIZE, workers=2)
    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")


@pytest.mark.parametrize("of_older_version", [True, False])
@pytest.mark.parametrize("stop", [3, 6, 9, 10])
def test_a_stopped_run_goes_on_where_it_was(folder, tmp_path, monkeypatch, stop, of_older_version):
    cohort = _cohort(folder, broken=(1,))
    prepare(cohort, tmp_path / "whole", SIZE)

    def interrupt(done, total):
        assert total == 10
        if done == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(cohort, tmp_path / "stopped", SIZE, progress=interrupt)
    with pytest.raises(InputError, match="not finished"):
        Store.open(tmp_path / "stopped")
    if of_older_version:
        fingerprint = Store.open(tmp_path / "whole").fingerprint
        (tmp_path / "stopped" / "started.json").write_text(json.dumps({"fingerprint": fingerprint}))

    decoded = []
    monkeypatch.setattr(shards, "read_squares", lambda path, sizes: decoded.append(path) or read_squares(path, sizes))
    calls = []
    prepare(cohort, tmp_path / "stopped", SIZE, progress=lambda done, total: calls.append(done))
    assert len(decoded) == 10 - stop + 1  # and the one that could not be read
    assert calls == [3, 6, 9, 10]
    assert _contents(tmp_path / "stopped") == _contents(tmp_path / "whole")


def test_a_finished_store_is_opened_not_made_again(folder, tmp_path):
    first = prepare(_cohort(folder), tmp_path / "store", SIZE)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.*")}
    again = prepare(_cohort(folder), tmp_path / "store", SIZE)
    assert again.fingerprint == first.fingerprint
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.*")} == before


@pytest.mark.parametrize("name", ["shards/00001-32.npy", "shards/00002-37.npy", "images.parquet", "problems.csv"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_what_is_damaged_in_a_finished_store_is_made_anew(folder, tmp_path, monkeypatch, name, damage):
    cohort = _cohort(folder, broken=(1,))
    store = prepare(cohort, tmp_path / "store", SIZE)
    before = _contents(tmp_path / "store")
    path = tmp_path / "store" / name
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    decoded = []
    monkeypatch.setattr(shards, "read_squares", lambda path, sizes: decoded.append(path) or read_squares(path, sizes))
    assert prepare(cohort, tmp_path / "store", SIZE).checksum == store.checksum
    assert _contents(tmp_path / "store") == before
    # Those of the shard, and the one that could not be read.
    assert len(decoded) == {"shards/00001-32.npy": 3, "shards/00002-37.npy": 3}.get(name, 0) + 1


def test_a_file_that_was_mended_is_taken_in_by_the_next_run(folder, tmp_path, monkeypatch):
    images = tmp_path / "images"
    shutil.copytree(folder, images)
    for name in ("4.png", "9.png"):
        whole = (images / name).read_bytes()
        (images / name).write_bytes(whole[: len(whole) // 2])
    prepare(_cohort(folder), tmp_path / "whole", SIZE)
    cut = prepare(_cohort(images), tmp_path / "store", SIZE)
    assert "4" not in cut.index
    shutil.copy2(folder / "4.png", images / "4.png")
    decoded = []
    monkeypatch.setattr(shards, "read_squares", lambda path, sizes: decoded.append(path) or read_squares(path, sizes))
    half = prepare(_cohort(images), tmp_path / "store", SIZE)
    assert half.index.keys() - cut.index.keys() == {"4"}
    assert sorted(path.stem for path in decoded) == ["3", "4", "5", "9"]  # the shard, and what was not readable
    shutil.copy2(folder / "9.png", images / "9.png")
    pixels = tmp_path / "store" / "shards" / "00000-32.npy"
    pixels.write_bytes(pixels.read_bytes()[:-1] + b"?")  # what is damaged is found in the same run
    prepare(_cohort(images), tmp_path / "store", SIZE)
    assert _contents(tmp_path / "store") == _contents(tmp_path / "whole")


@pytest.mark.parametrize("stop", [None, 6])
def test_a_file_that_was_exchanged_is_read_again(folder, tmp_path, monkeypatch, stop):
    """After the end, or while the run was stopped."""
    images = tmp_path / "images"
    shutil.copytree(folder, images)

    def interrupt(done, total):
        if done == stop:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        prepare(_cohort(images), tmp_path / "store", SIZE, progress=interrupt)
    shutil.copy(folder / "4.png", images / "0.png")
    decoded = []
    monkeypatch.setattr(shards, "read_squares", lambda path, sizes: decoded.append(path) or read_squares(path, sizes))
    again = prepare(_cohort(images), tmp_path / "store", SIZE)
    unread = ["6", "7", "8", "9"] if stop else []
    assert [path.stem for path in decoded] == ["0", "1", "2", *unread]
    assert again.checksum == prepare(_cohort(images), tmp_path / "new", SIZE).checksum
    assert (again.pixels(0) == again.pixels(4)).all()


def test_the_checksum_tells_stores_apart(folder, tmp_path):
    checksums = {
        prepare(_cohort(folder, broken), tmp_path / str(number), SIZE).checksum
        for number, broken in enumerate([(), (3,), (4,)])
    }
    assert len(checksums) == 3


def test_two_runs_at_once_do_not_mix(folder, tmp_path):
    cohort = _cohort(folder)

    def another(done, total):
        with pytest.raises(InputError, match="another run is writing there"):
            prepare(cohort, tmp_path / "store", SIZE)

    prepare(cohort, tmp_path / "store", SIZE, progress=another)


def test_half_a_character_costs_a_question_mark(folder, tmp_path):
    cohort = _cohort(folder)
    cohort = replace(cohort, studies=(replace(cohort.studies[0], report="a\ud800b"), *cohort.studies[1:]))
    assert prepare(cohort, tmp_path / "store", SIZE).images[0].report == "a?b"


def test_another_cohort_or_size_is_refused_and_nothing_touched(folder, tmp_path):
    cohort = _cohort(folder)
    prepare(cohort, tmp_path / "store", SIZE)
    before = _files(tmp_path / "store")
    for other, size in [(cohort, SIZE * 2), (Cohort(cohort.studies[1:], ()), SIZE), (Cohort(cohort.studies, ()), SIZE)]:
        with pytest.raises(InputError, match=r"other settings \(cohort or size\)"):
            prepare(other, tmp_path / "store", size)
    assert _files(tmp_path / "store") == before


def test_a_folder_with_other_things_is_refused(folder, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds files that are no run of this program"):
        prepare(_cohort(folder), tmp_path, SIZE)
    with pytest.raises(InputError, match="cannot be made"):
        prepare(_cohort(folder), tmp_path / "thesis.txt", SIZE)
    assert _files(tmp_path) == {Path("thesis.txt"): b"mine"}


def test_unreadable_images_are_left_out_with_their_questions(folder, tmp_path):
    made = prepare(_cohort(folder, broken=(0, 4, 5)), tmp_path / "store", SIZE)
    assert [image.image_id for image in made.images] == ["1", "2", "3", "6", "7", "8", "9"]
    for position, image in enumerate(made.images):
        square, _ = letterbox(read_image(folder / f"{image.image_id}.png"), SIZE)
        np.testing.assert_array_equal(made.pixels(position), square)
    assert [question.question_id for question in made.questions] == ["q3", "q7", "q9"]
    with open(tmp_path / "store" / "problems.csv", newline="") as file:
        kinds = [row["kind"] for row in csv.DictReader(file)]
    assert kinds == ["image_unreadable"] * 3 + ["question_without_image"] * 2
    assert made.problems == {"image_unreadable": 3, "question_without_image": 2}


@pytest.mark.parametrize("directions", [["R", "F"], ["L", "H"], ["F", "L"]])
def test_dicom_pictures_that_are_stored_turned_or_mirrored_are_left_out(write_dicom, tmp_path, directions):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40), np.uint8)
    write_dicom(tmp_path / "upright.dcm", pixels)
    write_dicom(tmp_path / "unsaid.dcm", pixels, PatientOrientation=None)
    write_dicom(tmp_path / "turned.dcm", pixels, PatientOrientation=directions)
    (tmp_path / "images.csv").write_text(
        "patient,order,image\n" + "".join(f"{name},1,{name}.dcm\n" for name in ("upright", "unsaid", "turned"))
    )
    cohort = read_sources([f"table:{tmp_path}"])
    made = prepare(cohort, tmp_path / "store", SIZE)
    assert made.index.keys() == {"upright.dcm", "unsaid.dcm"}
    with open(tmp_path / "store" / "problems.csv", newline="") as file:
        rows = [(row["kind"], row["file"], row["reason"]) for row in csv.DictReader(file)]
    reason = "stored turned or mirrored (PatientOrientation or EXIF): save it upright"
    assert rows == [("image_unreadable", "turned.dcm", reason)]
    for deep in (False, True):
        assert [one.reason for one in check_files(cohort, deep).problems] == [reason]
    write_dicom(tmp_path / "turned.dcm", pixels)
    assert "turned.dcm" in prepare(cohort, tmp_path / "store", SIZE).index


UNSUITABLE = {
    "tomography": ({"Modality": "CT"}, "not a plain radiograph"),
    "hand": ({"BodyPartExamined": "HAND"}, "another part"),
    "ribs": ({"BodyPartExamined": "RIBS"}, "another part"),
    "lateral": ({"ViewPosition": "LLAT"}, "lateral"),
    "lateral by its rows": ({"ViewPosition": "", "PatientOrientation": ["A", "F"]}, "lateral"),
    "decubitus": ({"ViewPosition": "LLD"}, "lying"),
    "oblique": ({"ViewPosition": "RAO"}, "oblique"),
}


@pytest.mark.parametrize("kind", UNSUITABLE)
def test_dicom_pictures_unlike_frontal_chest_radiographs_are_left_out_and_listed(write_dicom, tmp_path, kind):
    elements, reason = UNSUITABLE[kind]
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40), np.uint8)
    write_dicom(tmp_path / "chest.dcm", pixels)
    write_dicom(tmp_path / "other.dcm", pixels, **elements)
    (tmp_path / "images.csv").write_text("patient,order,image\nA,1,chest.dcm\nA,2,other.dcm\n")
    cohort = read_sources([f"table:{tmp_path}"])
    made = prepare(cohort, tmp_path / "store", SIZE)
    assert made.index.keys() == {"chest.dcm"}
    assert made.problems == {"image_unsuitable": 1}
    with open(tmp_path / "store" / "problems.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["kind"], row["file"]) == ("image_unsuitable", "other.dcm")
    assert reason in row["reason"]
    for deep in (False, True):
        assert [(one.kind, one.reason) for one in check_files(cohort, deep).problems] == [(row["kind"], row["reason"])]
    with pytest.raises(InputError, match="image_unsuitable 1"):
        prepare(cohort, tmp_path / "strict", SIZE, strict=True)


NOTED = {
    "image_derived": {"ImageType": ["DERIVED", "PRIMARY"]},
    "image_for_processing": {"PresentationIntentType": "FOR PROCESSING"},
}


@pytest.mark.parametrize("kind", NOTED)
def test_pictures_that_are_derived_or_for_processing_are_kept_and_listed(write_dicom, tmp_path, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40), np.uint8)
    for number in range(5):
        write_dicom(tmp_path / f"{number}.dcm", pixels, **(NOTED[kind] if number in (1, 4) else {}))
    (tmp_path / "images.csv").write_text("patient,order,image\n" + "".join(f"A,{n},{n}.dcm\n" for n in range(5)))
    cohort = read_sources([f"table:{tmp_path}"])
    for deep in (False, True):
        checked = check_files(cohort, deep)
        assert [(one.kind, one.source.file) for one in checked.problems] == [(kind, "1.dcm"), (kind, "4.dcm")]
        assert checked.studies == cohort.studies
    made = prepare(cohort, tmp_path / "store", SIZE, strict=True)
    listed = (tmp_path / "store" / "problems.csv").read_text()
    assert (len(made.images), made.problems) == (5, {kind: 2})
    # Shards that an earlier run has finished say it, too.
    (tmp_path / "store" / "store.json").unlink()
    assert prepare(cohort, tmp_path / "store", SIZE).problems == {kind: 2}
    assert (tmp_path / "store" / "problems.csv").read_text() == listed


def test_a_picture_of_one_grey_is_left_out(write_dicom, tmp_path):
    write_dicom(tmp_path / "chest.dcm", np.random.default_rng(0).integers(0, 256, (60, 40), np.uint8))
    blank = np.full((60, 40), 7, np.uint8)
    write_dicom(tmp_path / "blank.dcm", blank)
    for name in ("blank.png", "blank.jpg"):
        PillowImage.fromarray(blank).save(tmp_path / name)
    rows = "A,1,chest.dcm\nA,2,blank.dcm\nA,3,blank.png\nA,4,blank.jpg\n"
    (tmp_path / "images.csv").write_text(f"patient,order,image\n{rows}")
    made = prepare(read_sources([f"table:{tmp_path}"]), tmp_path / "store", SIZE)
    assert made.index.keys() == {"chest.dcm"}
    assert made.problems == {"image_unreadable": 3}


def test_pictures_that_exif_turns_are_left_out(folder, tmp_path):
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    with PillowImage.open(folder / "0.png") as picture:
        picture.save(tmp_path / "upright.jpg")
        picture.save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "images.csv").write_text("patient,order,image\nA,1,upright.jpg\nA,2,turned.jpg\n")
    cohort = read_sources([f"table:{tmp_path}"])
    assert prepare(cohort, tmp_path / "store", SIZE).index.keys() == {"upright.jpg"}
    for deep in (False, True):
        assert ["EXIF" in one.reason for one in check_files(cohort, deep).problems] == [True]


def test_the_reader_s_problems_are_listed_too(mimic, tmp_path, makers):
    prepare(read_sources([f"mimic:{mimic[0]}"]), tmp_path / "store", SIZE)
    with open(tmp_path / "store" / "problems.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == sum(makers["mimic_problems"].values())


def test_nothing_readable_leaves_nothing_behind(folder, tmp_path):
    with pytest.raises(InputError, match="not one of the 10 images"):
        prepare(_cohort(folder, broken=range(10)), tmp_path / "store", SIZE)
    with pytest.raises(InputError, match="no image"):
        prepare(Cohort(()), tmp_path / "store", SIZE)
    for size, workers in [(8, 1), (SIZE, 0)]:
        with pytest.raises(InputError, match="expected at least"):
            prepare(_cohort(folder), tmp_path / "store", size, workers)
    assert not (tmp_path / "store").exists()


def test_boxes_follow_a_file_of_another_size_than_its_dataset_says(makers, tmp_path):
    makers["image"](tmp_path / "small.png", 0, 50, 30)
    region = Region(Box(10, 10, 90, 50), "left lung")
    for width, height, expected in [(100, 60, [Box(5, 5, 45, 25)]), (100, 100, [])]:
        image = Image("small", tmp_path / "small.png", width, height, "PA", (region,))
        cohort = Cohort((Study("s", "p", 0.0, "train", (image,)),))
        for deep in (False, True):
            assert [one.kind for one in check_files(cohort, deep).problems] == ["size_differs"]
        made = prepare(cohort, tmp_path / f"store-{height}", SIZE)
        assert (made.images[0].width, made.images[0].height) == (50, 30)
        assert [region.box for region in made.images[0].regions] == expected
        assert "size_differs" in (tmp_path / f"store-{height}" / "problems.csv").read_text()


def test_an_open_store_goes_to_another_process(folder, tmp_path):
    made = prepare(_cohort(folder), tmp_path / "store", SIZE)
    pixels = made.pixels(4)
    other = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(other.pixels(4), pixels)
    pixels[:] = 0  # a copy: what is done to it stays there
    np.testing.assert_array_equal(other.pixels(4), made.pixels(4))
    assert made.pixels(4).any()


def test_what_is_no_store_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="holds no store"):
        Store.open(tmp_path)
    prepare(_cohort(folder), tmp_path / "store", SIZE)
    about = tmp_path / "store" / "store.json"
    content = about.read_text()
    other = {**json.loads(content), "schema": 0}
    del other["sha256"]
    for damaged, words in [
        (json.dumps(other), "another version"),
        (content.replace('"schema": 3', '"schema": 2'), "store.json is damaged"),
        (content[:20], "damaged"),
        ("[]", "damaged"),
        ("{}", "damaged"),
    ]:
        about.write_text(damaged)
        with pytest.raises(InputError, match=words):
            Store.open(tmp_path / "store")
    about.write_text(content)
    shard = tmp_path / "store" / "shards" / "00001-32.npy"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError, match="disagree"):
        Store.open(tmp_path / "store")


def _flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["store.json", "images.parquet", "questions.parquet"])
def test_no_bit_of_an_index_can_turn_unseen(folder, tmp_path, name):
    store = prepare(_cohort(folder), tmp_path / "store", SIZE)
    path = tmp_path / "store" / name
    content = path.read_bytes()
    refused = 0
    for bit in np.random.default_rng(0).integers(8 * len(content), size=60):
        _flip(path, int(bit))
        try:
            found = Store.open(tmp_path / "store")
        except InputError as error:
            refused += name in str(error) or "made by another version" in str(error)
        else:
            assert (found.images, found.questions, found.checksum) == (store.images, store.questions, store.checksum)
            refused += 1  # white space in store.json
        path.write_bytes(content)
    assert refused == 60
    _flip(path, 4000)
    prepare(_cohort(folder), tmp_path / "store", SIZE)
    assert path.read_bytes() == content


@pytest.mark.parametrize("size", [SIZE, 37])
def test_a_turned_bit_of_a_square_is_found_where_it_is_read(folder, tmp_path, size):
    prepare(_cohort(folder), tmp_path / "store", SIZE)
    name = f"shards/00001-{size}.npy"
    path = tmp_path / "store" / name
    _flip(path, 8 * (path.stat().st_size - size * size - 1))  # the last pixel of the second of three
    store = Store.open(tmp_path / "store", "mine")
    read = {SIZE: store.pixels, 37: store.larger_pixels}[size]
    assert read(3).any()
    assert read(5).any()
    for one in (store, pickle.loads(pickle.dumps(store))):
        with pytest.raises(InputError, match=f"^mine: {name} in it is not what was written; give `prepare` again"):
            {SIZE: one.pixels, 37: one.larger_pixels}[size](4)
    with pytest.raises(InputError, match=name):
        store.check()
    prepare(_cohort(folder), tmp_path / "store", SIZE).check()


def test_a_shard_that_is_lost_while_it_is_read_is_named(folder, tmp_path):
    store = prepare(_cohort(folder), tmp_path / "store", SIZE)
    shutil.rmtree(tmp_path / "store" / "shards")
    with pytest.raises(InputError, match=r"store: shards/00000-32.npy cannot be read \(No such file"):
        store.pixels(0)


def test_a_full_memory_is_not_taken_for_a_damaged_store(folder, tmp_path, monkeypatch):
    def full(*_):
        raise pyarrow.lib.ArrowMemoryError("malloc of size 64 failed")

    prepare(_cohort(folder), tmp_path / "store", SIZE)
    monkeypatch.setattr(store_module.index, "read_images", full)
    with pytest.raises(MemoryError):
        Store.open(tmp_path / "store")


def test_processes_that_a_store_is_sent_to_do_not_check_its_index_again(folder, tmp_path, monkeypatch):
    sent = pickle.dumps(prepare(_cohort(folder), tmp_path / "store", SIZE))
    again = pickle.dumps(prepare(_cohort(folder, broken=(4,)), tmp_path / "other", SIZE))
    monkeypatch.setattr(store_module, "digest_of", None)
    assert pickle.loads(sent).pixels(4).any()
    # Another store in its place is not taken for it.
    shutil.rmtree(tmp_path / "other")
    (tmp_path / "store").rename(tmp_path / "other")
    with pytest.raises(InputError, match="made anew while it was read"):
        pickle.loads(again)


def test_a_store_of_a_version_without_sums_is_read(folder, tmp_path):
    made = prepare(_cohort(folder), tmp_path / "store", SIZE)
    about = read_sealed(tmp_path / "store" / "store.json")
    images = tmp_path / "store" / "images.parquet"
    table = pyarrow.parquet.read_table(images)
    pyarrow.parquet.write_table(table.drop_columns(["pixels_sum", "larger_pixels_sum"]), images)
    about["checksums"]["images.parquet"] = digest_of(images)
    (tmp_path / "store" / "store.json").write_text(json.dumps(about))
    for path in (tmp_path / "store" / "shards").glob("*.json"):
        record = read_sealed(path)
        del record["sums"]
        path.write_text(json.dumps(record))
    found = Store.open(tmp_path / "store")
    assert found.images == made.images
    np.testing.assert_array_equal(found.pixels(4), made.pixels(4))
    # What is made anew of it has sums again.
    images.write_bytes(b"")
    prepare(_cohort(folder), tmp_path / "store", SIZE)
    assert pyarrow.parquet.read_table(images).equals(table)


@pytest.mark.parametrize("name", ["00000.json", "00001-32.npy", "00002-37.npy"])
@pytest.mark.parametrize("damage", ["cut", "empty", "flip"])
def test_what_is_damaged_in_an_unfinished_store_is_made_anew(folder, tmp_path, name, damage):
    cohort = _cohort(folder, broken=(1,))
    prepare(cohort, tmp_path / "whole", SIZE)
    prepare(cohort, tmp_path / "store", SIZE)
    (tmp_path / "store" / "store.json").unlink()
    path = tmp_path / "store" / "shards" / name
    content = path.read_bytes()
    if damage == "flip":
        _flip(path, 8 * content.index(b"40") + 8 if name.endswith("json") else 8 * len(content) - 1)
    else:
        path.write_bytes(content[:-9] if damage == "cut" else b"{}")
    prepare(cohort, tmp_path / "store", SIZE)
    assert _contents(tmp_path / "store") == _contents(tmp_path / "whole")


def test_a_full_disk_is_said_and_what_was_finished_is_kept(folder, tmp_path, monkeypatch):
    def full(descriptor, start, length):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    cohort = _cohort(folder)
    prepare(cohort, tmp_path / "whole", SIZE)
    with pytest.raises(KeyboardInterrupt):
        prepare(cohort, tmp_path / "store", SIZE, progress=_raise_interrupt)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        # Errors of libraries have no number; by this one the command knows what to say.
        with pytest.raises((OSError, RunFailed)) as error:
            prepare(cohort, tmp_path / "store", SIZE)
    assert "disk is full" in str(error.value) or error.value.errno == errno.ENOSPC
    assert read_sealed(tmp_path / "store" / "shards" / "00000.json")
    prepare(cohort, tmp_path / "store", SIZE)
    assert _contents(tmp_path / "store") == _contents(tmp_path / "whole")


def _raise_interrupt(done, total):
    raise KeyboardInterrupt


def test_strict_refuses_what_only_decoding_finds(folder, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(folder, images)
    whole = (images / "3.png").read_bytes()
    (images / "3.png").write_bytes(whole[:60] + bytes(40) + whole[100:])
    with pytest.raises(InputError, match="strict: the sources have faults: image_unreadable 1, question_without"):
        prepare(_cohort(images), tmp_path / "store", SIZE, strict=True)
    with pytest.raises(InputError, match="was not finished"):
        Store.open(tmp_path / "store")
    assert prepare(_cohort(images), tmp_path / "store", SIZE).problems["image_unreadable"] == 1


@pytest.mark.parametrize("content", [None, b"{"])
def test_a_finished_store_that_lost_its_first_file_is_still_known(folder, tmp_path, content):
    made = prepare(_cohort(folder), tmp_path / "store", SIZE)
    first = tmp_path / "store" / "started.json"
    first.unlink() if content is None else first.write_bytes(content)
    assert prepare(_cohort(folder), tmp_path / "store", SIZE).checksum == made.checksum
    assert json.loads(first.read_text())["fingerprint"] == made.fingerprint
    first.unlink()
    with pytest.raises(InputError, match=r"other settings \(cohort or size\)"):
        prepare(_cohort(folder), tmp_path / "store", SIZE + 2)


def test_files_of_one_name_are_told_apart(tmp_path, makers):
    for name in ("a", "b"):
        makers["image"](tmp_path / name / "1.png", 0, 40, 60)
        whole = (tmp_path / name / "1.png").read_bytes()
        (tmp_path / name / "1.png").write_bytes(whole[:60] + bytes(40) + whole[100:])
    makers["image"](tmp_path / "c.png", 0, 40, 60)
    (tmp_path / "images.csv").write_text("patient,order,image\nA,1,a/1.png\nB,1,b/1.png\nC,1,c.png\n")
    cohort = read_sources([f"table:{tmp_path}"])
    listed = [one.source.file for one in check_files(cohort, deep=True).problems]
    assert listed == ["a/1.png", "b/1.png"]
    prepare(cohort, tmp_path / "store", SIZE)
    with open(tmp_path / "store" / "problems.csv", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == listed


@pytest.mark.parametrize(
    ("datasets", "intensity"),
    [
        (("mimic-cxr-jpg 2.1.0", "medical-diff-vqa"), "equalised"),
        (("mimic-cxr-jpg 2.1.0 (synthetic)", "mimic-cxr 2.1.0", "chest-imagenome 1.0.0", "ms-cxr"), "equalised"),
        (("ms-cxr",), "equalised"),
        (("nih14",), "as stored"),
        (("nih14", "vindr", "table"), "as stored"),
        (("mimic-cxr-jpg-like",), "as stored"),
        ((), "as stored"),
    ],
)
def test_grey_values_are_read_as_the_datasets_hold_them(folder, tmp_path, datasets, intensity):
    prepare(replace(_cohort(folder), datasets=datasets), tmp_path / "store", SIZE)
    assert Store.open(tmp_path / "store").intensity == intensity


@pytest.mark.parametrize("datasets", [("nih14", "mimic-cxr-jpg 2.1.0", "mimic-cxr 2.1.0"), ("ms-cxr", "nih14")])
def test_grey_values_of_two_kinds_are_not_mixed(folder, tmp_path, datasets):
    with pytest.raises(InputError, match=r"are equalised, those of nih14 are not, .* prepare them separately"):
        prepare(replace(_cohort(folder), datasets=datasets), tmp_path / "store", SIZE)
    assert not (tmp_path / "store").exists()
