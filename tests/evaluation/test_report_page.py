"""The report: one file that loads nothing, with every text escaped."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from diffvqa.errors import InputError
from diffvqa.evaluation import text_scores as text
from diffvqa.evaluation.curves import MOST_POINTS, thin
from diffvqa.evaluation.report import write_report
from diffvqa.evaluation.score import score_folder

EDEMA = "the main image has an additional finding of edema than the reference image."
EVIL = '<script>alert("x")</script><img src=https://example.org/x onerror=1>&'


class Page(HTMLParser):
    """The elements of a page with their attributes, and its visible text."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.words, self.open = [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    rows = [
        {
            "id": "1",
            "answer": EDEMA,
            "references": [EDEMA],
            "question_type": "difference",
            "subject_id": "a",
            "confidence": 0.7,
            "reference_changes": [{"finding": "edema", "kind": "added", "steps": 3}],
            "group": EVIL,
        },
        *(
            {
                "id": group,
                "answer": answer,
                "references": ["nothing has changed."],
                "question_type": "difference",
                "group": group,
                "subject_id": "c",
            }
            for group, answer in (("repeat", "nothing has changed."), (f"{EVIL} 0.5", EDEMA))
        ),
        {"id": "2", "answer": EVIL, "references": ["yes"], "question_type": EVIL, "subject_id": "b"},
        {"id": "3", "task": "AREF", "boxes": [[0, 0, 4, 4]], "reference_boxes": [[0, 0, 4, 4]]},
    ]
    write(tmp_path / "predictions.jsonl", rows)
    (tmp_path / "controls").mkdir()
    write(tmp_path / "controls" / "blank_images.jsonl", [{**rows[0], "answer": "nothing has changed."}])
    write(tmp_path / "controls" / f"{EVIL.replace('/', '-')}.jsonl", rows[3:4])
    write(
        tmp_path / "curves.jsonl",
        [{"stage": EVIL, "step": step, "loss": 2 / (step + 1), "evaluation_loss": None} for step in range(5)]
        + [{"stage": "finetune", "step": 1, "loss": float("nan"), "evaluation_loss": 0.5}],
    )
    (tmp_path / "examples").mkdir()
    for name, size in (("prior", (20, 30)), ("current", (30, 20))):
        Image.fromarray(np.zeros(size[::-1], np.uint8)).save(tmp_path / "examples" / f"0-{name}.png")
    write(
        tmp_path / "examples.jsonl",
        [
            {
                "prior": "examples/0-prior.png",
                "current": "examples/0-current.png",
                "question": EVIL,
                "reference": EDEMA,
                "answer": f"{EDEMA} the main image is missing the finding of hernia than the reference image.",
                "confidence": 0.5,
                "boxes": {
                    "prior": [],
                    "current": [
                        {"label": EVIL, "box": [1, 2, 11, 12], "kind": "predicted"},
                        {"label": "heart", "box": [3, 4, 13, 14], "kind": "reference"},
                    ],
                },
            }
        ],
    )
    box = {"label": EVIL, "box": [5, 6, 15, 16], "kind": "reference"}
    write(tmp_path / "phrases.jsonl", [{"picture": "examples/0-prior.png", "phrase": EVIL, "boxes": [box]}])
    (tmp_path / "run.json").write_text(
        json.dumps({"model": EVIL, EVIL: {"layers": 2}, "split": "test", "dataset": "medical-diff-vqa 1.0.1"})
    )
    score_folder(tmp_path, replicates=20)
    return tmp_path


@pytest.fixture
def page(folder):
    path = write_report(folder)
    assert path == folder / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_nothing_is_loaded_and_nothing_runs(page):
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "img", "form", "base", "foreignobject"}
    for _, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "action"):
                assert value.startswith("data:image/png;base64,")
    policy = [attributes["content"] for tag, attributes in page.elements if attributes.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_style_loads_nothing(folder):
    source = write_report(folder).read_text(encoding="utf-8")
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_texts_are_shown_as_they_are(page):
    # Question, answer, box label, curve, run facts and control all hold it.
    assert page.text.count('alert("x")') >= 6
    assert "Research software. Not for clinical use." in page.text


def test_pictures_boxes_and_agreement(page):
    images = [attributes for tag, attributes in page.elements if tag == "image"]
    assert [(image["width"], image["height"]) for image in images] == [("20", "30"), ("30", "20"), ("20", "30")]
    boxes = [
        (attributes["class"], attributes["x"])
        for tag, attributes in page.elements
        if tag == "rect" and "x" in attributes and "class" in attributes
    ]
    assert ("predicted", "1.0") in boxes
    assert ("reference", "3.0") in boxes
    assert ("reference", "5.0") in boxes
    assert "edema: added – found" in page.text
    assert "– not in the reference" in page.text


def test_scores_and_controls_are_there(page):
    for words in ("Change F1", "False-change rate", "Blank images", "Accuracy at IoU 0.5", "METEOR is left out"):
        assert words in page.text, words
    assert text.PLAIN in page.text
    assert page.text.index("Difference questions") < page.text.index("Other questions") < page.text.index("grounding")


def test_what_lies_behind_the_scores_is_there(page):
    for words in (
        "Beside published results",
        "EKAID (2023)",
        "3 steps",
        "By finding",
        "Groups of pairs",
        "Reliability",
    ):
        assert words in page.text, words
    labels = [attributes["aria-label"] for _, attributes in page.elements if attributes.get("role") == "img"]
    assert f"{EVIL}: false-change rate 0.00 at 0, 1.00 at 0.5" in labels
    assert "Accuracy against confidence: 1.00 at 0.70" in labels
    [recall] = [label for label in labels if label.startswith("Recall: ")]
    assert re.search(r"This model 1\.000 \(.*\), Blank images 0\.000 \(", recall)


def test_a_chart_is_drawn_the_same_again_and_shares_no_identifier_with_another(folder):
    source = write_report(folder).read_text(encoding="utf-8")
    assert write_report(folder).read_text(encoding="utf-8") == source
    elements = [attributes for _, attributes in Page(source).elements]
    identifiers = [attributes["id"] for attributes in elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    used = {attributes["xlink:href"] for attributes in elements if "xlink:href" in attributes}
    used |= {attributes["clip-path"][4:-1] for attributes in elements if "clip-path" in attributes}
    assert used
    assert used <= {f"#{identifier}" for identifier in identifiers}


def test_every_table_that_shows_false_changes_shows_recall(folder):
    source = write_report(folder).read_text(encoding="utf-8")
    headings = [part.split("</thead>")[0] for part in source.split("<thead>")[1:]]
    showing = [heading for heading in headings if "False-change rate" in heading]
    assert len(showing) == 2
    assert all("Recall" in heading for heading in showing)


def test_a_folder_with_predictions_alone(tmp_path, monkeypatch):
    write(tmp_path / "predictions.jsonl", [{"id": "1", "answer": "yes", "references": ["no"]}])
    score_folder(tmp_path, replicates=10)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "Other questions" in page.text
    assert "Training" not in page.text


def test_a_folder_that_was_not_scored_is_refused(tmp_path):
    with pytest.raises(InputError, match="score the folder first"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prior": "../outside.png"}, "prior"),
        ({"prior": "nothing.png"}, "prior"),
        ({"current": "run.json"}, "current"),
        ({"current": None}, "current"),
        ({"question": 3}, "question"),
        ({"confidence": "high"}, "confidence"),
        ({"boxes": {"prior": [{"label": "a", "box": [1, 2, 3], "kind": "predicted"}]}}, "boxes"),
        ({"boxes": {"prior": [{"label": "a", "box": [1, 2, 3, 4], "kind": "guess"}]}}, "boxes"),
    ],
)
def test_a_bad_example_is_named(folder, change, field):
    Image.new("L", (4, 4)).save(folder.parent / "outside.png")
    row = json.loads((folder / "examples.jsonl").read_text())
    write(folder / "examples.jsonl", [row, {**row, **change}])
    with pytest.raises(InputError, match=rf"examples\.jsonl, line 2: field `{field}`"):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_a_bad_phrase_is_named(folder):
    write(folder / "phrases.jsonl", [{"picture": "examples/0-prior.png", "phrase": None, "boxes": []}])
    with pytest.raises(InputError, match=r"phrases\.jsonl, line 1: field `phrase`"):
        write_report(folder)


def test_a_long_curve_is_thinned_and_keeps_its_mean():
    points = [(float(step), step % 7) for step in range(10 * MOST_POINTS)]
    thinned = thin(points)
    assert len(thinned) == MOST_POINTS
    assert np.mean([loss for _, loss in thinned]) == pytest.approx(np.mean([loss for _, loss in points]))
    assert thin(points[:5]) == points[:5]
