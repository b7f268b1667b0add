"""Answers to many pairs of radiographs, one line of JSON each, in the order of their rows."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffvqa import __version__
from diffvqa.answering.answerer import Answerer
from diffvqa.answering.batch.line_file import find_written, open_after
from diffvqa.answering.batch.pairs import PairRow, in_columns, read_pairs, require_files, stamps_of_images
from diffvqa.answering.case import Case, make_case
from diffvqa.errors import InputError
from diffvqa.files import digest_of
from diffvqa.images import UnreadableImage
from diffvqa.images.radiograph import Radiograph
from diffvqa.inference.asking import encode_question
from diffvqa.inference.hub import model_folder
from diffvqa.inference.model import EncodedImage
from diffvqa.progress import progress_bar
from diffvqa.runs import Claim
from diffvqa.sealed_folder import stamps_of
from diffvqa.workers import done_in_order

ROWS, IMAGES = 128, 32
"""Rows that are answered, and images that are read and encoded, at once. Bytes depend on it: rounding does."""

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """Arguments of `Answerer` that hold for all rows."""

    beams: int = 1
    trust_order: bool = False
    trust_identity: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The number of rows, the number of rows with a problem, and whether the file was complete before."""

    rows: int
    problems: int
    done_before: bool


def predict_pairs(
    model: Path,
    pairs: Path,
    out: Path,
    options: AnswerOptions | None = None,
    cluster: str | None = None,
    encoding: str | None = None,
) -> Outcome:
    """Answer the rows of a table of pairs into a file of JSON lines with mode 0600.

    A row without an answer has a `problem` instead. A stopped run continues after its last complete line. A finished
    file stays unchanged. cluster: the address of a Ray cluster that reads, encodes and answers. encoding: the encoding
    of the table, if it is not in Unicode.

    Raises InputError, for faults of the table before the model is loaded.
    """
    options = options or AnswerOptions()
    rows = read_pairs(pairs, encoding)
    settings = {**asdict(options), "diffvqa": __version__}
    folder = model_folder(model)
    stamps = stamps_of(folder)
    inputs = {"model": _digest(folder), "pairs": digest_of(pairs)}
    claim = Claim("predict", out, settings, inputs, is_file=True)
    ids = [row.id for row in rows]
    written = find_written(claim, ids)
    if written.lines == len(rows):
        return Outcome(len(rows), written.problems, done_before=True)
    require_files(rows)
    answerer = Answerer.from_pretrained(model)
    if stamps_of(folder) != stamps:
        raise InputError("its files were changed while they were being read; try again", argument="model")
    taken = answerer.model.priors
    if too_many := [row.number for row in rows if len(row.images) - 1 > taken]:
        raise InputError(
            f"the model takes {taken} priors at the most, but there are more in {len(too_many)} rows, the first of "
            f"them row {too_many[0]}",
            argument="pairs",
        )
    done, problems = written.lines, written.problems
    with open_after(claim, ids, written, stamps_of_images(rows)) as write, progress_bar("answer pairs") as progress:
        progress(done, len(rows))
        for lines in answer_rows(answerer, rows, done, options, cluster):
            write(lines)
            done, problems = done + len(lines), problems + sum("problem" in line for line in lines)
            progress(done, len(rows))
    return Outcome(len(rows), problems, done_before=False)


def answer_rows(
    answerer: Answerer, rows: Sequence[PairRow], done: int, options: AnswerOptions, cluster: str | None = None
) -> Iterator[list[Line]]:
    """The lines of the rows after the first `done`, some at a time.

    Every image is read and encoded once, however many rows show it, and is kept until the last of them. The lines do
    not depend on `done`, because rows and images are batched in the same way.
    """
    first = done // ROWS
    parts = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
    groups = _groups(parts, first)
    to_encode = ((answerer, group) for of_part in groups for group in of_part)
    encoded = done_in_order(_encode, to_encode, cluster=cluster, on_gpu=True)
    jobs = _jobs(answerer, parts, groups, first, encoded, options)
    for number, lines in enumerate(done_in_order(_answer, jobs, cluster=cluster, on_gpu=True), start=first):
        yield lines[max(0, done - number * ROWS) :]


def _groups(parts: Sequence[Sequence[PairRow]], first: int) -> list[list[list[Path]]]:
    """The images that are encoded for each part; before the first that is answered, only groups still needed."""
    needed = {path for part in parts[first:] for row in part for path in row.images.values()}
    encoded: set[Path] = set()
    groups = []
    for part in parts:
        shown = dict.fromkeys(path for row in part for path in row.images.values())
        new = [path for path in shown if path not in encoded]
        encoded.update(new)
        of_part = [new[place : place + IMAGES] for place in range(0, len(new), IMAGES)]
        groups.append([group for group in of_part if needed.intersection(group)])
    return groups


def _jobs(
    answerer: Answerer,
    parts: Sequence[Sequence[PairRow]],
    groups: Sequence[Sequence[Sequence[Path]]],
    first: int,
    encoded: Iterator[list[EncodedImage | str]],
    options: AnswerOptions,
) -> Iterator[tuple[Answerer, list[tuple[str, Case | str]], int]]:
    last = {path: number for number, part in enumerate(parts) for row in part for path in row.images.values()}
    kept: dict[Path, EncodedImage | str] = {}
    for number, (part, of_part) in enumerate(zip(parts, groups, strict=True)):
        for group in of_part:
            kept.update(zip(group, next(encoded), strict=True))
        if number >= first:
            yield answerer, [(row.id, _case(answerer, row, kept, options)) for row in part], options.beams
        kept = {path: image for path, image in kept.items() if last[path] > number}


def _encode(answerer: Answerer, paths: Sequence[Path]) -> list[EncodedImage | str]:
    """Each image as the model sees it, or what is wrong with its file."""
    with ThreadPoolExecutor() as threads:
        read = list(threads.map(_read, paths))
    radiographs = [one for one in read if isinstance(one, Radiograph)]
    encoded = iter(answerer.model.encode_radiographs(radiographs) if radiographs else ())
    return [next(encoded) if isinstance(one, Radiograph) else one for one in read]


def _read(path: Path) -> Radiograph | str:
    try:
        return Radiograph.from_file(path)
    except UnreadableImage as error:
        return str(error)


def _case(
    answerer: Answerer, row: PairRow, encoded: Mapping[Path, EncodedImage | str], options: AnswerOptions
) -> Case | str:
    """The case of a row, or the problem that it has."""
    images: dict[str, EncodedImage] = {}
    for name, path in row.images.items():
        image = encoded[path]
        if isinstance(image, str):
            return f"{in_columns(name)}: expected a PNG, JPEG or DICOM radiograph, found {image}"
        images[name] = image
    try:
        case = make_case(images, row.question, options.trust_order, options.trust_identity)
        encode_question(answerer.model.difference, case.question)
    except InputError as error:
        return error.render(in_columns)
    return case


def _answer(answerer: Answerer, rows: Sequence[tuple[str, Case | str]], beams: int) -> list[Line]:
    """The line of each row, given by its id and its case or problem.

    Questions of one length are asked together: a longer one would leave the answers to the others less room.
    """
    lines: dict[str, Line] = {}
    by_length: dict[int, list[tuple[str, Case]]] = defaultdict(list)
    for name, case in rows:
        if isinstance(case, str):
            lines[name] = {"id": name, "problem": case}
        else:
            by_length[len(encode_question(answerer.model.difference, case.question))].append((name, case))
    for asked in by_length.values():
        answers = answerer.answer([case for _, case in asked], beams)
        lines |= {name: {"id": name, **one.as_dict()} for (name, _), one in zip(asked, answers, strict=True)}
    return [lines[name] for name, _ in rows]


def _digest(model: Path) -> str:
    """The SHA-256 of all that answers depend on in a model folder, its captioner and what was measured of it."""
    digest = hashlib.sha256()
    for path in sorted(path for kind in ("*.json", "*.safetensors") for path in model.rglob(kind)):
        digest.update(f"{path.relative_to(model)} {digest_of(path)}\n".encode())
    return digest.hexdigest()
