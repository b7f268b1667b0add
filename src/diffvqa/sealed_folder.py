"""The digests of a folder's files, kept in its record: what was damaged or exchanged since is found on reading."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from diffvqa.errors import InputError, printable
from diffvqa.files import digest_of
from diffvqa.parsing import parse_json
from diffvqa.sealed import read_sealed, write_sealed

RECORD = "run.json"
"""The record in a run's folder."""

FILES = "files"
"""The key of a record under which the digests of the folder's files stand."""

KINDS = (".json", ".jsonl", ".safetensors", ".txt", ".model", ".jinja")
"""The kinds of files that a model is read from. A card, or what somebody lays beside it, is none of them."""

_WEIGHTS = "*.safetensors"
_READ_UNASKED = (
    _WEIGHTS, "*.index.json", "config.json", "*_config.json", "tokenizer*", "special_tokens_map.json",
    "added_tokens.json", "vocab*", "merges.txt", "*.model", "*.jinja",
)  # fmt: skip
"""Files that the libraries read anywhere in a model's folder: a sealed folder may get none of them."""


def digests_of(folder: Path, left_out: Collection[str] = ()) -> dict[str, str]:
    """The SHA-256 of a folder's files, those of its folders too, by their names in it, but for its own record.

    left_out: folders that do not belong to it. The record of a folder that is sealed itself stands for its files.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in left_out:
            inside = {RECORD: digest_of(path / RECORD)} if FILES in _read(path / RECORD) else digests_of(path)
            found |= {f"{path.name}/{name}": digest for name, digest in inside.items()}
        elif path.suffix in KINDS and path.is_file() and path.name != RECORD:
            found[path.name] = digest_of(path)
    return found


def seal(folder: Path, left_out: Collection[str] = ()) -> None:
    """Write the digests of a finished folder's files into its record, and before into those of folders in it.

    This serves folders whose files were changed on purpose. left_out: as of `digests_of`.
    """
    for path in folder.iterdir():
        if path.is_dir() and path.name not in left_out and _read(path / RECORD):
            seal(path)
    write_sealed(folder / RECORD, {**_read(folder / RECORD), FILES: digests_of(folder, left_out)})


Stamp = tuple[int, ...]
"""Properties of a file that change when it is written to or replaced."""


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """The files of a folder as they were found whole.

    weights: the SHA-256 of the weights, all their files as one, which is the version of the model. record: what the
    folder's record says, empty where there is none. stamps: by their names, those of the folder's files.
    """

    folder: Path
    argument: str
    weights: str
    record: Mapping[str, Any]
    stamps: Mapping[str, Stamp]

    @classmethod
    def read(cls, folder: Path, argument: str) -> FolderFiles:
        """Look at every file that the folder's record names, and at its weights; each is read once in a process.

        A folder without a record, or with one of an older version, is taken as it is. A folder in it that is gone as a
        whole is nothing that was damaged. Raises InputError, naming the file, for one that is damaged, missing or
        added, and for a record that is damaged.
        """
        try:
            stamps = stamps_of(folder)
            expected = (record := _record(folder, argument)).get(FILES, {})
            weights, whole = _weights(tuple((path, stamps[path.name]) for path in sorted(folder.glob(_WEIGHTS))))
            for name, digest in expected.items():
                if not (folder / name).parent.is_dir():
                    continue
                if name not in stamps:
                    raise _damaged(f"{printable(name)} is missing", argument)
                if digest != (weights.get(name) or _digest(folder / name, stamps[name])):
                    raise _damaged(f"{printable(name)} is damaged, or differs from the file in its record", argument)
        except OSError as error:
            raise InputError(f"a file of the folder cannot be read ({error.strerror})", argument=argument) from error
        own = [name for name in stamps if expected and "/" not in name]
        for name in own:
            if name not in (*expected, RECORD) and any(fnmatch(name, kind) for kind in _READ_UNASKED):
                raise InputError(
                    f"{printable(name)} is not in its record ({RECORD}); remove that file, or copy the folder again",
                    argument=argument,
                )
        return cls(folder, argument, whole, record, stamps)

    def require_unchanged(self) -> None:
        """Raises InputError where a file was written or exchanged since: what was read is then not known."""
        if stamps_of(self.folder) != self.stamps:
            raise InputError("its files were changed while they were being read; try again", argument=self.argument)


def stamps_of(folder: Path) -> dict[str, Stamp]:
    """The stamp of every file that a model may be read from, those in folders in it too, by its name in the folder."""
    found: dict[str, Stamp] = {}
    for path in folder.rglob("*"):
        if path.suffix in KINDS and path.is_file():
            now = path.stat()
            stamp = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
            found[str(path.relative_to(folder))] = stamp
    return found


def _record(folder: Path, argument: str) -> dict[str, Any]:
    """The record in a folder; empty if there is none. Raises InputError if it is damaged."""
    if not (folder / RECORD).exists():
        return {}
    try:
        record = read_sealed(folder / RECORD)
    except ValueError:
        record = {}
    files = record.get(FILES, {})
    if not (record and isinstance(files, dict) and all(isinstance(digest, str) for digest in files.values())):
        raise _damaged(f"its record ({RECORD}) is damaged", argument)
    return record


def _read(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@functools.lru_cache(maxsize=256)
def _digest(path: Path, stamp: Stamp) -> str:
    return digest_of(path)


@functools.lru_cache(maxsize=16)
def _weights(files: tuple[tuple[Path, Stamp], ...]) -> tuple[dict[str, str], str]:
    """The SHA-256 of each file of weights by its name, and that of all as one."""
    found, whole = {}, hashlib.sha256()
    for path, _ in files:
        alone = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                alone.update(chunk)
                whole.update(chunk)
        found[path.name] = alone.hexdigest()
    return found, whole.hexdigest()


def _damaged(what: str, argument: str) -> InputError:
    return InputError(f"{what}; copy the folder again, or have it made again", argument=argument)
