"""The program begins anew with large pages of memory where it must ask for them, once, with the same arguments."""

import os
import subprocess
import sys

import pytest

from diffvqa import __version__, huge_pages


@pytest.fixture
def begun(monkeypatch, tmp_path):
    """How the process is begun anew: (program, arguments), a list with one entry at the most."""
    calls = []
    monkeypatch.setattr(os, "execv", lambda *call: calls.append(call))
    monkeypatch.setattr(huge_pages, "MODE", tmp_path / "enabled")
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "utf8", "-m", "diffvqa", "answer"])
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    (tmp_path / "enabled").write_text("always [madvise] never\n")
    return calls


def test_it_begins_anew_once_with_the_same_arguments(begun):
    huge_pages.start_with_huge_pages()
    huge_pages.start_with_huge_pages()
    assert begun == [(sys.executable, [sys.executable, "-X", "utf8", "-m", "diffvqa", "answer"])]
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"


def test_other_settings_of_the_c_library_are_kept(begun, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1")
    huge_pages.start_with_huge_pages()
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=1:glibc.malloc.hugetlb=1"


@pytest.mark.parametrize("mode", ["[always] madvise never", "always madvise [never]", None])
def test_nothing_is_begun_where_pages_are_large_anyway_or_cannot_be(begun, tmp_path, mode):
    (tmp_path / "enabled").unlink() if mode is None else (tmp_path / "enabled").write_text(mode)
    huge_pages.start_with_huge_pages()
    assert begun == []


def test_what_a_user_has_decided_stays(begun, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    huge_pages.start_with_huge_pages()
    assert begun == []


def test_the_command_line_answers_as_it_did():
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-m", "diffvqa", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, f"diffvqa {__version__}")
