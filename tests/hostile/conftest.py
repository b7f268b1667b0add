"""What is watched while something hostile is read: nothing is run, asked for, or read from another machine."""

import builtins
import pickle
import shutil
import socket

import pytest

from diffvqa.sealed_folder import seal


class Bomb:
    """What leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def marker(tmp_path):
    """The file that hostile code would leave."""
    return tmp_path / "code was run"


@pytest.fixture
def bomb(marker):
    """A pickle that leaves the marker."""
    return pickle.dumps(Bomb(marker))


@pytest.fixture
def code(marker):
    """A module that leaves the marker when it is imported."""
    return f"open({str(marker)!r}, 'w')\nclass Hostile:\n    pass\n"


@pytest.fixture(autouse=True)
def watched(marker, monkeypatch):
    """Fails the test where code was run, a question was asked on the terminal, or another machine was spoken to."""
    done = []

    def asked(*_):
        done.append("a question was asked")
        return "y"

    def connected(self, address):
        if self.family != socket.AF_UNIX:
            done.append("another machine was spoken to")
        raise OSError("no network in tests")

    monkeypatch.setattr(builtins, "input", asked)
    monkeypatch.setattr(socket.socket, "connect", connected)
    yield
    assert done == []
    assert not marker.exists()


@pytest.fixture
def copy_of(tmp_path):
    """`copy_of(folder)`: a copy that may be changed; `copy_of(folder, change)`: changed, with digests that fit it."""

    def copy(folder, change=None):
        copied = shutil.copytree(folder, tmp_path / "hostile model", ignore=shutil.ignore_patterns("encoder"))
        if change:
            change(copied)
            seal(copied)
        return copied

    return copy
