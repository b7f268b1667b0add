"""The program begins anew, once and with the same arguments, with jemalloc or large pages of memory."""

import os
import subprocess
import sys
from ctypes.util import find_library

import pytest

from diffvqa import __version__, allocator

JEMALLOC = "libjemalloc.so.2"


@pytest.fixture
def begun(monkeypatch, tmp_path):
    """How the process is begun anew: (program, arguments), a list with one entry at the most."""
    calls = []
    monkeypatch.setattr(os, "execv", lambda *call: calls.append(call))
    monkeypatch.setattr(allocator, "LARGE_PAGES", tmp_path / "enabled")
    monkeypatch.setattr(allocator, "find_library", lambda name: None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "utf8", "-m", "diffvqa", "answer"])
    for name in ("GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_CONF"):
        # Set first, so that what the program sets is taken back after the test.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    (tmp_path / "enabled").write_text("always [madvise] never\n")
    return calls


@pytest.fixture
def jemalloc(monkeypatch):
    """The library is installed."""
    monkeypatch.setattr(allocator, "find_library", {"jemalloc": JEMALLOC}.get)


AGAIN = (sys.executable, [sys.executable, "-X", "utf8", "-m", "diffvqa", "answer"])


def test_it_begins_anew_once_with_large_pages(begun):
    allocator.start_with_fast_memory()
    allocator.start_with_fast_memory()
    assert begun == [AGAIN]
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"


def test_it_begins_anew_once_with_jemalloc_where_that_is_installed(begun, jemalloc):
    allocator.start_with_fast_memory()
    allocator.start_with_fast_memory()
    assert begun == [AGAIN]
    assert (os.environ["LD_PRELOAD"], os.environ["MALLOC_CONF"]) == (JEMALLOC, "thp:always")
    assert "GLIBC_TUNABLES" not in os.environ


def test_settings_of_a_user_are_kept(begun, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1")
    allocator.start_with_fast_memory()
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=1:glibc.malloc.hugetlb=1"


def test_settings_of_jemalloc_are_kept(begun, jemalloc, monkeypatch):
    monkeypatch.setenv("MALLOC_CONF", "narenas:1")
    allocator.start_with_fast_memory()
    assert os.environ["MALLOC_CONF"] == "narenas:1"


@pytest.mark.parametrize("mode", ["[always] madvise never", "always madvise [never]", None])
def test_nothing_is_begun_where_pages_are_large_anyway_or_cannot_be(begun, tmp_path, mode):
    (tmp_path / "enabled").unlink() if mode is None else (tmp_path / "enabled").write_text(mode)
    allocator.start_with_fast_memory()
    assert begun == []


@pytest.mark.parametrize(("name", "value"), [("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0"), ("LD_PRELOAD", "")])
def test_what_a_user_has_decided_stays(begun, jemalloc, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    allocator.start_with_fast_memory()
    assert begun == []


def test_other_systems_are_left_alone(begun, jemalloc, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    allocator.start_with_fast_memory()
    assert begun == []


@pytest.mark.parametrize("preloaded", [None, ""])
def test_the_command_line_answers_as_it_did(preloaded):
    environment = {name: value for name, value in os.environ.items() if name not in ("GLIBC_TUNABLES", "LD_PRELOAD")}
    if preloaded is not None:
        environment["LD_PRELOAD"] = preloaded
    command = [sys.executable, "-m", "diffvqa", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, f"diffvqa {__version__}")


@pytest.mark.skipif(find_library("jemalloc") is None, reason="jemalloc is not installed")
def test_the_library_serves_the_program():
    environment = {name: value for name, value in os.environ.items() if name not in ("GLIBC_TUNABLES", "LD_PRELOAD")}
    program = "import diffvqa.allocator as one; one.start_with_fast_memory(); print(open('/proc/self/maps').read())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert ("libjemalloc" in done.stdout, done.stderr) == (True, "")
