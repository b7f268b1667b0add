"""Inputs that went wrong on their way: files, questions and settings, each from a number that makes it again."""

import json
import random
import struct
import zlib

QUESTIONS = (
    "", " ", "what has changed compared to the reference image?", "What has changed?", "edema?", "é" * 200,
    "x" * 10_000,
    "\x00\x1b[31m", "\u202e\u2028\ud7ff", "'; drop table patients; --", "<image>" * 50, "😀" * 40, "\n" * 500,
)  # fmt: skip


def damage(content: bytes, seed: int) -> bytes:
    """A file's content with one kind of damage, or two."""
    generator = random.Random(seed)
    for _ in range(generator.choice((1, 1, 2))):
        content = generator.choice(KINDS)(bytearray(content), generator)
    return bytes(content)


def _flip(content, generator, until=None):
    for _ in range(generator.randint(1, 40)):
        if content:
            content[generator.randrange(min(len(content), until or len(content)))] = generator.randrange(256)
    return content


def _flip_header(content, generator):
    return _flip(content, generator, until=1500)


def _cut(content, generator):
    return content[: generator.randrange(len(content) + 1)]


def _leave_out(content, generator):
    start = generator.randrange(len(content) + 1)
    return content[:start] + content[start + generator.randint(1, 400) :]


def _repeat(content, generator):
    start = generator.randrange(len(content) + 1)
    return content[:start] + content[max(0, start - generator.randint(1, 2000)) :]


def _extreme(content, generator):
    """A number in the first part of the file as large, or as negative, as its bytes can say."""
    if len(content) > 8:
        place = generator.randrange(min(len(content) - 4, 1500))
        size = generator.choice((2, 4))
        content[place : place + size] = generator.choice((b"\xff", b"\x7f", b"\x80", b"\x00")) * size
    return content


def _noise(content, generator):
    return bytearray(generator.randbytes(generator.choice((0, 1, 131, 132, 5000))))


def _noise_behind_the_beginning(content, generator):
    return content[: generator.choice((8, 132, 140, 300))] + generator.randbytes(3000)


KINDS = (
    _flip, _flip, _flip_header, _flip_header, _cut, _leave_out, _repeat, _extreme, _extreme, _noise,
    _noise_behind_the_beginning,
)  # fmt: skip


def png_of_any_size(seed: int) -> bytes:
    """A PNG file, its checksums right, that announces any size and holds a few rows at the most."""
    generator = random.Random(seed)
    sides = [generator.choice((0, 1, 15, 64, 20_000, 2**31 - 1)) for _ in range(2)]
    header = struct.pack(">IIBBBBB", *sides, generator.choice((1, 8, 16, 77)), generator.choice((0, 2, 3, 6)), 0, 0, 0)
    rows = zlib.compress(bytes(generator.choice((10, 10_000_000))))
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    body = (struct.pack(">I", len(data)) + kind + data + _checksum(kind + data) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def _checksum(content):
    return struct.pack(">I", zlib.crc32(content))


def damage_json(text: str, seed: int) -> str:
    """JSON with a value exchanged, left out or added, or text that is none any more."""
    generator = random.Random(seed)
    if generator.random() < 0.25:
        return damage(text.encode(), seed).decode("utf-8", errors="replace")
    whole = json.loads(text)
    part = whole
    while isinstance(part, dict) and part:
        key = generator.choice(sorted(part))
        if isinstance(part[key], dict) and part[key] and generator.random() < 0.7:
            part = part[key]
            continue
        if generator.random() < 0.3:
            del part[key]
        else:
            part[key] = generator.choice((None, -1, 0, 3, 10**9, 1e300, "", "x" * 1000, [], {}, [[1]], True, "nan"))
        break
    return json.dumps(whole)


CELLS = (
    "", " ", "NA", "NaN", "<NA>", "null", "None", "0", "-1", "1e400", "1e-400", "inf", "9" * 400, "1.5", "07", "\u0661",
    "2024-02-30", "2024-01-31T25:00", "0001-01-01T00:00+14:00", "9999-12-31T23:59:60Z", "20240131", "31.01.2024",
    "\ufffd", "?", "\u202e", "\U0001f600", "\u0130", "e\u0301" * 50,
    "\x00", "\x1b[31m", "\r", "a\nb", "a\n1,2,3,4,5,6,7,8", '"', '""', "'", ",", ";", "\t", "=1+1", "{current}", "%s",
    "..", "../../etc/passwd", "/etc/passwd", "C:\\x\\y", "a" * 5000, "x\\..\\y", "/dev/zero", "~", "nul",
    "LATERAL", "LLD", "HAND", "CT", "train", "TEST", "difference", "1.23457E+17",
)  # fmt: skip
"""What may stand in a cell, or in an element of a header, that it was not meant for."""


def damage_table(rows: list[list[str]], seed: int) -> bytes:
    """A table with cells, rows, columns, its separators, its encoding or its bytes not as they should be."""
    generator = random.Random(seed)
    rows = [list(row) for row in rows]
    for _ in range(generator.choice((0, 1, 1, 2, 4))):
        generator.choice((_other_cell, _other_cell, _other_cell, _twice, _without, _swap))(rows, generator)
    separator = generator.choice((",",) * 8 + (";", "\t", ", "))
    end = generator.choice(("\n",) * 4 + ("\r\n", "\r", "\n\n", ",\n"))
    bare = generator.random() < 0.1
    text = end.join(separator.join(cell if bare else _quoted(cell) for cell in row) for row in rows) + end
    encoding = generator.choice(("utf-8",) * 6 + ("utf-8-sig", "utf-16", "utf-32", "cp1252", "utf-16-le", "cp037"))
    content = text.encode(encoding, errors="replace")
    return damage(content, seed) if generator.random() < 0.4 else content


def _quoted(cell):
    odd = any(mark in cell for mark in ',"\r\n;\t')
    return '"' + cell.replace('"', '""') + '"' if odd else cell


def _other_cell(rows, generator):
    row = generator.choice(rows)
    if row:
        row[generator.randrange(len(row))] = generator.choice(CELLS)


def _twice(rows, generator):
    place = generator.randrange(len(rows))
    if generator.random() < 0.5:
        rows.insert(generator.randrange(len(rows) + 1), list(rows[place]))
    else:
        column = generator.randrange(max(map(len, rows)))
        for row in rows:
            row.extend(row[column : column + 1])


def _without(rows, generator):
    if generator.random() < 0.5 and len(rows) > 1:
        del rows[generator.randrange(len(rows))]
    else:
        column = generator.randrange(max(map(len, rows)))
        for row in rows:
            del row[column : column + 1]


def _swap(rows, generator):
    generator.shuffle(generator.choice(rows))


def damage_sentence(sentence: str, seed: int) -> str:
    """Words left out, said again, exchanged, joined, or not of the language at all."""
    generator = random.Random(seed)
    words = sentence.split(" ")
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(len(words))
        kind = generator.randrange(5)
        if kind == 0:
            words.insert(place, generator.choice(words) * generator.choice((1, 1, 40)))
        elif kind == 1:
            words[place] = generator.choice((*CELLS, *QUESTIONS, "and", "no", "from", "to", ".", ","))
        elif kind == 2 and len(words) > 1:
            del words[place]
        elif kind == 3:
            generator.shuffle(words)
        else:
            words *= generator.choice((1, 2, 30))
    return generator.choice((" ", " ", "", "\n", ". ", ", ")).join(words)[:5000]
