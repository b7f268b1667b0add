"""The files of the page, and the synthetic pairs."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from diffvqa.answering.answer import NOTICE
from diffvqa.findings import read_changes
from diffvqa.images.colours import BOX_COLOURS
from diffvqa.serving.app import PAGE
from diffvqa.serving.example_pairs import EXAMPLES, draw_example

FILES = sorted(path.name for path in PAGE.iterdir())
KINDS = {".html": "text/html", ".css": "text/css", ".js": "javascript", ".svg": "image/svg+xml"}


@pytest.mark.parametrize("path", ["/", "/docs", *(f"/page/{name}" for name in FILES)])
def test_nothing_outside_is_asked_for(client, path):
    response = client.get(path)
    assert response.status_code == 200
    addresses = set(re.findall(r"(?:[a-z]+:)?//[\w.-]+\.[a-z]+[^\s\"'`)]*", response.text))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # the name of a format, not an address
    assert "style=" not in response.text  # which the policy forbids
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=\"|eval\(|innerHTML", response.text)


@pytest.mark.parametrize("name", FILES)
def test_the_kind_of_a_file_is_said(client, name):
    assert KINDS[name[name.rindex(".") :]] in client.get(f"/page/{name}").headers["content-type"]


@pytest.mark.parametrize("name", FILES)
def test_every_module_and_sheet_is_there(client, name):
    text = (PAGE / name).read_text(encoding="utf-8")
    named = re.findall(r'from "\./([^"]+)"', text) + re.findall(r'(?:src|href)="/page/([^"]+)"', text)
    assert [one for one in named if one not in FILES] == []


def test_nothing_is_there_in_vain():
    texts = [path.read_text(encoding="utf-8") for path in PAGE.iterdir()]
    for name in set(FILES) - {"index.html", "docs.html"}:
        assert any(name in text for text in texts), name


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_notice_is_on_the_face_of_it(client, path):
    text = " ".join(client.get(path).text.split())
    assert NOTICE in text
    assert "Research software. Not for clinical use." in text


def test_the_colours_are_those_of_the_overlay():
    assert ", ".join(f'"#{r:02x}{g:02x}{b:02x}"' for r, g, b in BOX_COLOURS) in (PAGE / "colours.js").read_text()


def test_every_field_has_a_label_and_every_key_is_listed(client):
    text = client.get("/").text
    fields = re.findall(r"<input(?![^>]*type=\"(?:checkbox|file|range)\")[^>]*id=\"(\w+)\"", text)
    assert [one for one in fields if f'for="{one}"' not in text] == []
    pressed = set(re.findall(r"^    \"?([a-z0-9+-])\"?: ", (PAGE / "main.js").read_text(), re.MULTILINE))
    listed = {key.lower().replace("−", "-") for key in re.findall(r"<kbd>(.)</kbd>", text)}
    assert len(pressed) > 12
    assert pressed == listed


def test_examples_are_a_change_no_change_and_another_acquisition(client):
    listed = {one["name"]: one for one in client.get("/examples").json()}
    assert list(listed) == list(EXAMPLES)
    changes = {name: read_changes(one["truth"])[0] for name, one in listed.items()}
    assert changes["change"]
    assert changes["none"] == changes["acquisition"] == frozenset()
    pixels = {}
    for name in listed:
        for image in ("prior", "current"):
            response = client.get(f"/examples/{name}/{image}.png")
            assert response.headers["content-type"] == "image/png"
            pixels[name, image] = np.asarray(Image.open(io.BytesIO(response.content))).astype(int)
    assert {max(one.shape) for one in pixels.values()} == {768}
    difference = np.abs(pixels["none", "prior"] - pixels["none", "current"])
    assert 0 < difference.mean() < 10


@pytest.mark.parametrize("path", ["/examples/other/prior.png", "/examples/change/earlier.png"])
def test_another_example_is_not_there(client, path):
    assert client.get(path).status_code == 404


def test_an_example_is_drawn_the_same_again():
    first = draw_example("none", "prior")
    draw_example.cache_clear()
    assert draw_example("none", "prior") == first
