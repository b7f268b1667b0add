"""Pictures of the page for docs/serve.md, of a server that runs: python docs/serve_screenshots.py http://127.0.0.1:8000.

They show the first pair of the synthetic set `change` that phantom-small answers rightly.
"""

import itertools
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from diffvqa import Answerer
from diffvqa.findings import changes_between
from diffvqa.phantom.rendering import render
from diffvqa.phantom.sets import draw_from

SIZES = {1280: 800, 390: 844}
"""Width and height of the window."""

PIXELS = 768
"""Of the longer side of a radiograph."""


def first_right_pair(folder: Path) -> list[Path]:
    """The files of the prior and the current image."""
    answerer = Answerer.from_pretrained("phantom-small")
    files = [folder / f"{name}.png" for name in ("prior", "current")]
    for number in itertools.count():
        patient = draw_from("change", 0, number, PIXELS)
        prior, current = patient.visits[:2]
        for visit, file in zip((prior, current), files, strict=True):
            picture = render(patient.body, visit.lesions, visit.pictures[0].acquisition, visit.devices)
            Image.fromarray(picture).save(file)
        answer = answerer(files[1], files[0])
        if set(answer.changes or ()) == set(changes_between(prior.levels, current.levels)):
            print(f"patient {number}: {answer.text}")
            return files
    raise AssertionError("there is always another patient")


with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
    pair = first_right_pair(Path(scratch))
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    for width, height in SIZES.items():
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(sys.argv[1])
        for place, file in zip(page.query_selector_all("input[type=file]"), pair, strict=True):
            place.set_input_files(file)
        page.wait_for_selector("#ask [type=submit]:enabled")
        page.click("#ask [type=submit]")
        page.wait_for_selector("#answer .text")
        page.hover("#answer .changes li:last-child .change")
        page.wait_for_timeout(500)  # what lights up does so gently
        # Of the telephone the whole length, as it is scrolled; of the wide page what fits the window.
        page.screenshot(path=Path(__file__).parent / f"serve-{width}.png", full_page=width < 600)
    browser.close()
