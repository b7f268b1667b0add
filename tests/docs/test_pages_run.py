"""The commands of the docs run as they are written: blocks marked `bash`, with small settings and made data.

Blocks marked `sh` are not run: they install, serve until they are stopped, or take what only a reader has.
"""

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT / "docs").as_posix()
    for path in (ROOT / "docs").rglob("*.md")
    if re.search(r"^```bash$", path.read_text(encoding="utf-8"), re.M)
)
SMALL = {
    "pretrain": ["optimisation.steps=8", "optimisation.save_every=4"],
    "finetune": ["optimisation.steps=8", "optimisation.save_every=4"],
}
"""What is added to a command, so that it takes seconds."""

PATIENTS = 60

LABELS = ("Atelectasis", "Cardiomegaly", "Effusion", "Nodule")


def commands(page: str) -> list[list[str]]:
    """The commands of a page in their order, each as words."""
    blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.M | re.S)
    return [words for line in "\n".join(blocks).splitlines() if (words := shlex.split(line, comments=True))]


def make_nih(folder: Path) -> None:
    """NIH ChestX-ray14 as released, of a few small made images: patients with three images each, some with a box."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    )
    rows, boxes = [], []
    for patient in range(1, PATIENTS + 1):
        for follow_up in range(3):
            name = f"{patient:08}_{follow_up:03}.png"
            found = [label for label in LABELS if random.random() < 0.3]
            labels = "|".join(found) or "No Finding"
            rows.append([name, labels, follow_up, patient, 50 + follow_up, "M", "PA", 96, 96, 0.168, 0.168])
            boxes += [[name, label, 100, 200, 300, 300, "", "", ""] for label in found[:1]]
            pixels = random.normal(110, 30, (96, 96)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name)
    for file, head, lines in (
        ("Data_Entry_2017_v2020.csv", header, rows),
        ("BBox_List_2017.csv", "Image Index,Finding Label,Bbox [x,y,w,h],,,", boxes),
    ):
        with (folder / file).open("w", newline="") as out:
            out.write(head + "\n")
            csv.writer(out).writerows(lines)


@pytest.fixture
def place(tmp_path):
    """A folder in which the commands run: a clone, as far as they look at it, and the data that a reader has."""
    for name in ("configs", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    make_nih(tmp_path / "DATA")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(page, place):
    run = commands(page)
    assert run
    for program, command, *words in run:
        assert program == "diffvqa"
        line = [sys.executable, "-m", "diffvqa", command, *words, *SMALL.get(command, [])]
        done = subprocess.run(line, cwd=place, env={**os.environ}, capture_output=True, text=True)
        assert done.returncode == 0, f"{page}: {command} {words}\n{done.stdout}\n{done.stderr}"
        if page == "start.md":
            assert without_numbers(done.stdout) in without_numbers((ROOT / "docs" / page).read_text(encoding="utf-8"))


def without_numbers(text: str) -> str:
    """A text whose decimals are left out: they differ a little from processor to processor."""
    return re.sub(r"\d+\.\d+", "#", text)


def test_the_readme_shows_the_answer_that_the_start_page_shows():
    (shown,) = re.findall(r"^```\nthe main image.*?^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert shown in (ROOT / "docs/start.md").read_text(encoding="utf-8")
