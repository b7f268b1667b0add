"""The kinds of fault, each put into one run of a command at a place and a moment that a seed decides."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from diffvqa.evaluation.text_scores import NO_METEOR, NO_PTB
from faults.works import Work, empty, outcome_of

PATIENCE = 300
"""Seconds after which a command hangs; SIGTERM must end it within GRACE."""

GRACE = 20

SURVIVED, REFUSED, WRONG = "survived", "refused by name", "wrong"

OTHER_ROUNDING = "survived, with other rounding"
"""Where memory is short for a fast kernel, PyTorch takes another one, and says so."""


@dataclass(frozen=True)
class Ended:
    """How a command ended. status: as the system has it, negative for a signal; None where it hung and was killed."""

    status: int | None
    printed: str
    errors: str

    def trouble(self, may_die: bool = False) -> str | None:
        """What no fault may lead to, or None. may_die: of a signal, for the system may end a process."""
        if self.status is None:
            return "hangs"
        if "Traceback" in self.errors:
            return "traceback: " + self.errors.strip().splitlines()[-1][:100]
        if self.status < 0 and not may_die:
            return f"dies of signal {-self.status}"
        if self.status in (1, 2) and not any(line.startswith("error: ") for line in self.errors.splitlines()):
            return "fails without a word"
        return None


@dataclass(frozen=True)
class Place:
    """Where trials run. inputs: what works read. disk: the folder that they write to. expected: their outcomes.

    sizes, lasts: how many bytes each work leaves, and how many seconds it takes.
    """

    inputs: Path
    disk: Path
    expected: dict[str, str]
    sizes: dict[str, int]
    lasts: dict[str, float]

    @property
    def out(self) -> Path:
        """What a work is told to write."""
        return self.disk / "out"


Trial = Callable[[Place, Work, random.Random], tuple[str, str]]
"""What became of it, and where it is wrong the reason."""


def start(place: Place, work: Work, limit: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    """A run of a command, in a session of its own. limit: what the new process does before it begins."""
    return subprocess.Popen(
        work.command(place.inputs, place.out),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=limit,
    )


def end(process: subprocess.Popen[str], patience: float = PATIENCE) -> Ended:
    """Wait for a command; whatever is left of its session is ended."""
    try:
        printed, errors = process.communicate(timeout=patience)
        return Ended(process.returncode, printed, errors)
    except subprocess.TimeoutExpired:
        _end_session(process)
        return Ended(None, *process.communicate())
    finally:
        _end_session(process)


def _end_session(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def undisturbed(place: Place, work: Work) -> Ended:
    """A run without a fault."""
    return end(start(place, work))


def _settled(place: Place, work: Work, said: str = "") -> tuple[str, str]:
    """What became of a fault: the same command again must end as if there had been none, or say why it cannot.

    said: the errors of the run with the fault.
    """
    if not work.settles:
        empty(place.disk)
    ended = undisturbed(place, work)
    if trouble := ended.trouble():
        return WRONG, f"given again: {trouble}"
    if ended.status:
        return REFUSED, ""
    became, reason = _compared(place, work, ended, said)
    return became, f"given again, it {reason}" if reason else ""


def _said(work: Work, ended: Ended) -> str:
    """What a command prints is its outcome where it writes nothing; else it tells of its way, which differs."""
    return "" if work.settles else ended.printed


def _moment(place: Place, work: Work, random: random.Random) -> float:
    return random.uniform(0.05, 1.0) * place.lasts[work.name]


def killed(place: Place, work: Work, random: random.Random) -> tuple[str, str]:
    """SIGKILL at a random moment; then the same command again."""
    process = start(place, work)
    time.sleep(_moment(place, work, random))
    process.kill()
    # What it has started must end by itself.
    left = _processes_of(process.pid, GRACE)
    ended = end(process)
    if left:
        return WRONG, f"{left} processes outlive it"
    return _settled(place, work) if ended.status else _compared(place, work, ended)


def terminated(place: Place, work: Work, random: random.Random) -> tuple[str, str]:
    """SIGTERM at a random moment: it ends in time, with status 143; then the same command again."""
    process = start(place, work)
    time.sleep(_moment(place, work, random))
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    if process.poll() is None:
        end(process, 0)
        return WRONG, f"goes on for {GRACE} s after SIGTERM"
    left = _processes_of(process.pid, GRACE)
    ended = end(process)
    if left:
        return WRONG, f"{left} processes outlive it"
    if ended.status == 0:
        return _compared(place, work, ended)
    # Before the program has begun, the system ends it.
    if ended.status not in (143, -signal.SIGTERM):
        return WRONG, ended.trouble() or f"ends with status {ended.status}"
    if trouble := ended.trouble(may_die=True):
        return WRONG, trouble
    return _settled(place, work)


def on_a_full_disk(place: Place, work: Work, random: random.Random) -> tuple[str, str]:
    """A file system with too little space; then, with enough of it, the same command again."""
    with small_disk(place.disk, max(4096, int(place.sizes[work.name] * random.uniform(0.05, 0.95)))) as grow:
        ended = undisturbed(place, work)
        if trouble := ended.trouble():
            return WRONG, trouble
        if ended.status == 0:
            return _compared(place, work, ended)
        grow()
        return _settled(place, work)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """A file system of so many bytes mounted on a folder, and what lets it grow. Raises PermissionError."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        raise PermissionError("no file system can be mounted here")
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=2g", str(folder)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def with_a_flipped_bit(place: Place, work: Work, random: random.Random) -> tuple[str, str]:
    """One bit of one file that the command reads back is another; the same outcome, or the damage by name."""
    files = [path for name in work.reads for path in sorted((place.inputs / name).rglob("*")) if path.is_file()]
    return _flipped(place, work, random.choice([path for path in files if path.stat().st_size]), random)


def with_a_flipped_bit_of_its_own(place: Place, work: Work, random: random.Random) -> tuple[str, str]:
    """The command is killed; one bit of what it had written by then is another; then the same command again."""
    process = start(place, work)
    time.sleep(_moment(place, work, random))
    process.kill()
    end(process)
    written = [path for path in sorted(place.disk.rglob("*")) if path.is_file() and path.stat().st_size]
    if not written:
        return _settled(place, work)
    return _flipped(place, work, random.choice(written), random)


def _flipped(place: Place, work: Work, path: Path, random: random.Random) -> tuple[str, str]:
    kept = path.read_bytes()
    place_of_bit = random.randrange(8 * len(kept))
    damaged = bytearray(kept)
    damaged[place_of_bit // 8] ^= 1 << place_of_bit % 8
    path.write_bytes(damaged)
    try:
        became, reason = _settled(place, work)
    finally:
        if path.is_relative_to(place.inputs):
            path.write_bytes(kept)
    return became, f"{reason} ({path.name}, bit {place_of_bit})" if reason else ""


def twice(place: Place, work: Work, random: random.Random) -> tuple[str, str]:
    """The same command twice at about the same time: each ends well or is refused, and the outcome is one of them."""
    first = start(place, work)
    time.sleep(random.uniform(0, 0.7) * place.lasts[work.name])
    second = start(place, work)
    both = [end(first), end(second)]
    for ended in both:
        if trouble := ended.trouble():
            return WRONG, trouble
    if all(ended.status for ended in both):
        return WRONG, "neither of the two is done"
    return _settled(place, work)


def with_little_memory(place: Place, work: Work, random: random.Random) -> tuple[str, str]:
    """A limit on memory: it may die, but not hang nor leave anything that is taken for whole."""
    limit = int(random.uniform(0.2, 6) * 2**30)
    ended = end(start(place, work, lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))))
    if ended.status is None:
        return WRONG, f"hangs with {limit >> 20} MB"
    return _settled(place, work, ended.errors) if ended.status else _compared(place, work, ended)


def with_a_lost_worker(place: Place, work: Work, random: random.Random) -> tuple[str, str]:
    """A process that the command has started is killed or stopped: no hang; then the same command again."""
    process = start(place, work)
    until = time.monotonic() + _moment(place, work, random)
    children: list[psutil.Process] = []
    while process.poll() is None and (time.monotonic() < until or not children):
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.05)
    sent = random.choice((signal.SIGKILL, signal.SIGSTOP))
    if children and process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            random.choice(children).send_signal(sent)
    ended = end(process)
    if trouble := ended.trouble():
        return WRONG, f"{trouble} after {sent.name}"
    return _settled(place, work) if ended.status else _compared(place, work, ended)


def _compared(place: Place, work: Work, ended: Ended, said: str = "") -> tuple[str, str]:
    """What became of a run that has ended well in spite of a fault. said: the errors of an earlier run."""
    if outcome_of(place.disk, _said(work, ended)) == place.expected[work.name]:
        return SURVIVED, ""
    written = [path for name in ("metrics.json", "log.txt") for path in place.disk.rglob(name)]
    said = "\n".join([said, ended.printed, ended.errors, *(path.read_text(errors="replace") for path in written)])
    # A Java program that could not be run costs its scores alone, and the notes name them.
    if NO_PTB in said or NO_METEOR in said:
        return REFUSED, ""
    if "mkldnn_matmul failed" in said:
        return OTHER_ROUNDING, ""
    return WRONG, "ends well in another outcome"


def _processes_of(session: int, patience: float) -> int:
    """How many processes of a session are still there after that many seconds, at the most."""
    for _ in range(int(patience * 10)):
        left = [one for one in psutil.process_iter() if _is_alive_in(one, session)]
        if not left:
            return 0
        time.sleep(0.1)
    return len(left)


def _is_alive_in(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session and process.pid != session and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False


KINDS: dict[str, tuple[Trial, Callable[[Work], bool]]] = {
    "killed": (killed, lambda work: True),
    "SIGTERM": (terminated, lambda work: True),
    "full disk": (on_a_full_disk, lambda work: work.name not in ("score", "answer")),
    "a bit of what it reads": (with_a_flipped_bit, lambda work: bool(work.reads)),
    "a bit of what it wrote": (with_a_flipped_bit_of_its_own, lambda work: work.settles and work.name != "synth"),
    "two at once": (twice, lambda work: work.settles),
    "little memory": (with_little_memory, lambda work: True),
    "a worker lost": (with_a_lost_worker, lambda work: work.workers),
}
"""Each kind by its name, and which works it is for."""


def prepare_place(folder: Path, inputs: Path, works: tuple[Work, ...]) -> Place:
    """Run every work once without a fault: what it leaves, how long it takes, how large that is."""
    place = Place(inputs, folder / "disk", {}, {}, {})
    place.disk.mkdir()
    for work in works:
        begin = time.monotonic()
        ended = undisturbed(place, work)
        assert ended.status == 0, ended.errors
        place.lasts[work.name] = time.monotonic() - begin
        place.expected[work.name] = outcome_of(place.disk, _said(work, ended))
        place.sizes[work.name] = sum(path.stat().st_size for path in place.disk.rglob("*") if path.is_file())
        empty(place.disk)
    return place
