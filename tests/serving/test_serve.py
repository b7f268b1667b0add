"""The command: what it prints, what it refuses with one line, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib import util
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from typer.testing import CliRunner

from diffvqa import cli
from diffvqa.answering.answer import NOTICE
from diffvqa.errors import InputError
from diffvqa.serving import serve as module
from diffvqa.serving.serve import as_sent, serve

ORIGIN = "https://rad.hospital.org"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(model_folder, number):
    command = [sys.executable, "-m", "diffvqa", "serve", str(model_folder), "--port", "0", "--origin", ORIGIN]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        first = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", first).group()
        assert process.stdout.readline() == f"{NOTICE}\n"
        assert f", reached as {ORIGIN}  (" in first
        with urlopen(Request(f"{address}/health", headers={"Host": urlsplit(ORIGIN).netloc}), timeout=60) as response:
            health = json.load(response)
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"{address}/patient-4711.dcm?name=Nobody", timeout=60)
    finally:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert health["status"] == "ready"
    assert str(model_folder) not in first
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_in_use_is_said_before_a_model_is_loaded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"^port: {port} is in use by another program"):
            serve(tmp_path, "127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "x" * 80, ".."])
def test_a_host_that_is_not_this_machine(tmp_path, host):
    with pytest.raises(InputError, match=r"^host: expected an address .* of this machine|^host: expected"):
        serve(tmp_path, host, 0)


def has_ipv6():
    with suppress(OSError), socket.create_server(("::", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "0", pytest.param("::", marks=pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6"))]
)
def test_every_address_is_refused_without_the_one_of_the_page(tmp_path, host):
    with pytest.raises(InputError, match=r"^host: .* stands for all of them: .* give one address, or origin"):
        serve(tmp_path, host, 0)
    with pytest.raises(InputError, match=r"^model"):  # which comes after it
        serve(tmp_path, host, 0, "https://rad.hospital.org")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://rad.hospital.org", "https://rad.hospital.org"),
        ("HTTPS://Rad.Hospital.org:443/", "https://rad.hospital.org"),
        ("http://localhost:9000", "http://localhost:9000"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_an_origin_becomes_what_browsers_send(given, sent):
    assert as_sent(given) == sent


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "rad.hospital.org",
        "ftp://rad.hospital.org",
        "https://",
        "https://rad.hospital.org/diffvqa",
        "https://rad.hospital.org?a",
        "https://me@rad.hospital.org",
        "https://rad.hospital.org:port",
        "https://[",
        "https://*.hospital.org",
    ],
)
def test_what_is_no_origin_is_refused(tmp_path, origin):
    with pytest.raises(InputError, match=r"^origin: expected the start of the page's address"):
        serve(tmp_path, "127.0.0.1", 0, origin)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may open any port")
def test_a_port_that_is_not_allowed(tmp_path):
    with pytest.raises(InputError, match=r"^port: 80 "):
        serve(tmp_path, "127.0.0.1", 80)


def test_a_folder_that_holds_no_model(tmp_path):
    with pytest.raises(InputError, match=r"^model"):
        serve(tmp_path, "127.0.0.1", 0)


def test_a_missing_extra_is_named_with_its_command(tmp_path, monkeypatch):
    found = util.find_spec
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "uvicorn" else found(name))
    with pytest.raises(InputError, match=r"pip install 'diffvqa\[serve\]'"):
        serve(tmp_path, "127.0.0.1", 0)


def test_the_command_line_needs_none_of_it():
    code = (
        "import sys\n"
        "from diffvqa.cli import main\n"
        "assert not {'fastapi', 'uvicorn', 'starlette', 'torch', 'diffvqa.serving'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert "serve" in CliRunner().invoke(cli.app, ["--help"]).output
