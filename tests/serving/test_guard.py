"""Who may ask: by which names, from which pages; and what comes with every response."""

import pytest
from fastapi.testclient import TestClient

from diffvqa.serving.app import create_app

PAGES = ("/", "/docs", "/openapi.json", "/health", "/examples", "/page/main.js")


@pytest.mark.parametrize("path", [path for path in PAGES if path != "/health"])
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost@evil.example", "", "[", "0.0.0.0"],
)
def test_another_name_is_refused(client, path, host):
    response = client.get(path, headers={"Host": host})
    assert response.status_code == 400
    assert "diffvqa" not in response.text


@pytest.mark.parametrize("host", ["10.0.0.7:8000", "diffvqa.default.svc", "0.0.0.0", ""])
def test_health_may_be_asked_for_by_any_name(client, host):
    for ask in (client.get, client.head):
        assert ask("/health", headers={"Host": host}).status_code == 200
    assert client.post("/health", headers={"Host": host}).status_code == 400
    assert client.get("/health/", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("path", [*PAGES, "/examples/change/prior.png", "/nowhere", "/answer"])
def test_head_is_get_without_a_body(client, path):
    asked, got = client.head(path), client.get(path)
    assert asked.content == b""
    assert asked.status_code == got.status_code
    assert asked.headers["content-type"] == got.headers["content-type"]
    assert asked.headers["content-length"] == str(len(got.content))
    assert asked.headers["cache-control"] == "no-store"


def test_head_is_refused_as_get_is(client):
    assert client.head("/", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000"])
def test_the_names_of_this_machine_are_known(client, host):
    assert client.get("/health", headers={"Host": host}).status_code == 200


def test_the_given_host_is_known(told):
    with TestClient(create_app(told, hosts=["Reading-Room"]), base_url="http://reading-room:8000") as client:
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("path", ["/answer", "/picture"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:9000"},
        {"Origin": "https://127.0.0.1:8000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_of_another_site_sends_nothing(client, told, files, path, headers):
    sent = {"current": files["current"]} if path == "/answer" else {"image": files["current"]}
    response = client.post(path, files=sent, headers=headers)
    assert response.status_code == 403
    assert told.asked == []
    assert "access-control-allow-origin" not in response.headers


def test_a_page_of_another_site_may_not_even_ask(client):
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    assert client.options("/answer", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}],
)
def test_the_own_page_and_programs_may_send(client, files, headers):
    assert client.post("/answer", files=files, headers=headers).status_code == 200


@pytest.fixture
def client_in_front(told):
    """As asked through a server in front, which the page is reached by."""
    with TestClient(create_app(told, origin="https://rad.hospital.org"), base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "rad.hospital.org", "RAD.hospital.org:443"])
def test_the_page_behind_a_server_in_front_may_send(client_in_front, files, host):
    headers = {"Host": host, "Origin": "https://rad.hospital.org", "Sec-Fetch-Site": "same-origin"}
    assert client_in_front.post("/answer", files=files, headers=headers).status_code == 200
    assert client_in_front.get("/", headers={"Host": host}).status_code == 200


def test_the_page_of_this_machine_may_send_beside_it(client_in_front, files):
    headers = {"Origin": "http://127.0.0.1:8000"}
    assert client_in_front.post("/answer", files=files, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "https://rad.hospital.org.evil.example", "https://rad.hospital.org:8443", "null", ""],
)
def test_a_page_of_another_site_sends_nothing_through_a_server_in_front(client_in_front, told, files, origin):
    headers = {"Host": "rad.hospital.org", "Origin": origin}
    assert client_in_front.post("/answer", files=files, headers=headers).status_code == 403
    headers = {"Origin": "https://rad.hospital.org", "Sec-Fetch-Site": "cross-site"}
    assert client_in_front.post("/answer", files=files, headers=headers).status_code == 403
    assert client_in_front.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert told.asked == []


@pytest.mark.parametrize("path", [*PAGES, "/nowhere", "/page/../app.py", "/examples/change/prior.png"])
def test_every_response_is_strict(client, path):
    headers = client.get(path).headers
    policy = dict(entry.split(" ", 1) for entry in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert {policy["script-src"], policy["style-src"], policy["connect-src"]} == {"'self'"}
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_refusals_are_strict_too(client):
    for response in (client.get("/", headers={"Host": "x"}), client.post("/answer", headers={"Origin": "x"})):
        assert response.headers["cache-control"] == "no-store"
