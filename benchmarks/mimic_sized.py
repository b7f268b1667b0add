"""A tree in PhysioNet's layout with as many patients, images, scene graphs, reports and questions as the real ones.

Nothing in it means anything: names, numbers and words are drawn. Used by index.py.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from diffvqa.findings import DIFFERENCE_QUESTION, LEVELS, Change, write_changes

PATIENTS, STUDIES, IMAGES, FRONTAL, GRAPHS = 65_379, 227_827, 377_110, 243_334, 243_310
QUESTIONS = {
    "abnormality": 145_421, "presence": 155_726, "view": 56_265, "location": 84_193, "level": 67_296, "type": 27_478,
    "difference": 164_324,
}  # fmt: skip
"""Rows of mimic_pair_questions.csv."""

WITHOUT_FRONTAL = 10_000  # studies; not published, an estimate
GOLD_PATIENTS = 500
LINKS = 30_000  # of one file; ext4 allows 65,000
TEMPLATES = 60  # of scene graphs

JPG, REPORTS = Path("mimic-cxr-jpg/2.1.0"), Path("mimic-cxr/2.1.0")
SILVER, QUESTION_FOLDER = Path("chest-imagenome/1.0.0/silver_dataset"), Path("medical-diff-vqa/1.0.1")

LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
FINDINGS = (
    "pleural effusion", "atelectasis", "cardiomegaly", "enlargement of the cardiac silhouette", "edema", "hernia",
    "vascular congestion", "hilar congestion", "pneumothorax", "heart failure", "lung opacity", "pneumonia",
    "tortuosity of the descending aorta", "scoliosis", "gastric distention", "hypoxemia", "hypertensive heart disease",
    "hematoma", "tortuosity of the thoracic aorta", "contusion", "emphysema", "granuloma", "calcification",
    "pleural thickening", "thymoma", "blunting of the costophrenic angle", "consolidation", "fracture",
    "pneumomediastinum", "air collection",
)  # fmt: skip
TYPES = ("interstitial", "layering", "compressive", "linear", "plate-like", "patchy", "calcified", "focal")
AREAS = ("left", "right", "bilateral", "left basal", "right upper", "left apical", "right middle", "retrocardiac")
FRONTAL_VIEWS, OTHER_VIEWS = ("AP", "PA"), ("LATERAL", "LL", "", "LAO")

SIDED = (
    "lung", "upper lung zone", "mid lung zone", "lower lung zone", "hilar structures", "apical zone",
    "costophrenic angle", "hemidiaphragm", "clavicle",
)  # fmt: skip
SPOKEN_OF = (
    *(f"{side} {name}" for name in SIDED for side in ("right", "left")),
    "trachea", "spine", "aortic arch", "mediastinum", "upper mediastinum", "svc", "cardiac silhouette",
    "cavoatrial junction", "right atrium", "carina", "abdomen",
)  # fmt: skip
BOXED_ONLY = (
    *(f"{side} {name}" for name in ("cardiophrenic angle", "cardiac silhouette", "upper abdomen")
      for side in ("right", "left")),
    "descending aorta",
)  # fmt: skip
WITHOUT_BOX = ("neck", "left chest wall", "right shoulder", "unknown")
ATTRIBUTES = (
    "anatomicalfinding|yes|lung opacity", "anatomicalfinding|no|pleural effusion", "anatomicalfinding|no|pneumothorax",
    "anatomicalfinding|yes|atelectasis", "anatomicalfinding|yes|enlarged cardiac silhouette", "disease|no|pneumonia",
    "anatomicalfinding|yes|pulmonary edema/hazy opacity", "nlp|yes|abnormal", "nlp|yes|normal",
    "tubesandlines|yes|endotracheal tube", "technicalassessment|yes|low lung volumes", "device|yes|sternotomy wires",
)  # fmt: skip
SENTENCES = (
    "There is no pleural effusion or pneumothorax.",
    "The cardiomediastinal silhouette is within normal limits.",
    "Heart size is mildly enlarged, unchanged from the prior study of ___.",
    "Patchy opacity in the lower lung, about {0} mm in width, may be atelectasis or early pneumonia.",
    "An opacity of {0} mm projects over the lung, unchanged since the study {1} days before.",
    "The tip of the tube lies {0} mm above the carina, and {1} mm higher than in the prior study.",
    "Small effusion with adjacent atelectasis, {0} mm in depth, has slightly increased over {1} hours.",
    "Low lung volumes accentuate the bronchovascular markings.",
)
"""Sentences of the reports; their figures differ between images, as most real sentences occur once."""


@dataclass
class Release:
    """Who was examined when: arrays with one entry a study, then one entry an image, in the order of the tables."""

    subjects: np.ndarray  # of studies: the patient's number
    studies: np.ndarray  # of studies: the study's number
    dates: np.ndarray  # of studies, as 21800506
    splits: np.ndarray  # of studies
    ranks: np.ndarray  # of studies: its place in the patient's course
    study_of: np.ndarray  # of images: the position of its study
    frontal: np.ndarray  # of images: whether it is
    names: list[str]  # of images


def generate(folder: Path, scale: float, seed: int) -> None:
    """Writes the tree into `folder`, which must be new, of `scale` times the real size; a function of the seed."""
    release = _release(scale, seed)
    sources = _sources(folder, seed, int(release.frontal.sum()))
    _image_files(folder, release, sources)
    _tables(folder, release, sources, seed)
    _reports(folder, release, seed)
    _scene_graphs(folder, release, sources, scale, seed)
    _questions(folder, release, scale, seed)


def _release(scale: float, seed: int) -> Release:
    random = np.random.default_rng((seed, 0))
    patients, studies, images, frontal, without = (
        max(4, round(scale * count)) for count in (PATIENTS, STUDIES, IMAGES, FRONTAL, WITHOUT_FRONTAL)
    )
    # Every patient has a study; a few have very many.
    weights = random.gamma(0.5, size=patients)
    more = random.choice(patients, studies - patients, p=weights / weights.sum())
    patient = np.sort(np.concatenate([np.arange(patients), more]))
    numbers = np.sort(10_000_000 + random.choice(10_000_000, patients, replace=False))
    first = np.searchsorted(patient, np.arange(patients))
    ranks = np.arange(studies) - first[patient]
    days = random.integers(0, 36_500, patients)[patient] + 30 * ranks + random.integers(0, 30, studies)
    dates = np.datetime64("2105-01-01") + days.astype("timedelta64[D]")
    splits = random.choice(["train", "validate", "test"], patients, p=[0.978, 0.008, 0.014])[patient]

    frontless = np.zeros(studies, bool)
    frontless[random.choice(studies, without, replace=False)] = True
    usual = np.flatnonzero(~frontless)
    frontals = np.concatenate([usual, random.choice(usual, frontal - len(usual))])
    others = np.flatnonzero(frontless)
    others = np.concatenate([others, random.choice(studies, images - frontal - len(others))])
    study_of, is_frontal = np.concatenate([frontals, others]), np.repeat([True, False], [len(frontals), len(others)])
    order = np.lexsort((random.random(images), study_of))
    raw = random.bytes(20 * images).hex()
    names = ["-".join(raw[at : at + 8] for at in range(start, start + 40, 8)) for start in range(0, 40 * images, 40)]
    return Release(
        subjects=numbers[patient],
        studies=50_000_000 + random.choice(10_000_000, studies, replace=False),
        dates=np.char.replace(dates.astype(str), "-", ""),
        splits=splits,
        ranks=ranks,
        study_of=study_of[order],
        frontal=is_frontal[order],
        names=names,
    )


def _folder_of(release: Release, study: int) -> str:
    subject = str(release.subjects[study])
    return f"files/p{subject[:2]}/p{subject}/s{release.studies[study]}"


def _sources(folder: Path, seed: int, links: int) -> list[tuple[Path, int, int]]:
    """(path, width, height) of JPEG files of noise, enough of them to be linked to so many times."""
    random = np.random.default_rng((seed, 1))
    (folder / "sources").mkdir(parents=True)
    found = []
    for number in range(max(2, -(-links // LINKS))):
        width, height = ((2544, 3056), (3056, 2544))[number % 2]
        noise = PillowImage.fromarray(random.integers(0, 256, (48, 48), np.uint8)).resize((width, height))
        path = folder / "sources" / f"{number}.jpg"
        noise.save(path, quality=50)
        found.append((path, width, height))
    return found


def _image_files(folder: Path, release: Release, sources: list[tuple[Path, int, int]]) -> None:
    made = None
    for place in np.flatnonzero(release.frontal).tolist():
        target = folder / JPG / _folder_of(release, release.study_of[place])
        if target != made:
            target.mkdir(parents=True, exist_ok=True)
            made = target
        os.link(sources[place % len(sources)][0], target / f"{release.names[place]}.jpg")


def _write(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _tables(folder: Path, release: Release, sources: list[tuple[Path, int, int]], seed: int) -> None:
    random = np.random.default_rng((seed, 2))
    images = range(len(release.names))
    study_of, frontal = release.study_of.tolist(), release.frontal.tolist()
    subjects, studies = release.subjects.tolist(), release.studies.tolist()
    dates, splits, ranks = release.dates.tolist(), release.splits.tolist(), release.ranks.tolist()
    views = [
        (FRONTAL_VIEWS if is_frontal else OTHER_VIEWS)[draw]
        for is_frontal, draw in zip(frontal, _drawn_views(random, release.frontal), strict=True)
    ]
    times = random.integers(0, 24 * 3600, len(subjects)).tolist()

    def time(study: int) -> str:
        seconds = times[study]
        return f"{seconds // 3600 * 10_000 + seconds // 60 % 60 * 100 + seconds % 60}.{seconds % 1000:03d}"

    def metadata() -> Iterator[tuple[object, ...]]:
        for place in images:
            study, (_, width, height) = study_of[place], sources[place % len(sources)]
            yield (
                release.names[place], subjects[study], studies[study], "CHEST (PA AND LAT)", views[place], height,
                width, dates[study], time(study), "CHEST (PA AND LAT)", views[place].lower(), "Erect",
            )  # fmt: skip

    _write(
        folder / JPG / "mimic-cxr-2.0.0-metadata.csv.gz",
        (
            "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows",
            "Columns", "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning",
            "PatientOrientationCodeSequence_CodeMeaning",
        ),
        metadata(),
    )  # fmt: skip
    _write(
        folder / JPG / "mimic-cxr-2.0.0-split.csv.gz",
        ("dicom_id", "study_id", "subject_id", "split"),
        (
            (release.names[place], studies[study_of[place]], subjects[study_of[place]], splits[study_of[place]])
            for place in images
        ),
    )
    values = random.choice(["1.0", "0.0", "-1.0", ""], (len(studies), len(LABELS)), p=[0.12, 0.06, 0.02, 0.8]).tolist()
    _write(
        folder / JPG / "mimic-cxr-2.0.0-chexpert.csv.gz",
        ("subject_id", "study_id", *LABELS),
        ((subjects[study], studies[study], *values[study]) for study in range(len(studies))),
    )
    first: dict[int, int] = {}
    for place in images:
        if study_of[place] not in first or (frontal[place] and not frontal[first[study_of[place]]]):
            first[study_of[place]] = place
    words = {"AP": "antero-posterior", "PA": "postero-anterior", "LATERAL": "lateral", "LL": "left lateral"}
    _write(
        folder / QUESTION_FOLDER / "mimic_all.csv",
        ("subject_id", "study_id", *LABELS, "dicom_id", "view", "split", "study_date", "study_order"),
        (
            (
                subjects[study], studies[study], *values[study], release.names[first[study]],
                words.get(views[first[study]], ""), splits[study], dates[study], float(ranks[study] + 1),
            )
            for study in range(len(studies))
        ),
    )  # fmt: skip

    patients = np.unique(release.subjects)
    gold = set(random.choice(patients, max(1, round(len(patients) * GOLD_PATIENTS / PATIENTS)), replace=False).tolist())
    part = dict(zip(patients.tolist(), random.choice(3, len(patients), p=[0.7, 0.1, 0.2]).tolist(), strict=True))
    silver = [place for place in images if frontal[place]]
    header = ("subject_id", "study_id", "dicom_id", "path", "ViewPosition")

    def row(place: int) -> tuple[object, ...]:
        study, name = study_of[place], release.names[place]
        path = f"{_folder_of(release, study)}/{name}.dcm"
        return subjects[study], studies[study], name, path, views[place]

    for number, name in enumerate(("train", "valid", "test")):
        rows = (
            row(place)
            for place in silver
            if subjects[study_of[place]] not in gold and part[subjects[study_of[place]]] == number
        )
        numbered = ((count, *cells) for count, cells in enumerate(rows))
        _write(folder / SILVER / "splits" / f"{name}.csv", ("", *header), numbered)
    avoid = (row(place) for place in silver if subjects[study_of[place]] in gold)
    _write(folder / SILVER / "splits" / "images_to_avoid.csv", header, avoid)


def _drawn_views(random: np.random.Generator, frontal: np.ndarray) -> list[int]:
    """Positions in FRONTAL_VIEWS and OTHER_VIEWS."""
    of_frontal = random.choice(2, len(frontal), p=[0.6, 0.4])
    return np.where(frontal, of_frontal, random.choice(4, len(frontal), p=[0.62, 0.26, 0.11, 0.01])).tolist()


def _reports(folder: Path, release: Release, seed: int) -> None:
    random = np.random.default_rng((seed, 3))
    (folder / REPORTS).mkdir(parents=True)
    chosen = random.integers(0, len(SENTENCES), (len(release.studies), 7)).tolist()
    figures = random.integers(1, 10_000, (len(release.studies), 7, 2)).tolist()
    with zipfile.ZipFile(folder / REPORTS / "mimic-cxr-reports.zip", "w") as archive:
        for study in range(len(release.studies)):
            said = [SENTENCES[one].format(*two) for one, two in zip(chosen[study], figures[study], strict=True)]
            text = (
                "                                 FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n\n"
                " INDICATION:  ___ year old with cough.\n\n TECHNIQUE:  Chest PA and lateral.\n\n"
                f" COMPARISON:  ___.\n\n FINDINGS:\n\n {' '.join(said[:5])}\n\n IMPRESSION:\n\n {' '.join(said[5:])}\n"
            )
            _add(archive, f"{_folder_of(release, study)}.txt", text)


def _add(archive: zipfile.ZipFile, name: str, text: str) -> None:
    member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(member, text, compresslevel=1)


@dataclass
class _Template:
    """A scene graph with %s in place of figures and @-words in place of names."""

    text: str
    boxes: np.ndarray  # (regions, 4), x1 y1 x2 y2 as shares of the image's width and height
    figures: list[int]  # which of the drawn figures stands at each place in the phrases


def _scene_graphs(
    folder: Path, release: Release, sources: list[tuple[Path, int, int]], scale: float, seed: int
) -> None:
    random = np.random.default_rng((seed, 4))
    templates = [_template(random) for _ in range(TEMPLATES)]
    places = np.flatnonzero(release.frontal).tolist()
    lost = set(random.choice(places, round((FRONTAL - GRAPHS) * scale), replace=False).tolist())
    with zipfile.ZipFile(folder / SILVER / "scene_graph.zip", "w") as archive:
        prior, subject = None, None
        for place in places:
            study = int(release.study_of[place])
            if release.subjects[study] != subject:
                prior, subject = None, release.subjects[study]
            name, template = release.names[place], templates[random.integers(len(templates))]
            if place not in lost:
                _, width, height = sources[place % len(sources)]
                text = template.text % _figures(template, width, height, random)
                for word, value in (
                    ("@dicom", name), ("@prior", prior or name), ("@study", str(release.studies[study])),
                    ("@subject", str(subject)), ("@order", str(release.ranks[study] + 1)),
                    ("@date", str(release.dates[study])),
                ):  # fmt: skip
                    text = text.replace(word, value)
                _add(archive, f"scene_graph/{name}_SceneGraph.json", text)
            prior = name


def _figures(template: _Template, width: int, height: int, random: np.random.Generator) -> tuple[int, ...]:
    """The numbers of a template: corners and sizes of every box in both frames, then those of the phrases."""
    jitter = random.integers(-40, 41, template.boxes.shape)
    original = np.rint(template.boxes * np.array((width, height, width, height)) + jitter).astype(np.int64)
    ratio = 224 / max(width, height)
    padding = np.tile(((224 - width * ratio) / 2, (224 - height * ratio) / 2), 2)
    small = np.rint(original * ratio + padding).astype(np.int64)
    rows = [part for frame in (small, original) for part in (frame, frame[:, 2:] - frame[:, :2])]
    said = random.integers(1, 10_000, max(template.figures, default=0) + 1).tolist()
    return (*np.concatenate(rows, axis=1).ravel().tolist(), *(said[figure] for figure in template.figures))


def _template(random: np.random.Generator) -> _Template:
    names = [str(name) for name in random.permutation([*SPOKEN_OF, *BOXED_ONLY])[: random.integers(30, 37)]]
    corners = random.uniform(0.02, 0.7, (len(names), 2))
    boxes = np.concatenate([corners, corners + random.uniform(0.05, 0.3, corners.shape)], axis=1)
    # A few as they occur: beyond the image's edge.
    boxes[random.integers(len(names)), 3] = 1.0
    edges = ("x1", "y1", "x2", "y2", "width", "height")
    objects = [
        {
            "object_id": f"@dicom_{name}",
            **dict.fromkeys(edges, "#"),
            "bbox_name": name,
            "synsets": [f"C00{random.integers(10_000, 99_999)}"],
            "name": name.title(),
            **dict.fromkeys((f"original_{edge}" for edge in edges), "#"),
        }
        for name in names
    ]
    spoken_of = [name for name in names if name in SPOKEN_OF]
    said: dict[str, list[tuple[int, str, list[str]]]] = {}
    relationships = []
    for number in range(random.integers(9, 15)):
        phrase = str(random.choice(SENTENCES)).format(f"#{2 * number}#", f"#{2 * number + 1}#")
        attributes = [str(one) for one in random.choice(ATTRIBUTES, random.integers(1, 5), replace=False)]
        regions = [str(name) for name in random.choice(spoken_of, random.integers(2, 7), replace=False)]
        if random.random() < 0.1:
            regions.append(str(random.choice(WITHOUT_BOX)))
        for name in regions:
            said.setdefault(name, []).append((number, phrase, attributes))
        if random.random() < 0.25:
            relationships += [_relationship(name, number, phrase, attributes) for name in regions]
    graph = {
        "image_id": "@dicom", "viewpoint": "AP", "patient_id": "@subject", "study_id": "@study", "gender": "F",
        "age_decile": "60-70", "reason_for_exam": "___F with cough", "StudyOrder": "@order",
        "StudyDateTime": "@date 12:00:00 UTC", "objects": objects,
        "attributes": [_attribute(name, sentences) for name, sentences in said.items()],
        "relationships": relationships,
    }  # fmt: skip
    figures: list[int] = []

    def place(match: re.Match[str]) -> str:
        if match[1]:
            figures.append(int(match[1]))
        return "%s"

    return _Template(re.sub(r'"#"|#(\d+)#', place, json.dumps(graph)), boxes, figures)


def _attribute(name: str, sentences: list[tuple[int, str, list[str]]]) -> dict[str, object]:
    return {
        name: True,
        "bbox_name": name,
        "synsets": ["C0024109"],
        "name": name.title(),
        "attributes": [attributes for _, _, attributes in sentences],
        "attributes_ids": [["C0000000"] * len(attributes) for _, _, attributes in sentences],
        "phrases": [phrase for _, phrase, _ in sentences],
        "phrase_IDs": [f"@study|{number}" for number, _, _ in sentences],
        "sections": ["history" if number == 0 else "finalreport" for number, _, _ in sentences],
        "comparison_cues": [["comparison|yes|no change"] if number % 3 == 0 else [] for number, _, _ in sentences],
        "temporal_cues": [["temporal|yes|acute"] if number % 4 == 0 else [] for number, _, _ in sentences],
        "severity_cues": [["severity|yes|mild"] if number % 2 == 0 else [] for number, _, _ in sentences],
        "texture_cues": [["texture|yes|opacity"] if number % 5 == 0 else [] for number, _, _ in sentences],
        "object_id": f"@dicom_{name}",
    }


def _relationship(name: str, number: int, phrase: str, attributes: list[str]) -> dict[str, object]:
    return {
        "relationship_id": f"@study|{number}_@dicom_{name}_@prior",
        "predicate": "['No status change']",
        "synsets": ["C0442739"],
        "relationship_names": ["comparison|yes|no change"],
        "relationship_contexts": [1.0],
        "phrase": phrase,
        "attributes": attributes,
        "bbox_name": name,
        "subject_id": f"@dicom_{name}",
        "object_id": f"@prior_{name}",
    }


def _questions(folder: Path, release: Release, scale: float, seed: int) -> None:
    random = np.random.default_rng((seed, 5))
    frontal = set(release.study_of[release.frontal].tolist())
    subjects, studies = release.subjects.tolist(), release.studies.tolist()
    # Every study with one of its patient's three before it, and patients of one study with none: no row of theirs.
    pairs = [
        (study, study - back)
        for study in range(len(studies))
        for back in (1, 2, 3)
        if study >= back and subjects[study] == subjects[study - back] and {study, study - back} <= frontal
    ]
    patients = np.unique(release.subjects)
    splits = random.choice(["train", "val", "test"], len(patients), p=[0.8, 0.1, 0.1]).tolist()
    split_of = dict(zip(patients.tolist(), splits, strict=True))
    rows = []
    for kind, real in QUESTIONS.items():
        # No row twice: each is another pair with another of the ways to ask.
        ways = 1 if kind == "difference" else 3 if kind == "view" else len(FINDINGS)
        count = min(round(real * scale), len(pairs) * ways)
        for drawn in random.choice(len(pairs) * ways, count, replace=False).tolist():
            current, reference = pairs[drawn // ways]
            if kind == "difference" and drawn % 200 == 0:
                current, reference = reference, current
            question, answer = _ask(kind, drawn % ways, random)
            split = split_of[subjects[current]]
            rows.append((studies[current], subjects[current], studies[reference], kind, question, answer, split))
    rows = [rows[place] for place in random.permutation(len(rows)).tolist()]
    header = ("study_id", "subject_id", "ref_id", "question_type", "question", "answer", "split")
    _write(folder / QUESTION_FOLDER / "mimic_pair_questions.csv", header, rows)


def _ask(kind: str, way: int, random: np.random.Generator) -> tuple[str, str]:
    """Question and answer of a kind; way: which of the ways to ask (a finding, for most)."""
    finding = FINDINGS[way]
    if kind == "difference":
        picked = [FINDINGS[place] for place in random.permutation(len(FINDINGS))[: random.integers(0, 6)]]
        kinds = random.integers(0, 3, len(picked)).tolist()
        changes = [
            Change(name, "level", *(str(one) for one in random.choice(LEVELS, 2, replace=False)))
            if one == 2
            else Change(name, ("added", "missing")[one])
            for name, one in zip(picked, kinds, strict=True)
        ]
        return DIFFERENCE_QUESTION, write_changes(changes)
    if kind == "view":
        view = str(random.choice(FRONTAL_VIEWS))
        if way == 0:
            return "which view is this image taken?", f"{view} view"
        return f"is this {FRONTAL_VIEWS[way - 1]} view?", "yes" if FRONTAL_VIEWS[way - 1] == view else "no"
    area = AREAS[random.integers(len(AREAS))]
    if kind == "abnormality":
        names = [FINDINGS[place] for place in random.permutation(len(FINDINGS))[: random.integers(1, 5)]]
        places = ("this image", *(f"the {one} lung" for one in AREAS))
        return f"what abnormalities are seen in {places[way % len(places)]}?", ", ".join(names)
    if kind == "presence":
        return f"is there evidence of {finding} in this image?", str(random.choice(("yes", "no")))
    if kind == "location":
        return f"where in the image is the {finding} located?", f"{area} area"
    if kind == "level":
        return f"what level is the {finding}?", LEVELS[random.integers(len(LEVELS))]
    return f"what type is the {finding}?", TYPES[random.integers(len(TYPES))]
