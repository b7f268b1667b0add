"""Pictures of the page for docs/serve.md, of a synthetic pair: python docs/serve_screenshots.py http://127.0.0.1:8000."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

SIZES = {1280: 800, 390: 844}
"""Width and height of the window."""

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    for width, height in SIZES.items():
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(sys.argv[1])
        page.click("#examples button")
        page.wait_for_selector("#ask [type=submit]:enabled")
        page.click("#ask [type=submit]")
        page.wait_for_selector("#answer .text")
        page.hover("#answer .changes li:last-child .change")
        page.wait_for_timeout(500)  # what lights up does so gently
        # Of the telephone the whole length, as it is scrolled; of the wide page what fits the window.
        page.screenshot(path=Path(__file__).parent / f"serve-{width}.png", full_page=width < 600)
    browser.close()
