"""On a busy machine threads sleep while they wait; how many there are stays as it is."""

import os

import pytest

from diffvqa import threads


@pytest.fixture
def machine(monkeypatch):
    """`machine(cores, usable, load)`: what the system says."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "")
    monkeypatch.delenv("OMP_WAIT_POLICY")

    def machine(cores, usable, load):
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
        monkeypatch.setattr(threads, "usable_cores", lambda: usable)

    return machine


@pytest.mark.parametrize(
    ("cores", "usable", "load", "policy"),
    [
        (16, 16, 0.3, None),
        (16, 16, 7.0, None),
        (16, 16, 9.0, "PASSIVE"),
        (16, 16, 40.0, "PASSIVE"),
        # Others compute on other cores.
        (128, 4, 100.0, None),
        (128, 4, 127.0, "PASSIVE"),
        (1, 1, 0.0, None),
    ],
)
def test_threads_sleep_where_others_need_the_cores(machine, cores, usable, load, policy):
    machine(cores, usable, load)
    threads.share_cores()
    assert os.environ.get("OMP_WAIT_POLICY") == policy


def test_what_a_user_says_stays(machine, monkeypatch):
    machine(4, 4, 4.0)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    threads.share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
