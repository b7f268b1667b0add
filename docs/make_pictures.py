"""The pictures of the docs, made by phantom-small on synthetic patients: python docs/make_pictures.py

pictures/prior.png, current.png: the first pair of the synthetic set `change` (seed 0) of which the model states the
changes, and the findings of both images, rightly. pictures/overlay.png: that answer as `diffvqa answer --overlay` draws
it. pictures/page-WIDTH.png: that answer on the page of `diffvqa serve`. pictures/sheet.jpg, report.png: a contact sheet
and the beginning of the report's scores, of 120 patients that the model has not seen (seed 4100).

It takes some minutes, and needs the extra `dev` and Chromium.
"""

import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from diffvqa import Answerer
from diffvqa.answering.overlay import draw_answer
from diffvqa.findings import changes_between
from diffvqa.images.radiograph import read_radiograph
from diffvqa.phantom.rendering import render
from diffvqa.phantom.sets import draw_from

OUT = Path(__file__).parent / "pictures"
MODEL = "phantom-small"
PIXELS = 768
"""Of the longer side of a radiograph."""

WINDOWS = {1280: 800, 390: 844}
"""Width and height of the windows that the page is shown in."""

PATIENTS, SEED = 120, 4100


def make_pair() -> dict[str, Path]:
    """The files of the prior and the current image, and the picture of their answer."""
    answerer = Answerer.from_pretrained(MODEL)
    files = {name: OUT / f"{name}.png" for name in ("prior", "current")}
    for number in itertools.count():
        prior, current = draw_from("change", 0, number, PIXELS).visits[:2]
        body = draw_from("change", 0, number, PIXELS).body
        for visit, file in zip((prior, current), files.values(), strict=True):
            picture = render(body, visit.lesions, visit.pictures[0].acquisition, visit.devices)
            Image.fromarray(picture).save(file, optimize=True)
        answer = answerer(files["current"], files["prior"])
        named = {name: set(found) for name, found in (answer.findings or {}).items()}
        there = {name: set(visit.levels) for name, visit in (("prior", prior), ("current", current))}
        if set(answer.changes or ()) == set(changes_between(prior.levels, current.levels)) and named == there:
            print(f"patient {number}: {answer.text}")
            radiographs = {name: read_radiograph(file, name) for name, file in files.items()}
            draw_answer(answer, radiographs).save(OUT / "overlay.png", optimize=True)
            return files
    raise AssertionError("there is always another patient")


def run(*arguments: str | Path) -> None:
    """One command of diffvqa."""
    subprocess.run([sys.executable, "-m", "diffvqa", *map(str, arguments)], check=True)


@contextmanager
def serving() -> Iterator[str]:
    """The address of a page that is served meanwhile."""
    command = [sys.executable, "-u", "-m", "diffvqa", "serve", MODEL, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout
            yield next(word for line in server.stdout for word in line.split() if word.startswith("http://"))
        finally:
            server.terminate()


def show_page(browser: Browser, address: str, files: dict[str, Path]) -> None:
    """The page with the answer; the last change is pointed at."""
    for width, height in WINDOWS.items():
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(address)
        for place, file in zip(page.query_selector_all("input[type=file]"), files.values(), strict=True):
            place.set_input_files(file)
        page.wait_for_selector("#ask [type=submit]:enabled")
        page.click("#ask [type=submit]")
        page.wait_for_selector("#answer .text", timeout=120_000)
        page.hover("#answer .changes li:last-child .change")
        page.wait_for_timeout(500)  # what lights up does so gently
        # Of the telephone the whole length, as it is scrolled; of the wide page what fits the window.
        page.screenshot(path=OUT / f"page-{width}.png", full_page=width < 600)


def show_report(browser: Browser, report: Path) -> None:
    """The beginning of a report's scores: what fits a window."""
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.goto(report.resolve().as_uri())
    page.get_by_role("heading", name="In short").evaluate("heading => heading.scrollIntoView()")
    page.screenshot(path=OUT / "report.png")


def main() -> None:
    """All of them."""
    OUT.mkdir(exist_ok=True)
    files = make_pair()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = Path(scratch)
        run("synth", folder / "cohort", "--patients", PATIENTS, "--seed", SEED, "--workers", 1)
        run("prepare", f"mimic:{folder / 'cohort'}", "--out", folder / "store", "--size", 128)
        run("sheet", folder / "store", "--out", folder / "sheet.png", "--images", 12)
        Image.open(folder / "sheet.png").convert("RGB").save(OUT / "sheet.jpg", quality=80, optimize=True)
        run("evaluate", MODEL, folder / "store", "--out", folder / "evaluation", "--truth", folder / "cohort/truth")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        show_report(browser, folder / "evaluation/report.html")
        with serving() as address:
            show_page(browser, address, files)
        browser.close()


if __name__ == "__main__":
    main()
