"""The model that comes with the package: small, told what it is, and there wherever the package is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffvqa.answering.answer import CANNOT_COMPARE
from diffvqa.answering.answerer import SYNTHETIC_ONLY, Answerer
from diffvqa.findings import read_changes
from diffvqa.inference.hub import PHANTOM_SMALL, model_folder

ROOT = Path(__file__).parents[2]
LARGEST = 20_000_000


@pytest.fixture(scope="module")
def answerer():
    return Answerer.from_pretrained(PHANTOM_SMALL)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two pictures of a patient whom the model has not seen."""
    from diffvqa.phantom.writing import write_cohort

    folder = tmp_path_factory.mktemp("cohort") / "cohort"
    write_cohort(folder, 10, seed=77, workers=1)
    rows = [json.loads(line) for line in (folder / "truth" / "pairs.jsonl").read_text().splitlines()]
    return [next(folder.rglob(f"{rows[0][side]}.jpg")) for side in ("current", "prior")]


def test_it_is_small_and_names_no_place_where_it_was_made():
    files = [path for path in model_folder(PHANTOM_SMALL).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LARGEST
    assert {path.suffix for path in files} <= {".json", ".jsonl", ".safetensors", ".md"}
    for path in files:
        if path.suffix != ".safetensors":
            assert not any(f'"/{root}/' in path.read_text() for root in ("work", "home", "tmp", "root"))


def test_it_answers_in_its_grammar_and_says_what_it_has_learnt_from(answerer, pair):
    answer = answerer(*pair)
    assert read_changes(answer.text)
    assert answer.calibrated
    assert answer.boxes is not None
    assert SYNTHETIC_ONLY in answer.warnings
    assert answer.model.name == PHANTOM_SMALL


def test_it_does_not_compare_what_is_no_radiograph(answerer, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2, 256, 256), dtype=np.uint8)
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path, pixels in zip(paths, noise, strict=True):
        Image.fromarray(pixels).save(path)
    answer = answerer(*paths)
    assert answer.text == CANNOT_COMPARE
    assert answer.boxes is None


@pytest.mark.slow
def test_a_wheel_holds_it(pair, tmp_path):
    """Installed outside the clone the package answers by it."""
    wheels, installed = tmp_path / "wheels", tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, ROOT], check=True)
    subprocess.run([*pip, "install", "--no-deps", "--target", installed, *wheels.glob("*.whl")], check=True)
    command = [
        sys.executable,
        "-m",
        "diffvqa",
        "answer",
        PHANTOM_SMALL,
        "--current",
        pair[0],
        "--prior",
        pair[1],
        "--json",
    ]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert json.loads(done.stdout)["model"]["name"] == PHANTOM_SMALL
