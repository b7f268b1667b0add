"""What is too large, too much, of another kind, or lasts too long; and that nothing is written to a disk."""

import asyncio
import builtins
import io
import multiprocessing
import pickle
import tempfile
import threading

import numpy as np
import pytest
from PIL import Image

from diffvqa.errors import InputError
from diffvqa.images.radiograph import Radiograph
from diffvqa.serving import decoding, turns, uploads
from diffvqa.serving.app import FORMS
from diffvqa.serving.decoding import Decoder

BOUNDARY = "x"


def part(field, length, file=True):
    """A part of a form, in pieces of 64 KB, and how many of them were taken."""
    taken = []

    def pieces():
        name = '; filename="a.png"' if file else ""
        yield f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"{name}\r\n\r\n'.encode()
        for number in range(0, length, 2**16):
            taken.append(number)
            yield bytes(min(2**16, length - number))
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    return pieces(), taken


def send(client, pieces):
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return client.post("/answer", content=pieces, headers=headers)


def test_a_file_as_large_as_allowed_is_read_and_one_that_is_larger_refused(client, monkeypatch):
    monkeypatch.setattr(uploads, "LARGEST_FILE", 2**20)
    allowed = send(client, part("current", 2**20)[0])
    assert allowed.status_code == 422
    assert "not a PNG" in allowed.json()["detail"]
    refused = send(client, part("current", 2**20 + 1)[0])
    assert refused.status_code == 413
    assert refused.json()["detail"] == "current: too large; a file may have 1 MB"


def test_a_question_as_long_as_a_book_is_refused(client):
    response = send(client, part("question", 2**20, file=False)[0])
    assert response.status_code == 413
    assert response.json()["detail"] == "question: too large; at most 16 kB"


def run_app(app, headers, body):
    """What an application sends, and how many pieces of the body it took."""
    sent, taken = [], []

    async def receive():
        taken.append(1)
        return {"type": "http.request", "body": next(body), "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/answer",
        "raw_path": b"/answer",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers],
    }
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], len(taken)


FORM = (b"content-type", b"multipart/form-data; boundary=x")


def test_what_is_too_large_is_not_read_to_its_end(client):
    def endless():
        yield from part("current", 2**40)[0]

    status, taken = run_app(client.app, [FORM], endless())
    assert status == 413
    assert taken <= 64 * 2**20 / 2**16 + 2
    status, taken = run_app(client.app, [FORM, (b"content-length", b"%d" % 2**40)], endless())
    assert (status, taken) == (413, 0)


def test_a_form_that_breaks_off_or_stalls_ends(client, monkeypatch):
    async def leaves():
        messages = iter([{"type": "http.request", "body": b"--x\r\n", "more_body": True}, {"type": "http.disconnect"}])

        async def receive():
            return next(messages)

        return await answered(client.app, receive)

    async def stalls():
        async def receive():
            await asyncio.sleep(60)

        return await answered(client.app, receive)

    async def answered(app, receive):
        sent = []

        async def send(message):
            sent.append(message)

        headers = [(b"host", b"localhost"), FORM]
        scope = {"type": "http", "method": "POST", "path": "/answer", "query_string": b"", "headers": headers}
        await app(scope, receive, send)
        return sent[0]["status"]

    assert asyncio.run(leaves()) == 400
    monkeypatch.setattr(uploads, "SECONDS", 0.05)
    assert asyncio.run(stalls()) == 408


def form_of(files):
    """The body of a form of these files."""
    header = '--x\r\nContent-Disposition: form-data; name="{}"; filename="a.png"\r\n\r\n'
    parts = [header.format(field).encode() + content + b"\r\n" for field, content in files.items()]
    return b"".join([*parts, b"--x--\r\n"])


@pytest.mark.parametrize("missing", ["--\r\n", "--x--\r\n", "\r\n--x--\r\n", "the end of the file\r\n--x--\r\n"])
def test_a_form_that_ends_too_early_is_not_answered_without_its_last_file(client, told, files, missing):
    whole = form_of({"current": files["current"], "prior": files["prior"] + b"the end of the file"})
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    response = client.post("/answer", content=whole.removesuffix(missing.encode()), headers=headers)
    assert response.status_code == 400
    assert response.json()["detail"] == "the form ended before it was whole"
    assert told.asked == []
    assert client.post("/answer", content=whole, headers=headers).status_code == 200
    assert len(told.asked[0]["prior"]) == 1


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"current=x", "application/x-www-form-urlencoded", 415),
        (b"x", "multipart/form-data", 415),
        (b"no form at all", "multipart/form-data; boundary=x", 422),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\nx\r\n--x--", "multipart/form-data; boundary=x", 422),
        (
            b'--x\r\nContent-Disposition: form-data; name="question"\r\n\r\n\xff\r\n--x--',
            "multipart/form-data; boundary=x",
            422,
        ),
    ],
)
def test_another_kind_of_content_is_refused(client, caplog, content, kind, status):
    response = client.post("/answer", content=content, headers={"Content-Type": kind})
    assert [record for record in caplog.records if not record.name.startswith("httpx")] == []
    assert response.status_code == status
    assert response.json()["detail"]


def test_no_upload_touches_a_disk(client, told, monkeypatch, to_png):
    random = np.random.default_rng(0)
    files = {name: to_png(random.integers(0, 256, (1500, 1500), np.uint8)) for name in ("prior", "current")}
    assert min(map(len, files.values())) > 2 * 2**20
    client.post("/picture", files={"image": files["prior"]})  # its process is there

    def written(*args, **kwargs):
        raise AssertionError("a file was written")

    opened = builtins.open

    def reading_only(file, mode="r", *args, **kwargs):
        assert set(mode) <= set("rbtU"), "a file was opened to be written"
        return opened(file, mode, *args, **kwargs)

    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp", "_TemporaryFileWrapper"):
        monkeypatch.setattr(tempfile, name, written)
    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile", written)
    monkeypatch.setattr(builtins, "open", reading_only)
    assert client.post("/answer", files=files).status_code == 200
    assert len(told.asked) == 1


def test_a_second_request_waits_for_the_first(client, told, files):
    told.go_on.clear()
    found = []
    threads = [threading.Thread(target=lambda: found.append(client.post("/answer", files=files))) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: told.asked)
    assert client.get("/health").json()["status"] == "busy"
    assert client.post("/picture", files={"image": files["prior"]}).status_code == 200
    assert len(told.asked) == 1
    told.go_on.set()
    for thread in threads:
        thread.join()
    assert [response.status_code for response in found] == [200, 200]
    assert len(told.asked) == 2


def test_a_second_request_that_waits_too_long_is_told_when_to_come_again(client, told, files, monkeypatch):
    monkeypatch.setattr(turns, "WAIT", 0.05)
    told.go_on.clear()
    first = threading.Thread(target=lambda: client.post("/answer", files=files))
    first.start()
    wait_until(lambda: told.asked)
    response = client.post("/answer", files=files)
    assert response.status_code == 429
    assert float(response.headers["Retry-After"]) > 0
    assert "busy" in response.json()["detail"]
    told.go_on.set()
    first.join()
    assert client.post("/answer", files=files).status_code == 200


class Upload:
    """A form that is sent to an application; its last bytes come when that is allowed.

    read: set when all but what is not allowed has been taken; taken: how many pieces have been.
    """

    def __init__(self, path, form):
        self.path, self.form = path, form
        self.read, self.allowed, self.taken = asyncio.Event(), asyncio.Event(), 0

    async def status(self, app):
        sent = []

        async def send(message):
            sent.append(message)

        headers = [(b"host", b"localhost"), FORM]
        scope = {"type": "http", "method": "POST", "path": self.path, "query_string": b"", "headers": headers}
        await app(scope, self._receive, send)
        return sent[0]["status"]

    async def _receive(self):
        self.taken += 1
        if self.taken == 1:
            return {"type": "http.request", "body": self.form[:-10], "more_body": True}
        self.read.set()
        await self.allowed.wait()
        return {"type": "http.request", "body": self.form[-10:], "more_body": False}


@pytest.mark.parametrize(("path", "field"), [("/answer", "current"), ("/picture", "image")])
def test_a_slow_upload_keeps_nobody_from_being_answered(client, files, path, field):
    slow, other = (Upload(path, form_of({field: files["current"]})) for _ in range(2))

    async def both():
        waiting = asyncio.create_task(slow.status(client.app))
        await slow.read.wait()
        other.allowed.set()
        assert await other.status(client.app) == 200
        assert not waiting.done()
        slow.allowed.set()
        assert await waiting == 200

    asyncio.run(both())


def test_of_many_forms_few_are_in_memory_at_once(client, told, files):
    *first, last = (Upload("/answer", form_of({"current": files["current"]})) for _ in range(FORMS + 1))
    told.go_on.clear()

    async def all_of_them():
        statuses = []
        for upload in (*first, last):
            upload.allowed.set()
            statuses.append(asyncio.create_task(upload.status(client.app)))
        for upload in first:
            await upload.read.wait()
        for _ in range(100):  # enough for the last one, were it let in
            await asyncio.sleep(0)
        assert last.taken == 0
        told.go_on.set()
        assert await asyncio.gather(*statuses) == [200] * (FORMS + 1)

    asyncio.run(all_of_them())


def wait_until(true):
    event = threading.Event()
    for _ in range(6000):
        if true():
            return
        event.wait(0.01)
    raise AssertionError("it has not come about")


@pytest.fixture
def decoder():
    decoder = Decoder()
    yield decoder
    decoder.close()


def test_a_process_that_hangs_or_ends_is_replaced(decoder, files, monkeypatch):
    good = files["prior"]
    first = decoder(good, "prior").stored
    assert (first == np.asarray(Image.open(io.BytesIO(good)))).all()
    decoder._process.kill()
    decoder._process.join()
    assert (decoder(good, "prior").stored == first).all()
    monkeypatch.setattr(decoding, "SECONDS", 0)
    large = np.random.default_rng(0).integers(0, 256, (3000, 3000), np.uint8)
    file = io.BytesIO()
    Image.fromarray(large).save(file, "PNG")
    hanging = decoder._process
    with pytest.raises(InputError, match=r"^prior: .*time and memory"):
        decoder(file.getvalue(), "prior")
    assert not hanging.is_alive()
    monkeypatch.undo()
    assert (decoder(good, "prior").stored == first).all()


@pytest.mark.parametrize("error", [MemoryError, ValueError])
def test_errors_that_nobody_has_thought_of_are_not_quoted(monkeypatch, secrets, error):
    def read_radiograph(content):
        raise error(secrets[0])

    monkeypatch.setattr(decoding, "read_radiograph", read_radiograph)
    assert decoding.read(b"").startswith("expected a PNG, JPEG or DICOM radiograph, found a file that")
    assert secrets[0] not in decoding.read(b"")


def test_a_file_that_fills_the_memory_is_refused(files, to_png):
    decoder = Decoder(memory=2**29)
    with pytest.raises(InputError, match=r"^current: expected a PNG, JPEG or DICOM radiograph"):
        decoder(to_png(np.zeros((10_000, 10_000), np.uint16)), "current")
    assert decoder(files["current"], "current").stored.shape == (100, 120)
    decoder.close()


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("it has been unpickled",)


@pytest.mark.parametrize(
    "sent",
    [
        [pickle.dumps(Bomb())],
        [b'{"height": 2, "width": 3, "header": {"orientation": "up"}}', bytes(6)],
        [b'{"height": 2, "width": 3, "header": null}', bytes(5)],
        [b'{"height": -1, "width": -6, "header": null}', bytes(6)],
    ],
)
def test_what_a_process_sends_is_checked(decoder, monkeypatch, sent):
    decoder._connection, other = multiprocessing.Pipe()
    monkeypatch.setattr(decoder, "_start", lambda: None)
    for message in sent:
        other.send_bytes(message)
    with pytest.raises(InputError, match=r"^prior: .*cannot be decoded"):
        decoder(b"", "prior")


def test_a_header_comes_back_whole(decoder, write_dicom, tmp_path):
    path = tmp_path / "a.dcm"
    write_dicom(path, np.zeros((50, 40), np.uint8), PatientOrientation=["F", "L"])
    found = decoder(path.read_bytes(), "prior")
    assert found.header == Radiograph.from_file(path).header
    assert None not in (found.header.patient, found.header.taken)
    assert found.orientation.transposed
    assert found.stored.shape == (50, 40)
