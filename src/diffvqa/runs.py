"""Runs: each claims a folder or a file, holds it alone while it lasts, and leaves a record there of what it was."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from diffvqa import __version__
from diffvqa.errors import InputError, RunFailed
from diffvqa.files import UNFINISHED, finished_in, held, is_full, require_plain
from diffvqa.sealed import read_sealed, write_sealed
from diffvqa.sealed_folder import RECORD
from diffvqa.workers import usable_cores

KEPT = "what was finished in `out` is kept, and the same command goes on from there"

Settings = Mapping[str, Any]

_IN_WORDS = {"encoder_digest": "encoder", "fingerprint": "cohort or size"}
"""How messages call keys of records that do not speak for themselves."""


def read_record(path: Path) -> dict[str, Any]:
    """The record in a file; empty where there is none that can be read, or it is damaged."""
    try:
        return read_sealed(path)
    except (OSError, ValueError):
        return {}


def differing_settings(before: Settings, now: Settings) -> list[str]:
    """The keys whose values differ; a key that is missing counts as None."""
    return sorted(_IN_WORDS.get(key, key) for key in {*before, *now} if before.get(key) != now.get(key))


@dataclass(frozen=True)
class Claim:
    """The identity of a run, and the folder that it writes.

    kind: the name of its command. out: its folder, or with `is_file` its file. settings: as JSON has them. inputs: by
    name the digest of what a setting leads to, such as that of a store. record: the file's name in the folder; the
    record of a file lies beside it and is called FILE.run.json. scratch:
    folders in `out` that only an unfinished run needs. differing: given the settings that
    a run was begun with and those of now, the names of those that forbid to go on.
    """

    kind: str
    out: Path
    settings: Settings
    inputs: Mapping[str, str] = field(default_factory=dict)
    record: str = RECORD
    is_file: bool = False
    scratch: tuple[str, ...] = ()
    differing: Callable[[Settings, Settings], list[str]] = differing_settings

    @property
    def record_path(self) -> Path:
        """The path of the record."""
        return self.out.with_name(f"{self.out.name}.{self.record}") if self.is_file else self.out / self.record

    def find(self) -> Run:
        """The run as it is there: not begun, unfinished or finished. Nothing is written, and nothing held.

        Raises InputError if something else is there, or a run with other settings or inputs.
        """
        self._require_plain()
        if _is_empty(self.out):
            return Run(self, {}, {}, finished=False)
        record = read_record(self.record_path)
        before = record.get("config")
        if not isinstance(before, dict):
            # Records of stores, evaluations, probes, studies and answers had settings and facts side by side once.
            before = {key: record[key] for key in self.settings if key in record}
        if not before:
            raise self.error("holds files that are no run of this program")
        differing = self.differing(before, self.settings)
        # Older records do not name every input.
        changed = [name for name, digest in self.inputs.items() if record.get(name, digest) != digest]
        differing += [f"what is in {_IN_WORDS.get(name, name)}" for name in changed]
        if record.get("kind", self.kind) != self.kind:
            differing = [f"kind: {record['kind']} there, {self.kind} given"]
        if differing:
            what = f"holds a run with other settings ({', '.join(differing)})"
            raise self.error(what, ", remove that one, or restore the settings to go on with it")
        # A run that was begun with fewer settings may be finished, but not with these.
        same = not differing_settings(before, self.settings)
        return Run(self, record, before, finished=same and bool(record.get("finished")))

    @contextmanager
    def held(self) -> Iterator[Run]:
        """Make the folder or the file, or find the run that is there; and hold it for this process alone.

        A run that ends before it is finished leaves a record of how long it took. Two runs are not kept apart on a file
        system without locks. Raises InputError as `find` does, if nothing can be written there, and if another process
        holds it; RunFailed if the disk is full.
        """
        self._require_plain()
        try:
            if not self.is_file:
                self.out.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.out, os.O_RDWR | os.O_CREAT if self.is_file else os.O_RDONLY, 0o600)
            if _is_empty(self.out):
                os.fchmod(descriptor, 0o600 if self.is_file else 0o700)
        except OSError as error:
            raise self.unusable(error) from error
        with self._alone(descriptor) as is_ours:
            if not is_ours:
                raise InputError("another run is writing there; wait for it, or end it", argument="out")
            run = self.find()
            if run.finished:
                run.discard()
            try:
                yield run
            except KeyboardInterrupt as stop:
                stop.add_note(KEPT)
                raise
            except Exception as error:
                if not is_full(error):
                    raise
                raise RunFailed(f"the disk is full; {KEPT}: make room first") from error
            finally:
                if run.is_begun and not run.finished:
                    with suppress(InputError):
                        run.write()

    @contextmanager
    def _alone(self, descriptor: int) -> Iterator[bool]:
        """Hold the open folder or file as `files.held` does, a folder on other machines, too: by a file in it.

        Network file systems know of locks on files that can be written to, not of those on folders.
        """
        with ExitStack() as stack:
            is_ours = stack.enter_context(held(descriptor))
            if is_ours and not self.is_file:
                path = self.out / f"{self.record}.lock{UNFINISHED}"
                # A folder where the lock cannot be made has no other writer.
                with suppress(OSError):
                    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                    is_ours = stack.enter_context(held(lock))
                    # Another run may have ended, and removed it, since it was opened.
                    is_ours = is_ours and os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(lock))
                    if is_ours:
                        stack.callback(path.unlink, missing_ok=True)
            yield is_ours

    def _require_plain(self) -> None:
        """Raises InputError where a link, a pipe or a device stands in the place of the file."""
        try:
            if self.is_file:
                require_plain(self.out)
        except FileExistsError as error:
            raise self.unusable(error) from error

    def error(self, what: str, advice: str = "") -> InputError:
        """The error that something is wrong with `out`."""
        noun, other = ("file", "name") if self.is_file else ("folder", "folder")
        return InputError(f"the {noun} {what}; give another {other}{advice}", argument="out")

    def unusable(self, error: OSError) -> InputError:
        """The error that nothing can be written there."""
        return self.error(f"cannot be made or written to ({error.strerror})")


class Run:
    """A run in its place, with its record.

    record: as it was found, empty where there was none. before: the settings that it was begun with, empty where it was
    not. finished: whether it is, with those of now.
    is_begun: whether this process has written its record.
    """

    def __init__(self, claim: Claim, record: Mapping[str, Any], before: Settings, finished: bool) -> None:
        self.claim, self.out, self.record, self.before, self.finished = claim, claim.out, record, before, finished
        self._facts: dict[str, Any] = {}
        self._since = time.monotonic()
        # None: it was begun by a version that did not record it.
        self._seconds_before = record.get("seconds") if record and not finished else 0.0
        self.is_begun = False

    def write(self, finished: bool = False, **facts: Any) -> None:
        """Write the record: what the run is, what is known of it so far, and what it runs on.

        Facts of before are kept. Raises InputError if it cannot be written.
        """
        self._facts |= facts
        self.is_begun, self.finished = True, finished
        before, spent = self._seconds_before, time.monotonic() - self._since
        versions = {"diffvqa": __version__, "python": platform.python_version()}
        versions |= {name: metadata.version(name) for name in ("torch", "transformers", "numpy")}
        record = {
            "kind": self.claim.kind,
            "finished": finished,
            **self.claim.inputs,
            **self._facts,
            "versions": versions,
            "git_commit": _git_commit(),
            "device": device_name(),
            "seconds": None if before is None else round(before + spent, 1),
            "date": date.today().isoformat(),
            "config": self.claim.settings,
        }
        try:
            write_sealed(self.claim.record_path, record)
        except OSError as error:
            if is_full(error):
                raise
            raise self.claim.unusable(error) from error

    def finish(self, **facts: Any) -> None:
        """Write the record of the finished run, and remove what only an unfinished one needs."""
        self.write(finished=True, **facts)
        self.discard()

    def discard(self) -> None:
        """Remove what only an unfinished run needs."""
        for name in self.claim.scratch:
            # A network file system keeps a folder as long as a file in it is mapped.
            shutil.rmtree(self.out / name, ignore_errors=True)


def device_name() -> str:
    """The device of this process: the GPU, or the processor's model, and the number of cores that it may use."""
    # torch computes on a GPU only after something has loaded it.
    torch = sys.modules.get("torch")
    name = f"CUDA {torch.cuda.get_device_name()}" if torch and torch.cuda.is_available() else f"CPU {_processor()}"
    return f"{name}, {usable_cores()} cores"


def _processor() -> str:
    with suppress(OSError):  # only Linux has the file
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def _git_commit() -> str | None:
    """The commit of the checkout that this package lies in, with `-dirty` where files were changed since.

    None where the package was installed, also into a folder of somebody else's checkout, and where there is no git.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _is_empty(path: Path) -> bool:
    """Whether nothing is there, or nothing in it, but for what a kill has left of a file."""
    if path.is_dir():
        return not finished_in(path)
    return not path.exists() or (path.is_file() and not path.stat().st_size)
