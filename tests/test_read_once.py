"""Each file of a radiograph is opened once and parsed once, whatever is asked of it."""

import builtins
import io
import os
import sys
from collections import Counter
from pathlib import Path

import pydicom
import pytest
from PIL import Image

from diffvqa import cli
from diffvqa.answering.answerer import Answerer
from diffvqa.answering.batch.predict import predict_pairs
from diffvqa.data import read_sources
from diffvqa.data.inspection import check_files
from diffvqa.data.prepare import prepare
from diffvqa.images import read_image, read_squares
from diffvqa.images.undecoded import image_size, seen_whole


@pytest.fixture(params=["plain", "jpeg-ls"])
def pair(phantom_pixels, write_dicom, tmp_path, request):
    """A prior and a current file; the second form is decoded in a process of its own."""
    return {
        name: write_dicom(
            tmp_path / f"{name}.dcm",
            pixels,
            form=request.param,
            StudyInstanceUID=f"1.2.{number}",
            SeriesInstanceUID=f"1.3.{number}",
            SOPInstanceUID=f"1.4.{number}",
            SOPClassUID="1.2.840.10008.5.1.4.1.1.1",
            StudyDate=f"2024010{number}",
        )
        for number, (name, pixels) in enumerate(phantom_pixels.items(), start=1)
    }


@pytest.fixture
def counts(tmp_path, monkeypatch):
    """How often files of the folder were opened, by their names, and how often any was parsed, by "parsed"."""
    found = Counter()
    really_open, really_parse = builtins.open, pydicom.dcmread

    def counting_open(file, *more, **others):
        if isinstance(file, str | os.PathLike) and Path(file).suffix in (".dcm", ".png", ".jpg"):
            found[Path(file).name] += 1
        return really_open(file, *more, **others)

    def counting_parse(*given, **others):
        found["parsed"] += 1
        return really_parse(*given, **others)

    monkeypatch.setattr(builtins, "open", counting_open)
    monkeypatch.setattr(io, "open", counting_open)
    monkeypatch.setattr(pydicom, "dcmread", counting_parse)
    return found


ONCE = {"prior.dcm": 1, "current.dcm": 1, "parsed": 2}


def test_by_an_answer_from_python(model_folder, pair, counts):
    answerer = Answerer.from_pretrained(model_folder)
    answerer(**pair)
    assert counts == ONCE


def test_by_an_answer_with_a_picture_and_a_structured_report(model_folder, pair, counts, tmp_path, monkeypatch):
    options = ["--overlay", str(tmp_path / "overlay.png"), "--dicom-sr", str(tmp_path / "out")]
    named = [text for name, path in pair.items() for text in (f"--{name}", str(path))]
    monkeypatch.setattr(sys, "argv", ["diffvqa", "answer", str(model_folder), *named, *options])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert {name: counts[name] for name in ONCE} == ONCE  # and the picture, which is written


def test_by_a_table_of_pairs(model_folder, pair, counts, tmp_path):
    (tmp_path / "pairs.csv").write_text("current,prior\ncurrent.dcm,prior.dcm\n")
    assert predict_pairs(model_folder, tmp_path / "pairs.csv", tmp_path / "out.jsonl").problems == 0
    assert counts == ONCE


@pytest.fixture
def cohort(pair, tmp_path):
    """Both files as a table's."""
    (tmp_path / "images.csv").write_text("patient,order,image\na,1,prior.dcm\na,2,current.dcm\n")
    return read_sources([f"table:{tmp_path}"])


def test_by_the_making_of_a_store(cohort, counts, tmp_path):
    assert len(prepare(cohort, tmp_path / "store", 32).images) == 2
    assert counts == ONCE


@pytest.mark.parametrize("deep", [False, True])
def test_by_an_inspection(cohort, counts, deep):
    assert not check_files(cohort, deep).problems
    assert counts == ONCE


def test_by_a_look_at_its_size(pair, counts):
    assert all(image_size(path) for path in pair.values())
    assert counts == ONCE


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_other_kinds_are_opened_once_too(phantom_pixels, counts, tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    Image.fromarray(phantom_pixels["prior"]).save(path)
    counts.clear()
    for number, read in enumerate((read_image, seen_whole, lambda path: read_squares(path, [32])), start=1):
        read(path)
        assert counts == {path.name: number}
