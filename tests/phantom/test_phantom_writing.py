"""The cohort on disk: layouts, determinism, agreement of the tables with the truth."""

import csv
import errno
import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffvqa.data import read_sources
from diffvqa.errors import InputError, RunFailed
from diffvqa.findings import DIFFERENCE_QUESTION, Change, read_changes
from diffvqa.phantom.cohort_tables import SYNTHETIC
from diffvqa.phantom.reports import Reporting
from diffvqa.phantom.writing import write_cohort

PATIENTS, SEED, SIZE = 10, 4, 64


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    write_cohort(folder, PATIENTS, SEED, SIZE, workers=1)
    return folder


def bytes_of(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(path):
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    return list(csv.reader(io.StringIO(text, newline="")))


def table(path):
    header, *rows = rows_of(path)
    return [dict(zip(header, row, strict=True)) for row in rows]


def truth(cohort, name):
    return [json.loads(line) for line in (cohort / "truth" / name).read_text().splitlines()]


def jpg_table(cohort, name):
    return cohort / f"mimic-cxr-jpg/2.1.0/mimic-cxr-2.0.0-{name}.csv.gz"


def questions(cohort):
    return table(cohort / "medical-diff-vqa/1.0.1/mimic_pair_questions.csv")


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(cohort, tmp_path):
    write_cohort(tmp_path / "again", PATIENTS, SEED, SIZE, workers=2)
    assert bytes_of(tmp_path / "again") == bytes_of(cohort)


def test_another_seed_gives_other_images_and_other_patients(cohort, tmp_path):
    write_cohort(tmp_path / "other", 2, SEED + 1, SIZE, workers=1)
    first, other = bytes_of(cohort), bytes_of(tmp_path / "other")
    shared = set(first) & set(other)
    assert not any(
        name.endswith((".jpg", ".txt")) and Path(name).name not in ("README.txt", SYNTHETIC) for name in shared
    )
    assert not {first[name] for name in first if name.endswith(".jpg")} & set(other.values())


def test_a_patient_does_not_depend_on_how_many_there_are(cohort, tmp_path):
    write_cohort(tmp_path / "few", 3, SEED, SIZE, workers=1)
    few = {name: one for name, one in bytes_of(tmp_path / "few").items() if name.endswith((".jpg", ".txt"))}
    few.pop("README.txt")
    assert len(few) > 6
    assert few.items() <= bytes_of(cohort).items()


def test_columns_are_those_of_the_datasets(cohort):
    labels = (
        "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,"
        "No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
    )
    expected = {
        jpg_table(cohort, "metadata"): (
            "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,"
            "StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
            "PatientOrientationCodeSequence_CodeMeaning"
        ),
        jpg_table(cohort, "split"): "dicom_id,study_id,subject_id,split",
        jpg_table(cohort, "chexpert"): f"subject_id,study_id,{labels}",
        **{
            cohort / f"chest-imagenome/1.0.0/silver_dataset/splits/{part}.csv": (
                ",subject_id,study_id,dicom_id,path,ViewPosition"
            )
            for part in ("train", "valid", "test")
        },
        cohort / "chest-imagenome/1.0.0/silver_dataset/splits/images_to_avoid.csv": (
            "subject_id,study_id,dicom_id,path,ViewPosition"
        ),
        cohort / "medical-diff-vqa/1.0.1/mimic_pair_questions.csv": (
            "study_id,subject_id,ref_id,question_type,question,answer,split"
        ),
        cohort / "medical-diff-vqa/1.0.1/mimic_all.csv": (
            f"subject_id,study_id,{labels},dicom_id,view,split,study_date,study_order"
        ),
    }
    assert {path: ",".join(rows_of(path)[0]) for path in expected} == expected


def test_images_lie_where_the_metadata_says_and_are_as_large(cohort):
    for row in table(jpg_table(cohort, "metadata")):
        subject, study = row["subject_id"], row["study_id"]
        folder = f"files/p{subject[:2]}/p{subject}"
        with Image.open(cohort / f"mimic-cxr-jpg/2.1.0/{folder}/s{study}/{row['dicom_id']}.jpg") as image:
            assert image.mode == "L"
            assert image.size == (int(row["Columns"]), int(row["Rows"]))
            assert max(image.size) == SIZE
        report = (cohort / f"mimic-cxr/2.1.0/{folder}/s{study}.txt").read_text()
        assert "FINDINGS:" in report
        assert "IMPRESSION:" in report


def test_images_are_equalised_like_mimic_cxr_jpg(cohort):
    medians = []
    for path in cohort.rglob("*.jpg"):
        with Image.open(path) as image:
            medians.append(np.median(np.asarray(image)))
    assert 90 < np.mean(medians) < 165


def test_splits_agree_by_patient_in_all_tables_and_none_is_empty(cohort):
    splits = defaultdict(set)
    for row in table(jpg_table(cohort, "split")):
        splits[row["subject_id"]].add(row["split"])
    for row in questions(cohort):
        splits[row["subject_id"]].add({"val": "validate"}.get(row["split"], row["split"]))
    for name, split in (("train", "train"), ("valid", "validate"), ("test", "test")):
        rows = table(cohort / f"chest-imagenome/1.0.0/silver_dataset/splits/{name}.csv")
        assert [row[""] for row in rows] == [str(number) for number in range(len(rows))]
        for row in rows:
            splits[row["subject_id"]].add(split)
            assert row["path"].endswith(f"/{row['dicom_id']}.dcm")
    assert len(splits) == PATIENTS
    assert all(len(found) == 1 for found in splits.values())
    counts = defaultdict(int)
    for (split,) in splits.values():
        counts[split] += 1
    assert counts == {"train": 7, "validate": 1, "test": 2}


def test_difference_answers_read_back_as_the_true_changes(cohort):
    pairs = {(one["prior_study"], one["current_study"]): one for one in truth(cohort, "pairs.jsonl")}
    asked = [row for row in questions(cohort) if row["question"] == DIFFERENCE_QUESTION]
    assert {(row["ref_id"], row["study_id"]) for row in asked} == set(pairs)
    for row in asked:
        pair = pairs[row["ref_id"], row["study_id"]]
        changes = frozenset(Change(one["finding"], one["kind"], one["before"], one["after"]) for one in pair["changes"])
        assert read_changes(row["answer"]) == (changes,)
        assert pair["acquisition_only"] == (not changes)


def test_difference_questions_ask_for_an_earlier_study_of_the_same_patient(cohort):
    times = {
        row["study_id"]: (row["subject_id"], row["StudyDate"], float(row["StudyTime"]))
        for row in table(jpg_table(cohort, "metadata"))
    }
    differences = [row for row in questions(cohort) if row["question_type"] == "difference"]
    assert differences
    for row in differences:
        assert times[row["ref_id"]] < times[row["study_id"]]
        assert times[row["ref_id"]][0] == times[row["study_id"]][0]


def test_unchanged_pairs_have_the_same_disease_and_another_acquisition(cohort):
    images = {one["dicom_id"]: one for one in truth(cohort, "images.jsonl")}
    unchanged = [one for one in truth(cohort, "pairs.jsonl") if one["acquisition_only"]]
    assert unchanged
    for pair in unchanged:
        prior, current = images[pair["prior"]], images[pair["current"]]
        known = ("finding", "level", "severity", "sides", "zone", "shape", "seed")
        assert [[one[key] for key in known] for one in prior["findings"]] == [
            [one[key] for key in known] for one in current["findings"]
        ]
        assert prior["body"] == current["body"]
        assert prior["acquisition"] != current["acquisition"]


def test_scene_graphs_say_what_the_report_says_in_boxes_inside_the_image(cohort):
    sizes = {row["dicom_id"]: row for row in table(jpg_table(cohort, "metadata"))}
    archive = zipfile.ZipFile(cohort / "chest-imagenome/1.0.0/silver_dataset/scene_graph.zip")
    assert len(archive.namelist()) == len(sizes)
    for member in archive.namelist():
        graph = json.loads(archive.read(member))
        image_id = graph["image_id"]
        assert member == f"scene_graph/{image_id}_SceneGraph.json"
        size = sizes[image_id]
        for item in graph["objects"]:
            assert 0 <= item["original_x1"] < item["original_x2"] <= int(size["Columns"])
            assert 0 <= item["original_y1"] < item["original_y2"] <= int(size["Rows"])
            assert -1 <= item["x1"] <= item["x2"] <= 225
        names = [item["bbox_name"] for item in graph["objects"]]
        assert len(names) == len(set(names)) >= 25
        subject, study = size["subject_id"], size["study_id"]
        report = (cohort / f"mimic-cxr/2.1.0/files/p{subject[:2]}/p{subject}/s{study}.txt").read_text()
        said = " ".join(report.lower().split())
        for item in graph["attributes"]:
            assert item[item["bbox_name"]] is True
            assert all(phrase in said for phrase in item["phrases"])
            aligned = ("attributes", "phrase_IDs", "sections", "comparison_cues", "severity_cues", "texture_cues")
            assert {len(item[key]) for key in aligned} == {len(item["phrases"])}
        for item in graph["relationships"]:
            prior = item["object_id"].removesuffix(f"_{item['bbox_name']}")
            assert prior in sizes
            assert item["subject_id"] == f"{image_id}_{item['bbox_name']}"


def test_a_folder_that_holds_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"^out: "):
        write_cohort(tmp_path, 1, 0, SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("patients", "seed", "size", "name"), [(0, 0, 64, "patients"), (1, -1, 64, "seed"), (1, 0, 8, "size")]
)
def test_a_number_that_makes_no_cohort_is_named(tmp_path, patients, seed, size, name):
    with pytest.raises(InputError, match=f"^{name}: "):
        write_cohort(tmp_path / "out", patients, seed, size)


def test_nothing_is_left_behind_by_a_run_that_stops(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cohort(tmp_path / "out", 3, 0, SIZE, workers=1, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled_and_progress_is_told(tmp_path):
    told = []
    (tmp_path / "out").mkdir()
    write_cohort(tmp_path / "out", 2, 0, SIZE, workers=1, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    assert "synthetic" in (tmp_path / "out/README.txt").read_text()


def test_the_current_folder_is_filled_and_stays_the_current_one(tmp_path, monkeypatch):
    write_cohort(tmp_path / "by name", 2, 0, SIZE, workers=1)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_cohort(Path("."), 2, 0, SIZE, workers=1)
    assert Path("README.txt").is_file()
    assert bytes_of(tmp_path / "here") == bytes_of(tmp_path / "by name")


def test_a_link_to_an_empty_folder_stays_a_link_and_the_folder_is_filled(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_cohort(tmp_path / "link", 2, 0, SIZE, workers=1)
    assert (tmp_path / "link").is_symlink()
    assert "synthetic" in (tmp_path / "real/README.txt").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_an_empty_folder_is_left_empty_by_a_run_that_stops(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cohort(tmp_path, 3, 0, SIZE, workers=1, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_readme_records_the_reports_rates(tmp_path):
    write_cohort(tmp_path / "out", 1, 0, SIZE, workers=1, reporting=Reporting(omitted=0.5))
    assert "omitted 0.5, denied 0.45" in (tmp_path / "out/README.txt").read_text()


def test_a_still_cohort_says_so_and_no_pair_of_it_has_changed(tmp_path):
    write_cohort(tmp_path / "out", 6, 0, SIZE, workers=1, still=1.0)
    assert "nothing changes from one study to the next: 1" in (tmp_path / "out/README.txt").read_text()
    pairs = [json.loads(line) for line in (tmp_path / "out/truth/pairs.jsonl").read_text().splitlines()]
    assert pairs
    assert not any(pair["changes"] for pair in pairs)
    with pytest.raises(InputError, match="still: expected a chance"):
        write_cohort(tmp_path / "other", 6, 0, SIZE, workers=1, still=1.5)


def test_the_readers_never_open_the_truth(cohort, tmp_path):
    blind = tmp_path / "cohort"
    shutil.copytree(cohort, blind, ignore=shutil.ignore_patterns("truth"))
    seeing, unseeing = read_sources([f"mimic:{cohort}"]), read_sources([f"mimic:{blind}"])
    assert seeing.questions == unseeing.questions
    assert [study.findings for study in seeing.studies] == [study.findings for study in unseeing.studies]


def test_the_label_of_devices_says_what_the_report_says(tmp_path):
    write_cohort(tmp_path / "out", 12, 5, SIZE, workers=1, reporting=Reporting(omitted=0.0))
    devices = defaultdict(set)
    for image in truth(tmp_path / "out", "images.jsonl"):
        devices[image["study_id"]] |= {one["name"] for one in image["devices"]} - {"ECG leads"}
    labels = {row["study_id"]: row["Support Devices"] for row in table(jpg_table(tmp_path / "out", "chexpert"))}
    assert {study: "1.0" if there else "" for study, there in devices.items()} == labels
    assert len(set(labels.values())) == 2


SYNTH = """
import sys
from diffvqa.phantom.writing import write_cohort
if __name__ == "__main__":
    write_cohort(sys.argv[1], 500, 1, 256, workers=2)
"""


@pytest.fixture
def synth(tmp_path):
    """Start a run of two workers in a process of its own, and give it once some patients are written."""
    (tmp_path / "synth.py").write_text(SYNTH)
    begun = []

    def start(out):
        process = subprocess.Popen(
            [sys.executable, tmp_path / "synth.py", out], stderr=subprocess.PIPE, start_new_session=True
        )
        begun.append(process)
        _until(lambda: [*out.parent.glob(f".{out.name}.*/mimic-cxr/**/*.txt")])
        return process

    yield start
    for process in begun:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


def _until(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that in a minute")


def _working_for(process):
    """The processes of the same session that have not ended, but for itself."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, (state, _, _, session, *_) = int(path.parent.name), path.read_text().rpartition(")")[2].split()[:5]
            if int(session) == process.pid != pid and state != "Z":
                found.append(pid)
    return found


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_no_process_and_its_folder_goes_with_the_next_run(synth, tmp_path):
    out = tmp_path / "made" / "cohort"
    mine = tmp_path / "made" / ".cohort.mine"
    mine.mkdir(parents=True)
    process = synth(out)
    process.kill()
    process.wait()
    _until(lambda: not _working_for(process))
    assert len(list(out.parent.iterdir())) == 2
    write_cohort(out, 2, 0, SIZE, workers=1)
    assert sorted(path.name for path in out.parent.iterdir()) == [".cohort.mine", "cohort"]


@pytest.mark.slow
def test_the_folder_of_a_run_that_lasts_is_left_alone(synth, tmp_path):
    out = tmp_path / "made" / "cohort"
    out.parent.mkdir()
    process = synth(out)
    write_cohort(out, 2, 0, SIZE, workers=1)
    (hidden,) = out.parent.glob(".cohort.*")
    assert [*hidden.glob("mimic-cxr/**/*.txt")]
    assert process.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_killed_ends_the_run_which_leaves_nothing(synth, tmp_path, number):
    out = tmp_path / "made" / "cohort"
    out.parent.mkdir()
    process = synth(out)
    # The workers, not the process that keeps track of semaphores.
    (worker, *_) = [pid for pid in _working_for(process) if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(worker, number)
    assert process.wait(60) == 1
    assert b"RunFailed: a worker process was ended" in process.stderr.read()
    assert not _working_for(process)
    assert list(out.parent.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunFailed, match="the disk is full, and nothing is kept"):
        write_cohort(tmp_path / "out", 2, 0, SIZE, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_run_has_filled_meanwhile_is_named(tmp_path):
    def fill(done, total):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "mine.txt").touch()

    with pytest.raises(InputError, match=r"^out: cannot be put there"):
        write_cohort(tmp_path / "out", 2, 0, SIZE, workers=1, progress=fill)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]
