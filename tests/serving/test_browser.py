"""The page in a real browser: what it shows, by mouse and by keyboard, and whom it asks."""

import io
import os
import re
import shutil
import threading
from urllib.parse import urlsplit

import numpy as np
import pytest
import uvicorn
from PIL import Image

from diffvqa.images.orientation import orientation_of
from diffvqa.serving.app import create_app
from diffvqa.serving.serve import listen

pytestmark = pytest.mark.slow

ORANGE, BLUE, GREEN = "#e69f00", "#56b4e9", "#009e73"
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    found = shutil.which("chromium")
    if not found:
        if os.environ.get("DIFFVQA_REQUIRE_BROWSER"):
            pytest.fail("DIFFVQA_REQUIRE_BROWSER is set, and no chromium is installed")
        pytest.skip("no chromium is installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def address(told):
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(told), log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def open_page(browser, address):
    """Open the page in a window of that size; at the end, nothing went wrong and nobody else was asked."""
    pages, asked, wrong = [], [], []

    def open_at(size):
        page = browser.new_page(viewport=size)
        page.set_default_timeout(30_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if "Content Security" in message.text else None)
        page.goto(address)
        page.wait_for_selector("#examples button")
        pages.append(page)
        return page

    yield open_at
    for page in pages:
        page.close()
    assert wrong == []
    assert {urlsplit(url).netloc for url in asked if not url.startswith("blob:")} == {urlsplit(address).netloc}


@pytest.fixture
def paths(tmp_path, write_dicom, secrets):
    """A prior of grey 60 as DICOM and a current of grey 180 as PNG, both 100 x 100, with names that must not travel."""
    pixels = np.full((100, 100), 60, np.uint8)
    pixels[0, 0] = 200  # of one level alone a window shows nothing
    prior = write_dicom(tmp_path / f"{secrets[0]}.dcm", pixels, WindowCenter=128, WindowWidth=256)
    current = tmp_path / f"{secrets[1]}.png"
    Image.fromarray(np.full((100, 100), 180, np.uint8)).save(current)
    return {"prior": prior, "current": current}


def choose(page, paths):
    for name, path in paths.items():
        page.set_input_files(f'[data-image="{name}"] input[type=file]', path)
        page.wait_for_selector(f'[data-image="{name}"] .filled')
    settle(page)


def ask(page):
    page.click("#ask [type=submit]")
    page.wait_for_selector("#answer .text")
    settle(page)


def settle(page):
    """Two frames on, everything that was asked for is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def pixel(page, image, x, y):
    """What the canvas shows at a place, as shares of the viewport: red, green and blue."""
    return page.evaluate(
        """([image, x, y]) => {
            const canvas = document.querySelector(`[data-image="${image}"] canvas`);
            const [width, height] = [Math.floor(canvas.width * x), Math.floor(canvas.height * y)];
            return [...canvas.getContext("2d").getImageData(width, height, 1, 1).data.slice(0, 3)];
        }""",
        [image, x, y],
    )


def lit(page):
    """The labels of the marks that are lit, by image, and of the entries."""
    return page.evaluate(
        """() => ({
            marks: [...document.querySelectorAll(".panes[data-mode=side] .mark.lit")]
                .map((one) => `${one.dataset.image} ${one.dataset.label}`).sort(),
            entries: [...document.querySelectorAll("#answer .change.lit")].map((one) => one.dataset.label),
        })"""
    )


def place(page, image, label):
    """Where a mark is, in pixels of the window: left, top, width, height."""
    return page.evaluate(
        """([image, label]) => {
            const line = `[data-image="${image}"] .mark[data-label="${label}"] .line`;
            const { x, y, width, height } = document.querySelector(`figure${line}`).getBoundingClientRect();
            return [x, y, width, height];
        }""",
        [image, label],
    )


def scrolls_sideways(page):
    return page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


def test_two_files_an_answer_and_what_lights_up(open_page, paths, told, secrets):
    page = open_page(WIDE)
    sent = []
    page.on("request", lambda request: sent.append(request.post_data_buffer or b""))
    assert page.is_disabled("#ask [type=submit]")
    choose(page, paths)
    assert pixel(page, "prior", 0.5, 0.5) == [60, 60, 60]
    assert pixel(page, "current", 0.5, 0.5) == [180, 180, 180]
    ask(page)
    (asked,) = told.asked
    assert (asked["current"].stored[0, 0], asked["prior"][0].stored[9, 9]) == (180, 60)
    assert not any(path.name.encode() in body for body in sent for path in paths.values())

    text = page.inner_text("#answer")
    for said in (told.answer.text[1:], "0.75", "not calibrated", "from mild to severe", "new", "no longer seen"):
        assert said in text
    assert "a warning" in text
    assert "0123456789ab" in text
    assert "Not a medical device" in text
    assert page.get_attribute("#answer", "aria-live") == "polite"

    # Boxes are where the answer says, in pixels of the file: the picture fills its viewport in one direction.
    viewport = page.locator('[data-image="current"] .viewport').bounding_box()
    scale = min(viewport["width"], viewport["height"]) / 100
    left = viewport["x"] + (viewport["width"] - 100 * scale) / 2
    top = viewport["y"] + (viewport["height"] - 100 * scale) / 2
    expected = [left + 20 * scale, top + 10 * scale, 40 * scale, 40 * scale]
    assert place(page, "current", "edema") == pytest.approx(expected, abs=1)

    assert lit(page) == {"marks": [], "entries": []}
    page.hover('#answer .change[data-label="edema"]')
    assert lit(page) == {"marks": ["current edema"], "entries": ["edema"]}
    colour = page.evaluate('getComputedStyle(document.querySelector(".mark.lit .line")).stroke')
    # The line itself is on the screen, in the colour of the entry.
    x, y, _, height = place(page, "current", "edema")
    shot = page.screenshot(clip={"x": x - 1, "y": y + height / 2, "width": 3, "height": 1})
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    assert f"#{red:02x}{green:02x}{blue:02x}" == BLUE
    assert (decoded(shot)[0, 1] == [red, green, blue]).all()

    page.mouse.move(x + 3, y + 3)
    assert lit(page) == {"marks": ["current edema"], "entries": ["edema"]}
    nodule = place(page, "prior", "nodule")
    page.mouse.move(nodule[0] + nodule[2] / 2, nodule[1] + nodule[3] / 2)
    assert lit(page) == {"marks": ["prior nodule"], "entries": ["nodule"]}
    page.mouse.move(2, 2)
    assert lit(page) == {"marks": [], "entries": []}

    # Another picture: the answer was not about it.
    page.click("#swap")
    settle(page)
    assert page.inner_text("#answer") == ""
    assert page.locator(".mark").count() == 0
    assert pixel(page, "prior", 0.5, 0.5) == [180, 180, 180]


def decoded(shot):
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))


@pytest.mark.parametrize(("directions", "sides"), [(["R", "F"], True), (["F", "L"], True), (["A", "F"], False)])
def test_pictures_and_their_boxes_are_upright(open_page, paths, write_dicom, tmp_path, directions, sides):
    """However a file is stored; R and L stand at the patient's sides, but for a lateral view."""
    way = orientation_of(directions)
    stored = np.full((100, 80), 60, np.uint8)
    stored[10:50, 20:60] = 200  # where the answer has its box
    header = {"PatientOrientation": directions, "ViewPosition": "", "WindowCenter": 128, "WindowWidth": 256}
    turned = write_dicom(tmp_path / "turned.dcm", stored, **header)
    page = open_page(WIDE)
    choose(page, {"prior": paths["prior"], "current": turned})
    ask(page)
    x, y, width, height = place(page, "current", "edema")
    viewport = page.locator('[data-image="current"] .viewport').bounding_box()
    bright = np.argwhere(decoded(page.screenshot(clip=viewport))[..., 0] > 150)
    inside = (bright[:, 0] > y - viewport["y"]) & (bright[:, 0] < y - viewport["y"] + height)
    inside &= (bright[:, 1] > x - viewport["x"]) & (bright[:, 1] < x - viewport["x"] + width)
    assert inside.sum() > 0.8 * width * height  # the box is filled by what it marks
    upright = way.upright(stored)
    assert page.inner_text('[data-image="current"] .size') == f"{upright.shape[1]} × {upright.shape[0]}"
    shown = page.locator('[data-image="current"] .side').all()
    assert [one.is_visible() for one in shown] == [sides, sides]
    right, left = (one.bounding_box() or {"x": number} for number, one in enumerate(shown))
    assert right["x"] < left["x"]


def test_zoom_window_and_views(open_page, paths):
    page = open_page(WIDE)
    choose(page, paths)
    ask(page)
    before = {name: place(page, *name) for name in (("current", "edema"), ("prior", "nodule"))}
    page.click("#closer")
    settle(page)
    for name, (*_, width, height) in before.items():
        assert place(page, *name)[2:] == pytest.approx([1.25 * width, 1.25 * height], abs=0.5)
    page.focus('[data-image="prior"] .viewport')
    moved = place(page, "current", "edema")
    page.keyboard.press("ArrowRight")
    settle(page)
    assert place(page, "current", "edema")[0] < moved[0] - 5
    page.click("#reset")
    settle(page)
    assert place(page, "current", "edema") == pytest.approx(before["current", "edema"], abs=0.5)

    page.click("#invert")
    settle(page)
    assert pixel(page, "prior", 0.5, 0.5) == [195, 195, 195]
    page.click("#reset")
    page.locator("#level").evaluate("(slider) => { slider.value = 60; slider.dispatchEvent(new Event('input')); }")
    settle(page)
    assert pixel(page, "prior", 0.5, 0.5) == [128, 128, 128]
    page.click("#reset")
    page.click("#boxes")
    settle(page)
    assert not page.is_visible(".mark")
    page.click("#boxes")

    page.click('button[data-mode="difference"]')
    settle(page)
    red, green, blue = pixel(page, "both", 0.5, 0.9)
    assert red > green > blue  # brighter now: orange
    page.click('button[data-mode="flicker"]')
    seen = set()
    for name in ("Prior", "Current", "Prior"):
        page.wait_for_selector(f'#both-name:text-is("{name}")')
        page.keyboard.press("f")  # stand still
        settle(page)
        seen.add((page.inner_text("#both-name"), *pixel(page, "both", 0.5, 0.9)))
        page.click('button[data-mode="flicker"]')
    assert seen == {("Prior", 60, 60, 60), ("Current", 180, 180, 180)}


def test_flicker_is_stopped_and_stepped_by_mouse(open_page, paths):
    page = open_page(WIDE)
    choose(page, paths)
    assert not page.is_visible("#step")
    page.click('button[data-mode="flicker"]')
    page.click('#step:text-is("Stop")')
    assert page.inner_text("#step") == "Step"
    assert both_by_steps(page) == {("Prior", 60), ("Current", 180)}
    page.click('button[data-mode="flicker"]')
    assert page.inner_text("#step") == "Stop"
    page.keyboard.press("f")
    assert page.inner_text("#step") == "Step"
    page.click('button[data-mode="side"]')
    assert not page.is_visible("#step")


def test_without_motion_both_pictures_are_reached_by_steps(open_page, paths):
    page = open_page(NARROW)
    page.emulate_media(reduced_motion="reduce")
    choose(page, paths)
    page.click('button[data-mode="flicker"]')
    assert page.inner_text("#step") == "Step"
    assert both_by_steps(page) == {("Prior", 60), ("Current", 180)}
    assert not scrolls_sideways(page)


def both_by_steps(page):
    """What is seen in two steps: the name and the grey of each."""
    seen = set()
    for _ in range(2):
        page.click('#step:text-is("Step")')
        settle(page)
        seen.add((page.inner_text("#both-name"), pixel(page, "both", 0.5, 0.9)[0]))
    return seen


def test_by_keyboard_alone(open_page, told):
    page = open_page(WIDE)
    page.on("filechooser", lambda chooser: None)  # from now on: later would be a race with the key
    press = page.keyboard.press
    press("Tab")
    for _ in range(40):
        if page.evaluate("document.activeElement.textContent") == "A clear change":
            break
        press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press("Enter")
    page.wait_for_selector('[data-image="current"] .filled')
    page.wait_for_selector("#ask [type=submit]:enabled")
    press("q")
    page.keyboard.type("is it pib?")  # letters that are keys elsewhere
    press("Enter")
    page.wait_for_selector("#answer .text")
    assert told.asked[0]["question"] == "is it pib?"
    assert page.get_attribute("#invert", "aria-pressed") == "false"
    press("Tab")
    for label, marks in (
        ("cardiomegaly", ["current cardiomegaly"]),
        ("edema", ["current edema"]),
        ("nodule", ["prior nodule"]),
    ):
        press("j")
        assert lit(page) == {"marks": marks, "entries": [label]}
    press("k")
    assert lit(page)["entries"] == ["edema"]
    press("i")
    assert page.get_attribute("#invert", "aria-pressed") == "true"
    press("3")
    page.wait_for_selector('.panes[data-mode="flicker"]')
    press("f")
    standing = page.inner_text("#both-name")
    press("f")
    assert page.inner_text("#both-name") != standing
    press("1")
    press("0")
    assert page.get_attribute("#invert", "aria-pressed") == "false"
    with page.expect_file_chooser():
        press("c")


def test_single_keys_can_be_turned_off(open_page):
    page = open_page(WIDE)
    page.keyboard.press("i")
    assert page.get_attribute("#invert", "aria-pressed") == "true"
    page.click(".help summary")
    page.uncheck("#keys-on")
    page.keyboard.press("i")
    assert page.get_attribute("#invert", "aria-pressed") == "true"


def test_on_a_telephone_nothing_scrolls_sideways(open_page):
    page = open_page(NARROW)
    assert not scrolls_sideways(page)
    page.click("text=A clear change")
    page.wait_for_selector("#ask [type=submit]:enabled")
    ask(page)
    page.click(".help summary")
    page.click("#ask summary")
    assert not scrolls_sideways(page)
    page.click('button[data-mode="difference"]')
    settle(page)
    assert not scrolls_sideways(page)
    page.goto(page.url + "docs")
    page.wait_for_selector("article")
    assert not scrolls_sideways(page)


def test_what_is_wrong_is_said_where_it_is(open_page, paths, told, tmp_path):
    page = open_page(WIDE)
    (tmp_path / "none.png").write_text("no image")
    page.set_input_files('[data-image="prior"] input[type=file]', tmp_path / "none.png")
    page.wait_for_selector('[data-image="prior"] .problem:has-text("found not a PNG")')
    choose(page, {"current": paths["current"]})
    told.answer = ValueError("x")
    page.click("#ask [type=submit]")
    page.wait_for_selector("#answer .problem")
    assert "log says where" in page.inner_text("#answer .problem")


def test_files_are_dropped(open_page, paths):
    page = open_page(WIDE)
    page.evaluate(
        """async () => {
            const [one, other] = await Promise.all(["prior", "current"].map(async (image) =>
                new File([await (await fetch(`/examples/none/${image}.png`)).blob()], image)));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(one);
            dataTransfer.items.add(other);
            document.querySelector("[data-image=current]").dispatchEvent(
                new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }"""
    )
    for image in ("prior", "current"):
        page.wait_for_selector(f'[data-image="{image}"] .filled')


def test_what_headers_are_trusted_with_ends_with_the_pictures(open_page, paths, told):
    page = open_page(WIDE)
    choose(page, paths)
    page.click("#ask summary")
    boxes = ["[name=trust_order]", "[name=trust_identity]"]
    for change in (lambda: choose(page, {"current": paths["prior"]}), lambda: page.click("#swap")):
        for box in boxes:
            page.check(box)
        ask(page)
        assert [told.asked[-1][name] for name in ("trust_order", "trust_identity")] == [True, True]
        assert [page.is_checked(box) for box in boxes] == [True, True]
        change()
        page.wait_for_selector('[data-image="current"] .filled:not(.waiting)')
        assert [page.is_checked(box) for box in boxes] == [False, False]
    assert [page.get_attribute(box, "autocomplete") for box in boxes] == ["off", "off"]


HOLD_PICTURES = """() => {
    const real = window.fetch;
    const held = new Promise((let_go) => { window.letGo = let_go; });
    window.fetch = async (path, ...rest) => {
        if (path === "/picture") await held;
        return real(path, ...rest);
    };
}"""


def test_files_that_are_swapped_before_they_are_decoded_arrive_swapped(open_page, paths):
    page = open_page(WIDE)
    page.evaluate(HOLD_PICTURES)
    for image, path in paths.items():
        page.set_input_files(f'[data-image="{image}"] input[type=file]', path)
    assert page.locator(".waiting").count() == 2
    page.keyboard.press("s")
    page.evaluate("letGo()")
    for image in paths:
        page.wait_for_selector(f'[data-image="{image}"] .filled:not(.waiting)')
    settle(page)
    assert [pixel(page, image, 0.5, 0.5)[0] for image in ("prior", "current")] == [180, 60]


def test_the_truth_of_a_synthetic_pair_is_told_of_no_other_file(open_page, paths):
    page = open_page(WIDE)
    page.click("text=A clear change")
    page.wait_for_selector("#ask [type=submit]:enabled")
    page.wait_for_selector('[data-image="prior"] .filled')
    ask(page)
    assert page.locator("#answer .truth").count() == 1
    page.set_input_files('[data-image="prior"] input[type=file]', paths["prior"])
    page.wait_for_selector('[data-image="prior"] .size:text-is("100 × 100")')
    ask(page)
    assert page.locator("#answer .truth").count() == 0


def test_a_synthetic_pair_of_which_one_file_is_refused_has_no_truth(open_page, paths):
    page = open_page(WIDE)
    choose(page, paths)
    refused = []

    def refuse_the_first(route):
        if refused:
            route.continue_()
        else:
            refused.append(route)
            route.fulfill(status=429, json={"detail": "busy"})

    page.route("**/picture", refuse_the_first)
    page.click("text=A clear change")
    page.wait_for_selector('.problem:has-text("busy")')
    page.wait_for_selector('.size:not(:text-is("100 × 100"))')
    ask(page)
    assert page.locator("#answer .truth").count() == 0
