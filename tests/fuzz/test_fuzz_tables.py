"""Tables, headers and sentences of any shape: an exit status of 0 or 2, no traceback, and no cell in a message."""

import json
import random
import re
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset

from diffvqa.answering import comparable
from diffvqa.answering.case import read_question
from diffvqa.cells import said, why_nobody
from diffvqa.data.mimic.reports import findings_and_impression
from diffvqa.errors import InputError
from diffvqa.findings import read_changes, read_findings, turn_round
from diffvqa.images.header import header_of
from diffvqa.images.moments import moment_of
from diffvqa.images.views import view_of
from fuzz.mutations import CELLS, damage_sentence, damage_table

TABLES, HEADERS, SENTENCES = 500, 300, 200

IMAGES = [
    ["patient", "study", "datetime", "image", "view", "report", "split", "birth_date", "sex", "body_part"],
    [
        "Quaxel-71",
        "Zorvim1",
        "2187-01-31T09:30",
        "brimfo/tulk1.png",
        "PA",
        "Gwendle lungs.",
        "train",
        "2150-03-04",
        "F",
        "CHEST",
    ],
    [
        "Quaxel-71",
        "Zorvim2",
        "2187-02-03T07:15",
        "brimfo/tulk2.png",
        "AP",
        "Gwendle effusion.",
        "train",
        "2150-03-04",
        "F",
        "",
    ],
    ["Quaxel-72", "Zorvim3", "2187-05-01", "brimfo/tulk3.png", "AP", "", "test", "", "M", "CHEST"],
    ["Quaxel-72", "Zorvim4", "2187-05-02", "brimfo/tulk4.dcm", "", "", "test", "", "M", ""],
]
BOXES = [
    ["image", "phrase", "region", "x1", "y1", "x2", "y2"],
    ["brimfo/tulk2.png", "gwendle effusion", "snorbel lung", "40", "50", "60", "70"],
    ["brimfo/tulk1.png", "", "snorbel lung", "40", "10", "60", "70"],
]
QUESTIONS = [
    ["prior", "current", "question", "answer", "split", "type"],
    ["brimfo/tulk1.png", "brimfo/tulk2.png", "what has gwendled?", "nothing has gwendled.", "train", ""],
    ["", "brimfo/tulk2.png", "is there gwendle?", "snorbel", "train", ""],
]
PAIRS = [
    ["id", "current", "prior", "question"],
    ["Quaxel-71", "brimfo/tulk2.png", "brimfo/tulk1.png", "what has gwendled?"],
    ["Quaxel-72", "brimfo/tulk3.png", "", "is there gwendle?"],
]
NIH = [
    [
        "Image Index",
        "Finding Labels",
        "Follow-up #",
        "Patient ID",
        "Patient Age",
        "Patient Gender",
        "View Position",
        "",
    ],
    ["tulk1.png", "Gwendlitis|Effusion", "000", "Quaxel71", "081Y", "F", "PA"],
    ["tulk2.png", "Effusion", "001", "Quaxel71", "082Y", "F", "AP"],
    ["tulk3.png", "Gwendlitis", "002", "Quaxel71", "079Y", "F", "PA"],
]
NIH_BOXES = [
    ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]", "", "", ""],
    ["tulk1.png", "Gwendlitis", "10", "20", "30", "40", "", "", ""],
]
SECRET = re.compile("quaxel|zorvim|tulk|brimfo|gwendle|gwendli|snorbel|2187|2150", re.IGNORECASE)
"""What of a cell is a word of nobody else: the tables have it, and messages must not."""

SETS = {
    "table": {"images.csv": IMAGES, "boxes.csv": BOXES, "questions.csv": QUESTIONS},
    "nih14": {"Data_Entry_2017.csv": NIH, "BBox_List_2017.csv": NIH_BOXES},
    "predict": {"pairs.csv": PAIRS},
}


@pytest.fixture
def folder(write_dicom, tmp_path):
    """A folder with the pictures that the tables name."""
    pixels = np.random.default_rng(0).integers(0, 256, (90, 80), np.uint8)
    for place in ("brimfo", "images"):
        (tmp_path / place).mkdir()
        for number in range(1, 4):
            Image.fromarray(pixels).save(tmp_path / place / f"tulk{number}.png")
    write_dicom(tmp_path / "brimfo" / "tulk4.dcm", pixels)
    return tmp_path


def fair(status, printed):
    """Whether a command has said what came of its input, and nothing of it."""
    assert status in (0, 2), printed
    assert "Traceback" not in printed
    assert len(printed) < 5000
    assert not (found := SECRET.search(printed)), (found, printed)
    return status


@pytest.mark.slow
def test_tables(folder, run_command):
    counts = {(kind, status): 0 for kind in SETS for status in (0, 2)}
    for seed in range(TABLES):
        kind = random.Random(seed).choice(list(SETS))
        damaged = random.Random(seed + 1).choice(list(SETS[kind]))
        for name, rows in SETS[kind].items():
            sound = "\n".join(",".join(row) for row in rows) + "\n"
            (folder / name).write_bytes(damage_table(rows, seed) if name == damaged else sound.encode())
        if kind == "predict":
            # A folder without a model: it is looked at after the table.
            arguments = ("predict", folder / "images", folder / "pairs.csv", "--out", folder / "out.jsonl")
        else:
            arguments = ("inspect", f"{kind}:{folder}", "--problems", folder / "problems.csv")
        counts[kind, fair(*run_command(*arguments))] += 1
    # Else the damage was too small, or too great, to try anything.
    assert min(count for (kind, status), count in counts.items() if (kind, status) != ("predict", 0)) > 20, counts


ELEMENTS = {
    "PatientID": "LO", "IssuerOfPatientID": "LO", "PatientBirthDate": "DA", "PatientSex": "CS", "ViewPosition": "CS",
    "Modality": "CS", "BodyPartExamined": "CS", "PatientOrientation": "CS", "ImageType": "CS", "StudyDate": "DA",
    "StudyTime": "TM", "AcquisitionDate": "DA", "AcquisitionTime": "TM", "AcquisitionDateTime": "DT",
    "SeriesDate": "DA", "TimezoneOffsetFromUTC": "SH", "PresentationIntentType": "CS",
}  # fmt: skip


def header(generator):
    """A header in which some elements hold anything."""
    dataset = Dataset()
    for name, kind in ELEMENTS.items():
        if generator.random() < 0.7:
            value = generator.choice((*CELLS, "Quaxel-71", "21870131", "093000", "M", "PA", "CHEST", "DX", "+0100"))
            raw = generator.choice((value, f"{value}\\{generator.choice(CELLS)}")).encode(errors="replace")
            try:
                dataset.add_new(name, kind, raw.decode(generator.choice(("utf-8", "latin-1"))))
            except ValueError:  # pydicom takes no such value
                continue
    dataset.set_original_encoding(False, True, "iso8859")
    return dataset


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_headers():
    refused = 0
    for seed in range(HEADERS):
        generator = random.Random(seed)
        headers = {"current": header_of(header(generator)), "prior": header_of(header(generator))}
        messages = [*comparable.check_views(headers), *comparable.why_not(headers)]
        for check in (comparable.check_identity, comparable.check_order):
            try:
                messages += check(headers, trusted=seed % 2 == 0)
            except InputError as error:
                refused += 1
                messages.append(str(error))
        assert not any(SECRET.search(message) for message in (*messages, *map(repr, headers.values())))
    assert 20 < refused < HEADERS


SAID = (
    "the main image has an additional finding of pleural effusion than the reference image.",
    "the main image is missing the findings of edema, and atelectasis than the reference image.",
    "the level of cardiomegaly has changed from mild to severe.",
    "nothing has changed.",
    "FINAL REPORT\nFINDINGS: the lungs are clear.\nIMPRESSION: no edema.",
    "2187-01-31T09:30:15.5+01:00",
)


def test_sentences(run_command, tmp_path):
    rows = []
    for seed in range(SENTENCES):
        sentence = damage_sentence(SAID[seed % len(SAID)], seed)
        for reader in (read_changes, read_findings, turn_round, findings_and_impression, view_of, moment_of, said):
            reader(sentence)
        why_nobody(sentence)
        with suppress(InputError):
            read_question(sentence, alone=False)
        rows.append({"id": str(seed), "type": "difference", "prediction": sentence, "reference": SAID[0]})
    predictions = tmp_path / "predictions.jsonl"
    predictions.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    fair(*run_command("score", predictions, "--json"))
