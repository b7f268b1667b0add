"""Files that are written whole or not at all, and what they hold as a number."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from diffvqa.errors import InputError, RunFailed

if TYPE_CHECKING:
    from PIL.Image import Image

UNFINISHED = ".unfinished"
"""How names end of files that count as not there."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def require_plain(path: Path) -> None:
    """Raises FileExistsError where something stands that may not be replaced: a link, a pipe, a device or a folder.

    It has the name that the file was to have, without its folder.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise FileExistsError(errno.EEXIST, "what stands there is no plain file", path.name)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file of another name to write to, which takes the place of `path` once it is on the disk.

    The name is the process's own, so that two that write the same file do not mix. Raises OSError as `require_plain`.
    """
    require_plain(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        require_plain(path)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_picture(path: Path, picture: Image) -> None:
    """Write a picture as PNG, whole or not at all, readable to its owner only: it may show a patient."""
    content = io.BytesIO()  # written by us: what Pillow says of a full disk is not that it is full
    picture.save(content, format="PNG")
    with replacing(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_bytes(content.getvalue())


@contextmanager
def writing_to(argument: str, what: str = "cannot be written there") -> Iterator[None]:
    """A context for writing a file: raises InputError, which names the argument, if the system refuses.

    Raises RunFailed if the disk is full.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise RunFailed(f"{what}: the disk is full; make room, and give the command again") from error
        raise InputError(f"{what} ({error.strerror}); give another path", argument=argument) from error


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk is full, or a user's share of it; libraries say so in texts of their own."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    text = str(error)
    # The words of safetensors, and of torch.save, which says only that a file cannot be written.
    torch_says = "iostream error" in text or ("inline_container" in text and "StreamReader" not in text)
    return torch_says or f"os error {errno.ENOSPC}" in text


def is_unfinished(path: Path) -> bool:
    """Whether a file was being written when its process ended."""
    return path.name.endswith(UNFINISHED)


_held = set[int]()


@contextmanager
def held(descriptor: int) -> Iterator[bool]:
    """Hold an open file or folder for this process alone, and close it at the end; whether that could be done.

    False: another process holds it. It counts as done on a file system without locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = True
    except OSError as error:
        is_ours = not isinstance(error, BlockingIOError)
    _held.add(descriptor)
    try:
        yield is_ours
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def _hold_nothing() -> None:
    """A forked process holds nothing: it may outlive the process that does."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_hold_nothing)


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """A new hidden folder in `out`, or beside it if it is not there; removed at the end, unless it was moved away.

    The folder that it lies in must be there. Raises InputError, which names `out`, where it cannot be made.
    """
    with writing_to("out", "cannot be made there"):
        place = out if out.exists() else out.parent
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=UNFINISHED, dir=place))
        work.chmod(0o755)
    with held(os.open(work, os.O_RDONLY)):
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def remove_abandoned(out: Path) -> None:
    """Remove the work folders of `out` that no process holds: those of processes that were killed."""
    for place in (out, out.parent):
        with suppress(OSError):
            for path in place.iterdir():
                if path.name.startswith(f".{out.name}.") and is_unfinished(path) and path.is_dir():
                    _remove_unless_held(path)


def _remove_unless_held(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return
    with suppress(OSError):
        # `held` does not serve: without locks, nobody knows that the file is abandoned.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)


def finished_in(folder: Path) -> list[Path]:
    """The names in a folder, without files that a process had not finished when it ended."""
    return [path for path in folder.iterdir() if not is_unfinished(path)]


def digest_of(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
