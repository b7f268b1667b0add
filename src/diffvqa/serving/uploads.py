"""A form with files, read into memory and nowhere else, and refused as soon as it is too large."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import HTTPException, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

LARGEST_FILE = 64 * 2**20
"""Bytes of one file."""

LARGEST_VALUE = 16 * 2**10
"""Bytes of a field that is no file; a question is much shorter."""

SECONDS = 60
"""How long a form may take to arrive."""

# It logs the content of damaged forms, which may be a patient's.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Form:
    """The contents of the files by the names of their fields, in order, and the other fields."""

    files: Mapping[str, list[bytes]]
    values: Mapping[str, str]


async def read_form(request: Request, files: Mapping[str, int], values: Collection[str] = ()) -> Form:
    """The form of a request. files: how many there may be, by field; values: the names of the other fields.

    Names and types that a browser gives for files are not looked at, but that a field without a choice has an empty one
    and no content: it is as if it were not there. Raises HTTPException: 415 for what is no such
    form, 413 for what is too large, 408 for what does not arrive, 400 for what ends too early, 422 for fields that are
    not expected.
    """
    content_type, options = parse_options_header(request.headers.get("content-type", ""))
    if content_type != b"multipart/form-data" or not options.get(b"boundary"):
        raise HTTPException(415, "expected a form of the type multipart/form-data, found another type of content")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > sum(files.values()) * LARGEST_FILE + (len(values) + 1) * LARGEST_VALUE:
        raise _too_large("the files", LARGEST_FILE)
    parts = _Parts(files, values)
    try:
        parser = MultipartParser(options[b"boundary"], parts.callbacks())
        async with asyncio.timeout(SECONDS):
            async for chunk in request.stream():
                parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise HTTPException(
            422, "expected a whole form of the type multipart/form-data, found a damaged one"
        ) from error
    except TimeoutError as error:
        raise HTTPException(408, f"the form did not arrive within {SECONDS} seconds") from error
    except ClientDisconnect as error:
        raise _broken_off() from error
    if not parts.whole:  # of which the parser says nothing by itself
        raise _broken_off()
    return parts.form()


class _Parts:
    """The callbacks of a form's parser."""

    def __init__(self, files: Mapping[str, int], values: Collection[str]) -> None:
        self._most = {**files, **dict.fromkeys(values, 1)}
        self._files = set(files)
        self._found: dict[str, list[bytes]] = {name: [] for name in self._most}
        self._header, self._value, self._disposition = bytearray(), bytearray(), b""
        self._name, self._content, self._chosen = "", bytearray(), False
        self.whole = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._add,
            "on_part_end": self._close,
            "on_end": self._end,
        }

    def form(self) -> Form:
        found = {name: contents for name, contents in self._found.items() if contents}
        try:
            values = {name: contents[0].decode() for name, contents in found.items() if name not in self._files}
        except UnicodeDecodeError as error:
            raise HTTPException(422, "expected fields in UTF-8, found bytes that are none") from error
        return Form({name: contents for name, contents in found.items() if name in self._files}, values)

    def _begin(self) -> None:
        self._disposition, self._content, self._chosen = b"", bytearray(), False

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _open(self) -> None:
        options = parse_options_header(self._disposition)[1]
        name = options.get(b"name", b"").decode(errors="replace")
        if name not in self._most:
            raise HTTPException(422, f"expected only the fields {', '.join(self._most)}, found another one")
        self._name = name
        if options.get(b"filename") != b"":
            self._choose()

    def _choose(self) -> None:
        """Take the part for a choice: it has a name, or a content; browsers send a field without one empty."""
        if not self._chosen and len(self._found[self._name]) == self._most[self._name]:
            raise HTTPException(422, f"{self._name}: expected at most {self._most[self._name]}, found more")
        self._chosen = True

    def _close(self) -> None:
        if self._chosen:
            self._found[self._name].append(bytes(self._content))

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._choose()
        limit = LARGEST_FILE if self._name in self._files else LARGEST_VALUE
        if len(self._content) + end - start > limit:
            raise _too_large(self._name, limit)
        self._content += data[start:end]

    def _end(self) -> None:
        self.whole = True


def _broken_off() -> HTTPException:
    return HTTPException(400, "the form ended before it was whole")


def _too_large(name: str, limit: int) -> HTTPException:
    allowed = f"a file may have {limit // 2**20} MB" if limit == LARGEST_FILE else f"at most {limit // 2**10} kB"
    return HTTPException(413, f"{name}: too large; {allowed}")
