"""The command: what it prints, what it refuses with one line, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from importlib import util
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from diffvqa import cli
from diffvqa.answering.answer import NOTICE
from diffvqa.errors import InputError
from diffvqa.serving import serve as module
from diffvqa.serving.serve import serve


def test_it_serves_until_interrupted(model_folder):
    command = [sys.executable, "-m", "diffvqa", "serve", str(model_folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        first = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", first).group()
        assert process.stdout.readline() == f"{NOTICE}\n"
        with urlopen(f"{address}/health", timeout=60) as response:
            health = json.load(response)
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"{address}/patient-4711.dcm?name=Nobody", timeout=60)
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert health["status"] == "ready"
    assert str(model_folder) not in first
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_in_use_is_said_before_a_model_is_loaded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"^--port: {port} is in use by another program"):
            serve(tmp_path, "127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "x" * 80, ".."])
def test_a_host_that_is_not_this_machine(tmp_path, host):
    with pytest.raises(InputError, match=r"^--host: expected an address .* of this machine|^--host: expected"):
        serve(tmp_path, host, 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may open any port")
def test_a_port_that_is_not_allowed(tmp_path):
    with pytest.raises(InputError, match=r"^--port: 80 "):
        serve(tmp_path, "127.0.0.1", 80)


def test_a_folder_that_holds_no_model(tmp_path):
    with pytest.raises(InputError, match=r"^MODEL"):
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
