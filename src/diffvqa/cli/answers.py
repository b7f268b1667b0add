"""Commands that ask a model about a user's own files."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from diffvqa.cli.application import NOTICE, app
from diffvqa.cli.arguments import Cluster, Model, TrustIdentity, TrustOrder
from diffvqa.cli.dicom_output import read_dicom_sources, save_dicom
from diffvqa.cli.pictures import require_new_picture, save_picture
from diffvqa.errors import InputError, require_text


@app.command(rich_help_panel="Answers")
def answer(
    model: Model,
    current: Annotated[Path, typer.Option(help="the current radiograph: PNG, JPEG or DICOM")],
    prior: Annotated[
        list[Path] | None,
        typer.Option(help="the prior radiograph: PNG, JPEG or DICOM; repeat the option for earlier ones"),
    ] = None,
    question: Annotated[
        str | None, typer.Option(help="the question; if not given: what has changed, or what one image shows")
    ] = None,
    beams: Annotated[int, typer.Option(min=1, max=64, help="beams of the beam search; 1 is greedy")] = 1,
    trust_order: TrustOrder = False,
    trust_identity: TrustIdentity = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    overlay: Annotated[Path | None, typer.Option(help="write the images with their boxes to this PNG")] = None,
    dicom_sr: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="write a DICOM structured report and a key image into this folder"),
    ] = None,
) -> None:
    """Answer a question about one radiograph, or about the changes since a prior one."""
    with _imports():
        from diffvqa.answering.answer_text import answer_lines
        from diffvqa.answering.answerer import Answerer
        from diffvqa.answering.image_files import name_files
        from diffvqa.answering.overlay import draw_answer
        from diffvqa.images.radiograph import read_radiograph

    require_new_picture("overlay", overlay, current, *(prior or []))
    elements: tuple[str, ...] = ()
    if dicom_sr:
        from diffvqa.answering.dicom.sources import ELEMENTS

        elements = ELEMENTS
    files = name_files(current, prior)
    radiographs = {name: read_radiograph(file, name, elements) for name, file in files.items()}
    sources = read_dicom_sources(model, radiographs, question) if dicom_sr else None
    result = Answerer.from_pretrained(model)(
        current=radiographs["current"],
        prior=[radiograph for name, radiograph in radiographs.items() if name != "current"],
        question=question,
        beams=beams,
        trust_order=trust_order,
        trust_identity=trust_identity,
    )
    # First: a picture that cannot be written takes no answer with it.
    print(json.dumps(result.as_dict(), indent=2, allow_nan=False) if as_json else "\n".join(answer_lines(result)))
    if overlay:
        save_picture(draw_answer(result, radiographs), "overlay", overlay)
    if dicom_sr and sources:
        save_dicom(result, sources, radiographs, dicom_sr)


@app.command(rich_help_panel="Answers")
def predict(
    model: Model,
    pairs: Annotated[
        Path,
        typer.Argument(metavar="PAIRS.csv", help="a table with one pair a row; columns: current, prior, question, id"),
    ],
    out: Annotated[
        Path, typer.Option(metavar="JSONL", help="file of answers, one a line; a stopped run continues there")
    ],
    beams: Annotated[int, typer.Option(min=1, max=64, help="beams of the beam search; 1 is greedy")] = 1,
    trust_order: TrustOrder = False,
    trust_identity: TrustIdentity = False,
    cluster: Cluster = None,
    encoding: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="encoding of a table that is not in Unicode, such as cp1252"),
    ] = None,
) -> None:
    """Answer a table of pairs, one answer a line, and read and encode each image once."""
    from diffvqa.answering.batch.predict import AnswerOptions, predict_pairs

    outcome = predict_pairs(model, pairs, out, AnswerOptions(beams, trust_order, trust_identity), cluster, encoding)
    done = "was already complete and is unchanged" if outcome.done_before else "is written"
    print(f"the file of {outcome.rows} rows {done}; it may hold patients' data. {NOTICE}")
    if outcome.problems:
        print(f"{outcome.problems} of {outcome.rows} rows have a `problem` instead of an answer")


@app.command(rich_help_panel="Answers")
def ground(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="a folder written by `pretrain` or `finetune`, or owner/name on the hub"),
    ],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="a radiograph: PNG, JPEG or DICOM")],
    phrase: Annotated[str, typer.Option(help='the phrase to find, such as "left pleural effusion"')],
    boxes: Annotated[
        int, typer.Option(min=1, max=16, help="largest number of boxes; the most probable comes first")
    ] = 1,
    by: Annotated[
        Literal["samples", "beams"], typer.Option(help="draw several boxes as samples, or take them from a beam search")
    ] = "samples",
    seed: Annotated[int, typer.Option(min=0, help="seed of the samples")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    overlay: Annotated[Path | None, typer.Option(help="write the image with the box to this PNG")] = None,
) -> None:
    """Find the box of a phrase in a radiograph: x1 y1 x2 y2 in pixels of the file."""
    with _imports():
        from diffvqa.answering.grounded import ground as run

    require_text(phrase, "phrase")
    if not phrase.strip():
        raise InputError('expected words such as "left pleural effusion", found none', argument="phrase")
    require_new_picture("overlay", overlay, image)
    found = run(model, image, phrase, boxes, by, seed)
    print(found.as_json() if as_json else "\n".join(found.lines()))
    if overlay:
        save_picture(found.picture(), "overlay", overlay)


@app.command(rich_help_panel="Answers")
def card(
    model: Model,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="file to write; MODEL/README.md if not given")
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder that `evaluate` wrote about this model")
    ] = None,
) -> None:
    """Write a model card: what the model is, its scores, and the terms of its training data."""
    from diffvqa.answering.card import FILE, write_card
    from diffvqa.inference.hub import model_folder

    folder = model_folder(model)
    if out is None and folder != model:
        raise InputError(
            "expected a file for the card, because this model is no folder of yours; give a FILE", argument="out"
        )
    warning = write_card(folder, out or folder / FILE, evaluation)
    print(f"card written. {NOTICE}")
    if warning:
        print(f"WARNING: {warning} Do not publish the weights without its owners' consent.", file=sys.stderr)


@app.command(rich_help_panel="Answers")
def serve(
    model: Model = Path("phantom-small"),
    host: Annotated[
        str, typer.Option(help="an address of this machine; other machines can reach any but the default")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="port of the page; 0 takes any free port")] = 8000,
    origin: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="address of the page behind another server, such as https://rad.hospital.org",
        ),
    ] = None,
) -> None:
    """Serve a page in the browser and a REST interface that answer questions."""
    from diffvqa.serving.serve import serve as run

    run(model, host, port, origin)


@contextmanager
def _imports() -> Iterator[None]:
    """Switch off garbage collection around the imports of short commands.

    Libraries create so many objects that collection takes a quarter of the time of an answer.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
