"""A table of pairs to a file of answers: the same as one by one, in order, each image once, and gone on with."""

import csv
import hashlib
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from diffvqa import cli
from diffvqa.answering import answer as answers
from diffvqa.answering.answerer import Answerer
from diffvqa.answering.batch import predict as batch
from diffvqa.answering.batch.line_file import find_written, open_after
from diffvqa.answering.batch.pairs import read_pairs
from diffvqa.answering.batch.predict import AnswerOptions, predict_pairs
from diffvqa.errors import InputError
from diffvqa.images.radiograph import Radiograph
from diffvqa.inference.model import FinetunedModel
from diffvqa.runs import RECORD, Claim, read_record

SCHEMA = json.loads((Path(answers.__file__).parent / "answer.schema.json").read_text(encoding="utf-8"))
QUESTIONS = (
    "",
    "is there edema?",
    "What has changed in the lung area?",
    "is there any evidence of a pleural effusion?",
)
PICTURES = 6


@pytest.fixture(scope="module")
def answerer(model_folder):
    return Answerer.from_pretrained(model_folder)


@pytest.fixture
def folder(tmp_path):
    """A folder with pictures `0.png`, `1.png` and so on."""
    random = np.random.default_rng(0)
    for number in range(PICTURES):
        pixels = random.integers(0, 256, (60 + number, 50), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """So few rows and images at once that there are several parts."""
    monkeypatch.setattr(batch, "ROWS", 3)
    monkeypatch.setattr(batch, "IMAGES", 2)


def write_table(folder, rows, columns=("id", "current", "prior", "question")):
    path = folder / "pairs.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.fixture
def pairs(folder):
    """Rows that share pictures, over parts, with all questions; one has no prior."""
    rows = [
        (
            f"row-{9 - number}",
            f"{number % PICTURES}.png",
            f"{(number + 1) % 4 + 2 * (number % 4 > 2)}.png",
            QUESTIONS[number % 4],
        )
        for number in range(9)
    ]
    rows = [
        (name, current, prior if prior != current else "5.png", question) for name, current, prior, question in rows
    ]
    rows[4] = (rows[4][0], rows[4][1], "", "is there edema?")
    return write_table(folder, rows)


def interrupt_at_second_part(monkeypatch):
    answer, calls = batch._answer, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return answer(*arguments)

    monkeypatch.setattr(batch, "_answer", interrupted)


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_lines_are_what_the_answerer_says_of_each_row(answerer, model_folder, pairs, tmp_path):
    out = tmp_path / "out.jsonl"
    outcome = predict_pairs(model_folder, pairs, out)
    assert (outcome.rows, outcome.problems, outcome.done_before) == (9, 0, False)
    rows, lines = read_pairs(pairs), lines_of(out)
    assert [line["id"] for line in lines] == [f"row-{9 - number}" for number in range(9)]
    for row, line in zip(rows, lines, strict=True):
        del line["id"]
        jsonschema.Draft202012Validator(SCHEMA).validate(line)
        alone = answerer(row.images["current"], row.images.get("prior"), row.question).as_dict()
        assert line.pop("confidence") == pytest.approx(alone.pop("confidence"), abs=1e-4)
        for found, expected in zip(line.pop("boxes"), alone.pop("boxes"), strict=True):
            assert found.pop("box") == pytest.approx(expected.pop("box"), abs=1e-3)
            assert found == expected
        assert line == json.loads(json.dumps(alone))


def test_every_image_is_read_and_encoded_once_and_let_go(model_folder, pairs, tmp_path, monkeypatch):
    read, encoded, kept = Counter(), [], []
    from_file, encode = Radiograph.from_file, FinetunedModel.encode_radiographs
    monkeypatch.setattr(Radiograph, "from_file", lambda path: read.update([path.name]) or from_file(path))
    noting_images = lambda self, some: encoded.extend(some) or encode(self, some)  # noqa: E731
    monkeypatch.setattr(FinetunedModel, "encode_radiographs", noting_images)
    jobs = batch._jobs

    def noting(*arguments):
        made = jobs(*arguments)
        for job in made:
            kept.append(set(made.gi_frame.f_locals["kept"]))
            yield job

    monkeypatch.setattr(batch, "_jobs", noting)
    (pairs.parent / "link.png").symlink_to(pairs.parent / "0.png")
    table = pairs.read_text(encoding="utf-8-sig").replace(",0.png", ",link.png", 1)
    pairs.write_text(table, encoding="utf-8")
    predict_pairs(model_folder, pairs, tmp_path / "out.jsonl")
    rows = read_pairs(pairs)
    assert read == Counter({path.name: 1 for row in rows for path in row.images.values()})
    assert len(encoded) == len(read)
    for number, there in enumerate(kept):
        later = {path for row in rows[number * batch.ROWS :] for path in row.images.values()}
        assert there <= later


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bytes_wherever_it_was_stopped(model_folder, pairs, tmp_path):
    """After any number of lines, and in the middle of one; also where an image of a written part is needed again."""
    whole = tmp_path / "whole.jsonl"
    predict_pairs(model_folder, pairs, whole)
    lines, found = whole.read_bytes().splitlines(keepends=True), read_record(tmp_path / f"whole.jsonl.{RECORD}")
    # Older versions wrote it without `config`.
    older = {**found["config"], "model": found["model"], "pairs": found["pairs"]}
    for number in range(len(lines)):
        before = b"".join(lines[:number])
        written = {"bytes": len(before), "sha256": hashlib.sha256(before).hexdigest()}
        stopped = {**found, "finished": False, "written": written}
        unrecorded = lines[number] if number == 1 else lines[number][:-1]
        for torn, record in ((b"", older), (unrecorded, stopped)):
            out = tmp_path / f"{number}-{len(torn)}.jsonl"
            out.write_bytes(before + torn)
            (tmp_path / f"{out.name}.{RECORD}").write_text(json.dumps(record))
            predict_pairs(model_folder, pairs, out)
            assert out.read_bytes() == whole.read_bytes()


def test_a_finished_file_is_left_alone_and_needs_no_images(model_folder, pairs, folder, tmp_path, monkeypatch):
    out = tmp_path / "out.jsonl"
    predict_pairs(model_folder, pairs, out)
    assert out.stat().st_mode & 0o777 == 0o600
    before = out.read_bytes(), out.stat().st_mtime_ns
    for picture in folder.glob("*.png"):
        picture.unlink()
    assert predict_pairs(model_folder, pairs, out).done_before
    assert (out.read_bytes(), out.stat().st_mtime_ns) == before


def test_a_file_of_other_settings_or_of_somebody_else_is_refused(model_folder, pairs, tmp_path):
    out = tmp_path / "out.jsonl"
    predict_pairs(model_folder, pairs, out)
    before = out.read_bytes()
    with pytest.raises(InputError, match=r"out: .*holds .* other settings \(beams, trust_order\)"):
        predict_pairs(model_folder, pairs, out, AnswerOptions(beams=2, trust_order=True))
    pairs.write_text(pairs.read_text().replace("edema", "a nodule", 1))
    with pytest.raises(InputError, match=r"out: .*holds .* other settings \(what is in pairs\)"):
        predict_pairs(model_folder, pairs, out)
    assert out.read_bytes() == before
    with pytest.raises(InputError, match="no run of this program"):
        predict_pairs(model_folder, pairs, pairs)
    with pytest.raises(InputError, match="no folder"):
        predict_pairs(model_folder, pairs, tmp_path / "none" / "out.jsonl")


def test_a_run_does_not_go_on_with_a_radiograph_that_was_exchanged(command, pairs, folder, tmp_path, monkeypatch):
    out = tmp_path / "out.jsonl"
    interrupt_at_second_part(monkeypatch)
    assert command(pairs, out)[0] == 130
    (folder / "0.png").write_bytes((folder / "1.png").read_bytes())
    status, printed = command(pairs, out)
    assert status == 2
    assert "--out: radiographs of the table have changed since the run began; restore them, or remove" in printed
    out.unlink()
    assert command(pairs, out)[0] == 0


@pytest.mark.parametrize("how", ["removed", "moved", "at the end"])
def test_answers_whose_file_is_gone_are_not_called_written(command, pairs, tmp_path, monkeypatch, how):
    out, answer, calls = tmp_path / "out.jsonl", batch._answer, []

    def taken_away(*arguments):
        calls.append(arguments)
        if len(calls) == (3 if how == "at the end" else 2):
            out.rename(tmp_path / "moved.jsonl") if how == "moved" else out.unlink()
        return answer(*arguments)

    monkeypatch.setattr(batch, "_answer", taken_away)
    status, printed = command(pairs, out)
    assert status == 1
    assert "error: the file of answers was moved or removed while it was written; give the command again" in printed
    assert "is written" not in printed


def claim_of(tmp_path, **settings):
    return Claim("predict", tmp_path / "lines.jsonl", settings, is_file=True)


@pytest.mark.parametrize("beams", [1, 2])
def test_what_another_process_has_written_since_is_kept(tmp_path, beams):
    ours, other, ids = claim_of(tmp_path, beams=1), claim_of(tmp_path, beams=beams), ["1", "2"]
    seen = find_written(ours, ids)
    with open_after(other, ids, find_written(other, ids), "") as write:
        write([{"id": "1"}])
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    with pytest.raises(InputError, match=r"^out: "), open_after(ours, ids, seen, ""):
        pass
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before


def test_a_file_that_was_begun_without_a_line_is_gone_on_with(tmp_path):
    claim = claim_of(tmp_path, beams=1)
    claim.out.touch(mode=0o644)
    with open_after(claim, ["1"], find_written(claim, ["1"]), "") as write:
        write([{"id": "1"}])
    assert claim.out.stat().st_mode & 0o777 == 0o600
    assert find_written(claim, ["1"]).lines == 1


def test_lines_that_are_not_those_of_the_rows_are_refused(model_folder, pairs, tmp_path):
    out = tmp_path / "out.jsonl"
    predict_pairs(model_folder, pairs, out)
    lines = out.read_text().splitlines(keepends=True)
    another_answer = lines[0].replace("0.", "1.", 1)
    assert another_answer != lines[0]
    for wrong in ([lines[1], *lines[1:]], [*lines, lines[-1]], [lines[0], "{\n"], [another_answer, *lines[1:]]):
        out.write_text("".join(wrong))
        with pytest.raises(InputError, match=r"out: the file has changed since it was written"):
            predict_pairs(model_folder, pairs, out)


EARLIER, LATER = {"StudyDate": "20230102"}, {"StudyDate": "20250101"}


@pytest.fixture
def bad(folder, write_dicom, phantom_pixels, secrets):
    """Rows of which only the second and the last can be answered, in a folder called after a patient."""
    place = folder / secrets[0]
    place.mkdir()
    files = {
        "current": write_dicom(place / "current.dcm", phantom_pixels["current"]),
        "prior": write_dicom(place / "prior.dcm", phantom_pixels["prior"], **EARLIER),
        "later": write_dicom(place / "later.dcm", phantom_pixels["prior"], **LATER),
        "other": write_dicom(place / "other.dcm", phantom_pixels["prior"], **EARLIER, PatientID="ID-4712"),
        "text": place / "text.png",
        "copy": place / "copy.dcm",
    }
    files["text"].write_text("no image")
    files["copy"].write_bytes(files["current"].read_bytes())
    names = ("text", "prior", "later", "other", "copy", "current", "prior")
    rows = [(f"{secrets[2]} {number}", files["current"], files[name], "") for number, name in enumerate(names)]
    rows[-1] = (*rows[-1][:3], "is there edema? " * 20)
    rows.append((f"{secrets[2]} 7", files["prior"], "", ""))
    return write_table(folder, rows)


PROBLEMS = (
    r"`prior`: expected a PNG, JPEG or DICOM radiograph, found not a PNG or JPEG",
    None,
    r"`prior` was taken later than `current`.*--trust-order",
    r"`prior` and `current` show different patients.*--trust-identity",
    r"`current` and `prior` show the same picture",
    r"`current` and `prior` show the same picture",
    r"`question`: expected fewer than \d+ tokens, found \d+",
    None,
)


@pytest.mark.parametrize("images", [1, 2])
def test_a_row_that_cannot_be_answered_says_why_and_stops_no_other(
    model_folder, bad, tmp_path, secrets, monkeypatch, images
):
    monkeypatch.setattr(batch, "IMAGES", images)
    out = tmp_path / "out.jsonl"
    outcome = predict_pairs(model_folder, bad, out)
    lines = lines_of(out)
    assert outcome.problems == 6
    for line, problem in zip(lines, PROBLEMS, strict=True):
        if problem is None:
            assert "text" in line
        else:
            assert set(line) == {"id", "problem"}
            assert re.search(problem, line["problem"])
            assert not any(secret in line["problem"] for secret in (*secrets, str(tmp_path)))
    trusted = tmp_path / "trusted.jsonl"
    assert predict_pairs(model_folder, bad, trusted, AnswerOptions(trust_order=True, trust_identity=True)).problems == 4
    assert all("text" in line for line in lines_of(trusted)[2:4])


@pytest.fixture
def command(model_folder, capfd):
    """Run `predict`: exit status and all that was printed."""

    def run(table, out, *more):
        old, sys.argv = sys.argv, ["diffvqa", "predict", str(model_folder), str(table), "--out", str(out), *more]
        try:
            cli.main()
        except SystemExit as end:
            status = end.code or 0
        finally:
            sys.argv = old
        return status, "".join(capfd.readouterr())

    return run


def test_the_command_counts_problems_and_prints_nothing_of_a_patient(command, bad, tmp_path, secrets):
    out = tmp_path / "out.jsonl"
    said = []
    for _ in range(2):
        status, printed = command(bad, out)
        assert status == 0
        assert "6 of 8 rows have a `problem` instead of an answer" in printed
        assert "patients' data" in printed
        said.append(printed)
    assert "already complete" in said[1]
    missing = bad.read_text(encoding="utf-8-sig").replace("text.png", "none.png")
    bad.write_text(missing, encoding="utf-8")
    status, printed = command(bad, tmp_path / "other.jsonl")
    assert status == 2
    said.append(printed)
    assert not any(secret in "".join(said) for secret in (*secrets, "20250101", str(tmp_path)))


def test_an_interrupted_run_keeps_its_lines(command, pairs, tmp_path, monkeypatch):
    out = tmp_path / "out.jsonl"
    interrupt_at_second_part(monkeypatch)
    status, printed = command(pairs, out)
    assert status == 130
    assert "interrupted; what was finished in `out` is kept, and the same command goes on" in printed
    assert "Traceback" not in printed
    assert len(lines_of(out)) == batch.ROWS
    assert command(pairs, out)[0] == 0
    assert len(lines_of(out)) == 9


def table(text):
    return lambda path: path.write_text(text, encoding="utf-8")


WRONG_TABLES = {
    "nothing": (lambda path: None, "PAIRS: no such file"),
    "empty": (table(""), "PAIRS: the table is empty"),
    "no rows": (table("current,prior\n\n"), "no rows"),
    "no header": (table("ID-4711.png,Nobody.png\n"), "no column `current`; the columns are id, current, prior"),
    "another column": (table("current,piror\n0.png,1.png\n"), "no column is called 'piror'; the columns are id"),
    "a header grown together with a row": (
        table("current,priorNobody^Known,a/0.png\n"),
        "no column is called as 2 of those that are there; the columns are id",
    ),
    "a column twice": (table("current,prior,prior\n0.png,1.png,2.png\n"), "twice"),
    "a pipe": (os.mkfifo, "PAIRS: expected a file, found a folder, a pipe or a device"),
    "no current": (table("current,prior\n0.png,1.png\n,1.png\n"), "row 3, `current`: empty"),
    "a gap": (table("current,prior,prior_2\n0.png,,1.png\n"), "row 2, `prior_2`: there is none before it"),
    "more cells": (table("current,prior\n0.png,1.png,ID-4711\n"), "row 2: 3 cells, the header has 2"),
    "an identifier twice": (
        table("id,current\nID-4711,0.png\nb,1.png\nID-4711,2.png\n"),
        "row 4, `id`: the same as in row 2",
    ),
    "no identifier": (table("id,current\n,0.png\n"), "row 2, `id`: empty"),
    "an open quotation": (
        table('current,question\n0.png,"is there edema?\n1.png,x\n'),
        "row 2, `question`: a line break",
    ),
    "change of one image": (
        table("current,question\n0.png,what has changed?\n"),
        "row 2, `question`: asks about a change",
    ),
    "a long question": (table(f"current,question\n0.png,{'x' * 501}\n"), "row 2, `question`: expected 1 to 500"),
    "missing files": (
        table("current,prior\n\n" + "Nobody.png,0.png\n" * 7),
        "7 of the files named are not there: row 3 `current`, row 4 `current`, .* and 2 more",
    ),
}


@pytest.mark.parametrize("kind", WRONG_TABLES)
def test_a_table_that_cannot_be_used_is_refused_before_the_model_is_loaded(command, folder, kind, monkeypatch, secrets):
    monkeypatch.setattr(Answerer, "from_pretrained", lambda *_: pytest.fail("the model was loaded"))
    make, expected = WRONG_TABLES[kind]
    make(folder / "pairs.csv")
    status, printed = command(folder / "pairs.csv", folder / "out.jsonl")
    assert status == 2
    assert re.search(expected, printed)
    assert len(printed.splitlines()) == 1
    assert not any(secret in printed for secret in (*secrets, str(folder)))
    assert not (folder / "out.jsonl").exists()


def test_rows_without_identifiers_are_called_by_their_number_and_quoted_cells_are_whole(folder):
    (folder / "a, b.png").write_bytes((folder / "0.png").read_bytes())
    path = folder / "pairs.csv"
    path.write_bytes(
        b'\xef\xbb\xbfprior,current\r\n\r\n"a, b.png",1.png\r\n,' + str(folder / "2.png").encode() + b"\r\n"
    )
    first, second = read_pairs(path)
    assert (first.id, first.images) == ("3", {"current": folder / "1.png", "prior": folder / "a, b.png"})
    assert (second.id, second.images) == ("4", {"current": folder / "2.png"})


def test_more_priors_than_the_model_takes_are_refused(model_folder, folder, tmp_path):
    columns = ("current", "prior", "prior_2")
    path = write_table(folder, [("0.png", "1.png", ""), ("0.png", "1.png", "2.png")], columns)
    with pytest.raises(
        InputError, match="takes 1 priors at the most, but there are more in 1 rows, the first of them row 3"
    ):
        predict_pairs(model_folder, path, tmp_path / "out.jsonl")


def test_a_table_of_another_encoding_is_refused_until_it_is_named(pairs):
    pairs.write_bytes("current,question\n0.png,für wen?\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"pairs: row 2: bytes that are not utf-8; .*`--encoding` of `predict`"):
        read_pairs(pairs)
    (row,) = read_pairs(pairs, "cp1252")
    assert row.question == "für wen?"


@pytest.mark.parametrize("missing", ["", "NaN", "NA", "<NA>", "null"])
def test_a_prior_that_is_missing_is_none(pairs, missing):
    pairs.write_text(f"current,prior,question,\n0.png,{missing},is there edema?,\n")
    (row,) = read_pairs(pairs)
    assert list(row.images) == ["current"]


@pytest.mark.parametrize("path", ["sub\\0.png", "sub/0.png", ".\\sub\\..\\sub\\0.png"])
def test_paths_may_be_written_with_either_stroke(pairs, path):
    pairs.write_text(f"current\n{path}\n")
    (row,) = read_pairs(pairs)
    assert row.images["current"] == pairs.parent.resolve() / "sub" / "0.png"
