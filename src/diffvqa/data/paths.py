"""File names that a dataset gives, kept inside its folder."""

from __future__ import annotations

import os
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from diffvqa.errors import InputError
from diffvqa.records import Problem, Source


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a file or a folder alone, and leads nowhere else."""
    return PurePosixPath(name).name == name == PureWindowsPath(name).name and name not in ("", ".", "..")


def written_alike(path: str) -> str:
    """A path as a table names it, with `/` between its parts whatever stands there, and no detour; "" stays ""."""
    return posixpath.normpath(path.replace("\\", "/")) if path else ""


def inside(folder: Path, path: str) -> Path | None:
    """A path relative to a folder (or an absolute one) as a whole path, or None if it leads out of the folder.

    Links are not followed: one that the folder holds may lead where it likes.
    """
    base = Path(os.path.abspath(folder))
    whole = Path(os.path.abspath(base / written_alike(path)))
    return whole if base in whole.parents and "\0" not in path else None


LARGEST_MEMBER = 2**26
"""Bytes of a text or a scene graph in an archive; the largest have a hundredth of that."""

UNREADABLE_MEMBER = (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""Errors that reading a damaged, encrypted or oddly packed member of an archive raises."""


def open_archive(path: Path) -> zipfile.ZipFile:
    """A zip archive to read from. Raises InputError for one that cannot be opened."""
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path.name}: not a zip archive that can be opened; fetch it again") from error


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a member of an archive. Raises the errors in UNREADABLE_MEMBER, or if the member is too large."""
    if archive.getinfo(name).file_size > LARGEST_MEMBER:  # no more is unpacked than is said there
        raise zipfile.BadZipFile("too large for a report or a scene graph")
    return archive.read(name)


def members_inside(archive: zipfile.ZipFile, name: str, suffix: str, problems: list[Problem]) -> Iterator[str]:
    """The members of an archive called `name` that end in `suffix`, without those that would unpack outside its folder.

    These are added to `problems`.
    """
    for member in archive.namelist():
        if member.endswith(suffix):
            path = PurePosixPath(member.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                problems.append(Problem("path_outside", Source(name), "a member whose path leads out of the archive"))
            else:
                yield member
