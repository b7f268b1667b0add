"""Uploaded files decoded in a process of their own: one that hangs or fills the memory takes nothing else with it.

That process reads files of strangers, and sends JSON and grey values only. Connections would unpickle objects, and so
run whatever it sends.
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
from pydantic import TypeAdapter

from diffvqa.errors import InputError
from diffvqa.images.header import Header
from diffvqa.images.orientation import Orientation
from diffvqa.images.radiograph import Radiograph, read_radiograph

SECONDS = 60
"""How long a file may take; the largest radiographs take a few."""

MEMORY = 4 * 2**30
"""Bytes of address space: twice what a file of the most pixels allowed was seen to take."""


@dataclass(frozen=True, slots=True)
class _Read:
    """The facts about a radiograph that precede its grey values."""

    height: int
    width: int
    header: Header | None
    orientation: Orientation


_REPLY = TypeAdapter(_Read | str)
_IN_VAIN = (
    "expected a PNG, JPEG or DICOM radiograph, found a file that cannot be decoded in the time and memory that there "
    "is; give another file"
)


class Decoder:
    """Decodes one file after the other. Its process is started by the first, and anew after one that ended it.

    memory: bytes of address space that it may take.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._turn = threading.Lock()
        self._process: multiprocessing.process.BaseProcess | None = None

    def __call__(self, content: bytes, field: str) -> Radiograph:
        """The radiograph in a file of that content. Raises InputError, naming the field."""
        with self._turn:
            try:
                self._start()
                self._connection.send_bytes(content)
                found = self._found()
            except (EOFError, OSError, ValueError):  # it has ended, hangs, or sent what it should not
                self._stop()
                found = _IN_VAIN
        if isinstance(found, Radiograph):
            return found
        raise InputError(found, argument=field)

    def close(self) -> None:
        """End the process."""
        with self._turn:
            self._stop()

    def _found(self) -> Radiograph | str:
        reply = _REPLY.validate_json(self._received())
        if isinstance(reply, str):
            return reply
        pixels = np.frombuffer(self._received(), np.uint8).reshape(reply.height, reply.width)
        return Radiograph(pixels, reply.header, reply.orientation)

    def _received(self) -> bytes:
        if not self._connection.poll(SECONDS):
            raise EOFError
        return self._connection.recv_bytes(self._memory)  # more it cannot have

    def _start(self) -> None:
        if self._process and self._process.is_alive():
            return
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_decode, args=(other, self._memory), daemon=True)
        self._process.start()
        other.close()

    def _stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = None


def _decode(connection: Connection, memory: int) -> None:
    """The loop of the process: each content becomes a radiograph, or the reason why it cannot be read."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the server's to handle
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    while True:
        try:
            content = connection.recv_bytes()
        except EOFError:
            return
        found = read(content)
        if isinstance(found, str):
            connection.send_bytes(_REPLY.dump_json(found))
        else:
            height, width = found.stored.shape
            connection.send_bytes(_REPLY.dump_json(_Read(height, width, found.header, found.orientation)))
            connection.send_bytes(found.stored.tobytes())


def read(content: bytes) -> Radiograph | str:
    """The radiograph in a file of that content, or what is wrong with it."""
    try:
        return read_radiograph(content)
    except InputError as error:
        return str(error)
    except Exception:  # out of memory, or what nobody has thought of, with words that are not to be shown
        return _IN_VAIN
