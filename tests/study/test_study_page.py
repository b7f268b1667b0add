"""The page of a study, and the same one from what its folder keeps."""

import json
import lzma
import re

import pytest

from diffvqa import cli
from diffvqa.errors import InputError
from diffvqa.findings import NOTHING_CHANGED
from diffvqa.study.study_page import page_from
from diffvqa.study.summary import write_summary

EVIL = "<script>&"


def result(objective, seed, value):
    """What a cell gave: its own test split, a set of one factor of the acquisition, and a control."""

    def score(value):
        return {"value": value, "low": value - 0.05, "high": value + 0.1}

    changes = {"n": 1200, "pairs_unchanged": 300, "unreadable": 0, "recall": score(value), "detection_rate": None}
    changes |= {"f1": score(value), "false_change_rate": score(value / 2)}
    groups = {f"{EVIL} {strength}": {"n": 9, "false_change_rate": score(value / 3)} for strength in (1, 2)}
    steps = {step: {"recall": score(value)} for step in ("1", "2", "level 1")}
    model = {"patients": 40, "changes": changes, "groups": groups, "steps": steps}
    controls = {"blank_images": {"changes": {"f1": score(0.01 + seed / 1000)}}}
    return {
        "cell": f"{objective}_seed-{seed}",
        "settings": {"objective": objective, "finetune.sizes": {"layers": 2}, "seed": seed},
        "threads": 1,
        "program": "0.1.0 (abc)",
        "device": "CPU, 2 cores",
        "seconds": {"pretrain": None, "finetune": 3.5},
        "images_seen": 9600,
        "evaluations": {"test": {"model": model, "controls": controls}},
    }


@pytest.fixture
def folder(tmp_path):
    results = [result(EVIL, 0, 0.3), result(EVIL, 1, 0.5), {**result("cap", 0, 0.1), "error": "no memory"}]
    del results[2]["evaluations"]
    write_summary(tmp_path, results, 4)
    return tmp_path


def test_the_page_of_a_folder_is_that_of_the_study(folder):
    page = (folder / "study.html").read_text()
    kept = {name: (folder / name).read_text() for name in ("summary.json", "comparisons.json", "study.csv")}
    for path in (folder / "study.html", *(folder / "figures").iterdir()):
        path.unlink()
    assert page_from(folder) == page
    (folder / "study.csv").unlink()
    with lzma.open(folder / "study.csv.xz", "wt") as file:
        file.write(kept["study.csv"])
    assert page_from(folder) == page
    with lzma.open(folder / "study.csv.xz", "wt") as file:
        file.write(kept["study.csv"].replace("changes/recall,0.3,", "changes/recall,0.1,"))
    assert page_from(folder) != page


def test_the_page_shows_means_controls_remarks_and_figures_with_a_text_for_each(folder):
    page = (folder / "study.html").read_text()
    for words in (
        "0.400",
        "(0.300 to 0.500)",
        "Blank images (&lt;script&gt;&amp;)",
        "Not whole: 3 of 4 cells were run.",
        "Failed: cap_seed-0: no memory",
        "40 patients, 1,200 questions of what has changed, 300 of unchanged pairs.",
        "CPU, 2 cores",
    ):
        assert words in page, words
    assert EVIL not in page
    assert page.count("<svg") == page.count('role="img"') == len(list((folder / "figures").iterdir())) == 3


def test_the_page_lists_what_differs(folder):
    pair = {"first": "clip", "second": EVIL, "value": 0.1, "low": 0.05, "high": 0.2, "p_holm": 0.01}
    equal = {"value": 0.0625, "low": 0.03125, "high": 0.125, "n": 300}
    systems = {EVIL: {"false_change_rate_at_90": equal}, "clip": {"false_change_rate_at_90": None}}
    tests = {"f1": [pair, {**pair, "second": "none", "p_holm": 0.2}]}
    comparisons = {"test": [{"systems": systems, "comparisons": tests}]}
    assert "False changes at detection .9</th>" not in page_from(folder)
    (folder / "comparisons.json").write_text(json.dumps(comparisons))
    page = page_from(folder)
    assert "1 differences that other patients would not explain" in page
    assert "+0.100 (+0.050 to +0.200)" in page
    assert ">none<" not in page
    assert "False changes at detection .9</th>" in page
    assert "0.062" in page
    assert "[0.031, 0.125]" in page
    comparisons["test"][0]["comparisons"]["f1"][0]["p_holm"] = 0.3
    (folder / "comparisons.json").write_text(json.dumps(comparisons))
    assert "No difference was found" in page_from(folder)


def test_false_changes_at_one_detection_rate_have_their_thresholds_from_the_test_split(tmp_path):
    edema = "the main image has an additional finding of edema than the reference image."
    results = [result(objective, 0, 0.5) for objective in ("bold", "shy")]
    for cell, changed in zip(results, (0.8, 0.2), strict=True):
        cell["evaluations"]["acquisition"] = cell["evaluations"]["test"]
        for name, pairs in (
            ("test", [(edema, changed), (NOTHING_CHANGED, 0.1)]),
            ("acquisition", [(NOTHING_CHANGED, probability) for probability in (0.1, 0.3, 0.5, 0.9)]),
        ):
            folder = tmp_path / "cells" / cell["cell"] / "evaluations" / name
            folder.mkdir(parents=True)
            rows = [
                {"id": str(n), "subject_id": str(n), "answer": "", "references": [reference], "changed": probability}
                for n, (reference, probability) in enumerate(pairs)
            ]
            (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_summary(tmp_path, results, 2)
    (compared,) = json.loads((tmp_path / "comparisons.json").read_text())["acquisition"]
    rates = {name: scores["false_change_rate_at_90"]["value"] for name, scores in compared["systems"].items()}
    assert rates == {"bold": 0.25, "shy": 0.75}
    acquisition = (tmp_path / "study.md").read_text().partition("## acquisition")[2]
    assert "| False changes at detection .9 |" in acquisition
    assert re.search(r"\| shy \|.* \| 0\.750 \[", acquisition)
    assert re.search(r"\| Blank images \(bold\) \|.* \| – \|", acquisition)


def test_the_command_writes_the_page_where_it_is_told(folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["diffvqa", "study-page", str(folder), "--out", str(folder / "page.html")])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert (folder / "page.html").read_text() == (folder / "study.html").read_text()
    monkeypatch.setattr("sys.argv", ["diffvqa", "study-page", str(folder), "--out", str(folder / "none" / "page.html")])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "--out" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["summary.json", "comparisons.json", "study.csv"])
def test_a_folder_without_a_study_s_records_is_refused(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(InputError, match=f"FOLDER: expected .*{missing}"):
        page_from(folder)


@pytest.mark.parametrize(
    ("name", "text"), [("summary.json", "{}"), ("study.csv", "cell,score\na,b\n"), ("comparisons.json", '{"test": 3}')]
)
def test_records_of_another_kind_are_refused(folder, name, text):
    (folder / name).write_text(text)
    with pytest.raises(InputError, match="FOLDER: its files are not as"):
        page_from(folder)
