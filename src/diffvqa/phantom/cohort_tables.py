"""The tables of the synthetic cohort: their columns, and all files that hold rows of many patients."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
"""The labels of MIMIC-CXR-JPG's table, in its order."""

JPG, REPORTS = Path("mimic-cxr-jpg/2.1.0"), Path("mimic-cxr/2.1.0")
IMAGENOME, QUESTIONS = Path("chest-imagenome/1.0.0/silver_dataset"), Path("medical-diff-vqa/1.0.1")
TRUTH = Path("truth")
"""Folders of the datasets in the cohort's folder, and of the truth."""

SYNTHETIC = "SYNTHETIC.txt"
"""A file in every dataset's folder that says that the dataset is synthetic."""

HEADERS = {
    "metadata": (
        "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns",
        "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning",
        "PatientOrientationCodeSequence_CodeMeaning",
    ),
    "split": ("dicom_id", "study_id", "subject_id", "split"),
    "chexpert": ("subject_id", "study_id", *LABELS),
    "imagenome": ("", "subject_id", "study_id", "dicom_id", "path", "ViewPosition"),
    "avoid": ("subject_id", "study_id", "dicom_id", "path", "ViewPosition"),
    "questions": ("study_id", "subject_id", "ref_id", "question_type", "question", "answer", "split"),
    "studies": ("subject_id", "study_id", *LABELS, "dicom_id", "view", "split", "study_date", "study_order"),
}  # fmt: skip
"""The columns of every table, as the datasets have them."""

_PARTS = {"train": "train", "validate": "valid", "test": "test"}
"""Our splits in the words of Chest ImaGenome."""


@dataclass(slots=True)
class PatientRows:
    """The rows of one patient in every table."""

    split: str
    metadata: list[tuple[Any, ...]] = field(default_factory=list)
    splits: list[tuple[Any, ...]] = field(default_factory=list)
    chexpert: list[tuple[Any, ...]] = field(default_factory=list)
    imagenome: list[tuple[Any, ...]] = field(default_factory=list)
    questions: list[tuple[Any, ...]] = field(default_factory=list)
    studies: list[tuple[Any, ...]] = field(default_factory=list)
    diseases: list[str] = field(default_factory=list)
    graphs: list[tuple[str, str]] = field(default_factory=list)
    true_images: list[str] = field(default_factory=list)
    true_pairs: list[str] = field(default_factory=list)


class Tables:
    """All files that hold rows of many patients, open while the cohort is written."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._open = ExitStack()

    def __enter__(self) -> Tables:
        release = "mimic-cxr-2.0.0"
        self._writers = {
            "metadata": self._table(JPG / f"{release}-metadata.csv.gz", "metadata"),
            "splits": self._table(JPG / f"{release}-split.csv.gz", "split"),
            "chexpert": self._table(JPG / f"{release}-chexpert.csv.gz", "chexpert"),
            "questions": self._table(QUESTIONS / "mimic_pair_questions.csv", "questions"),
            "studies": self._table(QUESTIONS / "mimic_all.csv", "studies"),
        }
        self._imagenome = {
            split: self._table(IMAGENOME / "splits" / f"{name}.csv", "imagenome") for split, name in _PARTS.items()
        }
        self._numbers = dict.fromkeys(_PARTS, 0)
        self._table(IMAGENOME / "splits" / "images_to_avoid.csv", "avoid")
        self._diseases = self._file(QUESTIONS / "all_diseases.json")
        self._diseases.write("[")
        self._separator = "\n"
        self._images = self._file(TRUTH / "images.jsonl")
        self._pairs = self._file(TRUTH / "pairs.jsonl")
        archive = zipfile.ZipFile(self._work / IMAGENOME / "scene_graph.zip", "w", zipfile.ZIP_DEFLATED)
        self._archive = self._open.enter_context(archive)
        return self

    def add(self, rows: PatientRows) -> None:
        for name, writer in self._writers.items():
            writer.writerows(getattr(rows, name))
        for row in rows.imagenome:
            self._imagenome[rows.split].writerow((self._numbers[rows.split], *row))
            self._numbers[rows.split] += 1
        for entry in rows.diseases:
            self._diseases.write(self._separator + entry)
            self._separator = ",\n"
        self._images.writelines(line + "\n" for line in rows.true_images)
        self._pairs.writelines(line + "\n" for line in rows.true_pairs)
        for dicom_id, text in rows.graphs:
            member = zipfile.ZipInfo(f"scene_graph/{dicom_id}_SceneGraph.json", (1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            self._archive.writestr(member, text, compresslevel=6)

    def __exit__(self, *error: object) -> None:
        self._diseases.write("\n]\n")
        self._open.close()

    def _file(self, path: Path) -> TextIO:
        full = self._work / path
        full.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".gz":
            return self._open.enter_context(open(full, "w", encoding="utf-8", newline=""))
        raw = self._open.enter_context(open(full, "wb"))  # noqa: SIM115 (closed with the others)
        # Neither a date nor a name in the header: the same rows are the same bytes.
        packed = self._open.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0))
        return self._open.enter_context(io.TextIOWrapper(packed, encoding="utf-8", newline=""))

    def _table(self, path: Path, header: str) -> Any:
        writer = csv.writer(self._file(path), lineterminator="\n")
        writer.writerow(HEADERS[header])
        return writer
