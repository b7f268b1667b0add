"""Damaged uploads and requests of any shape: an answer or a reason with 4xx, soon, and the server goes on."""

import io
import random
import re
import subprocess
import sys

import httpx
import pytest
from PIL import Image

from fuzz.mutations import QUESTIONS, damage, png_of_any_size

pytestmark = pytest.mark.slow

UPLOADS, BODIES, ODD = 120, 60, 40
PATHS = ("/answer", "/picture", "/health", "/examples/../../x", "/page/%2e%2e/%2e%2e/serve.py", "/%00", "/docs")
HANG = 5
"""Seconds after which a request counts as one that hangs; it is sent once more, as a busy machine may stand still."""


@pytest.fixture
def server(model_folder, tmp_path):
    """A server of its own, and what it prints."""
    printed = tmp_path / "printed.log"
    command = [sys.executable, "-m", "diffvqa", "serve", str(model_folder), "--port", "0"]
    with printed.open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    line = next(line for line in process.stdout if "http://" in line)
    with httpx.Client(base_url=re.search(r"http://[\d.:]+", line)[0], timeout=HANG) as client:
        client.get("/health").raise_for_status()
        yield client, process, printed
    process.kill()
    process.wait()


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


@pytest.fixture
def sound(write_dicom, phantom_pixels, tmp_path):
    """Contents without fault in every form, and a prior for them."""
    contents = [
        write_dicom(tmp_path / f"sound {form} {bits}.dcm", phantom_pixels["current"], form=form, bits=bits).read_bytes()
        for form in ("plain", "run lengths", "jpeg 2000", "jpeg-ls")
        for bits in (8, 12)
    ]
    return [*contents, png(phantom_pixels["current"])], png(phantom_pixels["prior"])


def send(client, *request, **content):
    try:
        return client.request(*request, **content)
    except httpx.TimeoutException:
        return client.request(*request, **content)


def requests(sound, prior):
    """(method, path) and content of every request."""
    for seed in range(UPLOADS):
        content = damage(sound[seed % len(sound)], seed) if seed % 6 else png_of_any_size(seed)
        if seed % 4 == 3:
            yield ("POST", "/picture"), {"files": {"image": ("Nobody^Known.dcm", content)}}
            continue
        files = {"current": ("Nobody^Known.dcm", content), "prior": ("ID-4711.png", prior)}
        data = {"question": QUESTIONS[seed % len(QUESTIONS)].encode(errors="replace").decode()} if seed % 3 == 0 else {}
        yield ("POST", "/answer"), {"files": files, "data": data}
    whole = httpx.Request(
        "POST",
        "http://localhost/answer",
        files={"current": ("a", sound[-1]), "prior": ("b", prior)},
        data={"question": "?"},
    )
    body, kind = whole.read(), whole.headers["content-type"]
    for seed in range(BODIES):
        # Most of it is pictures: the damage is put where the form's own words are.
        spared = damage(body[:300], seed) + body[300:] if seed % 2 else damage(body, seed)
        yield ("POST", "/answer"), {"content": spared, "headers": {"content-type": kind}}
    generator = random.Random(0)
    for _ in range(ODD):
        method = generator.choice(("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE"))
        path = generator.choice(
            (
                "/answer",
                "/picture",
                "/health",
                "/examples/../../etc/passwd",
                "/page/%2e%2e/%2e%2e/serve.py",
                "/%00",
                "/docs",
            )
        )
        headers = {
            "content-type": generator.choice(
                ("application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=", "\xff")
            ).encode("latin-1"),
            "range": generator.choice(("bytes=0-", "bytes=-1,5-2", "x")),
        }
        content = generator.choice((b"", b"{", b'{"current": 1}', b"[" * 100_000, generator.randbytes(2000)))
        yield (method, path), {"headers": headers, "content": content}


def test_every_request_is_answered_and_the_server_goes_on(server, sound, secrets):
    client, process, printed = server
    statuses = []
    for request, content in requests(*sound):
        response = send(client, *request, **content)
        assert response.status_code < 500, (request, response.text[:300])
        if response.headers.get("content-type", "").startswith(("application/json", "text")):
            assert not any(secret in response.text for secret in secrets)
        if request[0] == "POST" and response.status_code >= 400:
            assert response.json()["detail"]
        statuses.append(response.status_code)
    assert process.poll() is None
    assert client.get("/health").json()["status"] == "ready"
    # Else the damage was too small, or too great, to try anything.
    assert statuses.count(200) > 10
    assert sum(400 <= status < 500 for status in statuses) > 50
    answered = client.post("/answer", files={"current": sound[0][-1], "prior": sound[1]})
    assert answered.status_code == 200
    said = printed.read_text()
    assert not any(secret in said for secret in (*secrets, "Traceback"))
