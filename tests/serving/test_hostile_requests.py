"""Requests made to lead out of the page's folder, to fill the memory, or to put a script on the page."""

import pytest

PATHS = [
    "/page/../app.py",
    "/page/..%2fapp.py",
    "/page/%2e%2e/app.py",
    "/page/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc/passwd",
    "/page//etc/passwd",
    "/page/..\\app.py",
    "/page/%5c..%5capp.py",
    "/page/%00",
    "/page/main.js%00.html",
    "/page/" + "a/" * 2000,
    "/examples/../../etc/passwd/prior.png",
    "/examples/%2e%2e/prior.png",
    "/examples/change/..%2f..%2fprior.png",
    "/%ff%fe",
    "/<script>alert(1)</script>",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out_of_the_page(client, path):
    response = client.get(path)
    assert response.status_code == 404
    assert "import" not in response.text
    assert "root:" not in response.text
    assert "<script>" not in response.text
    assert response.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("path", ["/page/", "/page", "/examples/"])
def test_no_folder_is_listed(client, path):
    assert "main.js" not in client.get(path).text


def form(parts):
    return client_form(b"".join(parts))


def client_form(body):
    return {"content": body + b"--x--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}


def part(name, content=b"x", file="a.png", more=b""):
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n'.encode()
    return head + more + b"\r\n" + content + b"\r\n"


HOSTILE = {
    "very many parts": [part("current")] * 20_000,
    "very many empty parts": [part("current", b"", "")] * 20_000,
    "very many fields": [part(f"field{number}") for number in range(5000)],
    "a header of a megabyte": [part("current", more=b"X-A: " + b"a" * 2**20 + b"\r\n")],
    "very many headers": [part("current", more=b"X-A: a\r\n" * 50_000)],
    "a name of a megabyte": [part("a" * 2**20)],
    "a name of a script": [part("<script>alert(1)</script>")],
    "a name that leads out": [part("../../etc/passwd")],
    "a header that never ends": [b"--x\r\nContent-Disposition: " + b"a" * 2**20],
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_a_form_of_too_much_is_refused(client, told, kind):
    response = client.post("/answer", **form(HOSTILE[kind]))
    assert 400 <= response.status_code < 500
    assert response.headers["content-type"] == "application/json"
    assert len(response.text) < 1000
    assert "<script>" not in response.text
    assert told.asked == []


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>.png", "../../x.png", "a\\r\\nSet-Cookie: x=1", "\x1b[2J.png", "x" * 100_000]
)
def test_the_name_of_a_file_comes_out_nowhere(client, files, name):
    response = client.post("/answer", **form([part("current", files["current"], name)]))
    assert response.status_code in (200, 400, 422)
    said = response.text + repr(response.headers)
    assert "onerror" not in said
    assert "Set-Cookie" not in said
    assert "\x1b" not in said


@pytest.mark.parametrize("boundary", ["", "a" * 100_000, "\xff", "x; boundary=y", '"', "--"])
def test_an_odd_boundary_is_refused(client, told, boundary):
    kind = b"multipart/form-data; boundary=" + boundary.encode("latin-1")
    response = client.post("/answer", content=part("current") + b"--x--\r\n", headers={b"Content-Type": kind})
    assert 400 <= response.status_code < 500
    assert told.asked == []


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "0x7f000001", "[::"]
)
@pytest.mark.parametrize("path", ["/answer", "/picture"])
def test_a_name_that_leads_here_sends_nothing(client, told, files, host, path):
    """DNS rebinding: the page of another site, which its owner lets point at this machine, is of one origin with it."""
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    response = client.post(path, files={"current": files["current"]}, headers=headers)
    assert response.status_code == 400
    assert told.asked == []


def test_the_page_writes_texts_as_texts():
    """No script of the page makes elements out of text, so that an answer or a file's name can be none."""
    from diffvqa.serving.app import PAGE

    for script in PAGE.glob("*.js"):
        text = script.read_text(encoding="utf-8")
        for way in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
        ):
            assert way not in text, script.name
