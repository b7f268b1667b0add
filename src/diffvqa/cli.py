"""The command line: parse, call, print. Each command imports what it needs when it runs."""

from __future__ import annotations

import codecs
import gc
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer
from typer.core import TyperGroup

from diffvqa import __version__
from diffvqa.errors import InputError, RunFailed, require_text
from diffvqa.termination import say_stopped

if TYPE_CHECKING:
    from PIL.Image import Image

    from diffvqa.answering.answer import Answer
    from diffvqa.answering.dicom.sources import Sources as DicomSources
    from diffvqa.images.radiograph import Radiograph

NOTICE = "Research software. Not for clinical use."


class _Stopped(Exception):
    """A command was told to end; the cause says how. typer would swallow a KeyboardInterrupt."""


_NO_MEMORY = ("can't start new thread", "failed to map segment", "annot allocate memory", "can't allocate memory")
"""Words by which libraries report full memory in errors of other kinds."""


class _Commands(TyperGroup):
    """The commands; their errors name arguments as the user typed them."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            takes = {one.name: one for one in self.commands[ctx.invoked_subcommand].params}
            raise InputError(_last_words(error) or error.render(lambda name: _as_typed(name, takes))) from error
        except KeyboardInterrupt as stop:
            raise _Stopped from stop
        except (RuntimeError, ImportError) as error:
            if any(words in str(error) for words in _NO_MEMORY):
                raise MemoryError from error
            raise


def _as_typed(name: str, takes: dict[str, Any]) -> str:
    """The option or placeholder of a command for an argument's name; any other name is a configuration key."""
    head, part = re.findall(r"(\w*)(.*)", name)[0]
    if head not in takes:
        return f"`{name}`"
    if takes[head].param_type_name == "option":
        return takes[head].opts[0] + part
    return (takes[head].metavar or head.upper()).partition(".")[0] + part


app = typer.Typer(
    cls=_Commands,
    help=f"What has changed between two chest radiographs, and where. {NOTICE}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Sources = Annotated[
    list[str], typer.Argument(metavar="KIND:PATH...", help="datasets, such as mimic:/data or nih14:/data")
]
Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="a folder written by `diffvqa finetune`, phantom-small (part of the package), or owner/name on the hub",
    ),
]
StoreFolder = Annotated[Path, typer.Argument(metavar="STORE", help="a folder written by `diffvqa prepare`")]
Config = Annotated[
    Path, typer.Argument(metavar="CONFIG.yaml", help="a file of settings, such as those in configs/tiny")
]
ReversedPairs = Annotated[
    Literal["drop", "turn"],
    typer.Option(help="drop or turn round questions whose prior image is the later one"),
]
SplitSeed = Annotated[
    int | None, typer.Option(min=0, help="split by patient with this seed; ignore the datasets' splits")
]
Strict = Annotated[bool, typer.Option("--strict", help="refuse data with faults instead of skipping faulty rows")]
Cluster = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="run on this Ray cluster; auto: the cluster on this machine")
]
TrustOrder = Annotated[
    bool, typer.Option("--trust-order", help="continue even if DICOM headers say that the prior is the later one")
]
TrustIdentity = Annotated[
    bool, typer.Option("--trust-identity", help="continue even if DICOM headers say that the patients differ")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="settings that replace those of the file")
]


_STORE = "store:"
"""The prefix by which `inspect` tells a store from a dataset."""


def _print_version(asked: bool) -> None:
    if asked:
        print(f"diffvqa {__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="print the version")
    ] = False,
) -> None:
    """Only the version comes before a command."""
    # Loading a small model needs no progress bar and no advice to programmers. Worker processes read it here too.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@app.command()
def demo(
    out: Annotated[
        Path | None, typer.Option(help="output folder; demo, or demo-train with --train, if not given")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="first train the model; this takes a quarter of an hour")
    ] = False,
) -> None:
    """Score a model on new synthetic patients, and show three of its answers."""
    from diffvqa.demo import run_demo
    from diffvqa.evaluation.score_table import print_table

    out = out or Path("demo-train" if train else "demo")
    scores, report = run_demo(out, train)
    _print(scores, print_table)
    print(f"three answers with their pictures: {out / 'answers'}")
    print(f"report: {report}")


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="a new or empty folder")],
    patients: Annotated[int, typer.Option(min=10, help="number of patients")],
    seed: Annotated[int, typer.Option(min=0, help="the same seed makes the same bytes")] = 0,
    size: Annotated[int, typer.Option(min=64, max=2048, help="pixels of the longer side")] = 256,
    workers: Annotated[int | None, typer.Option(min=1, help="number of processes; all cores if not given")] = None,
    test_set: Annotated[
        Literal["change", "acquisition", "subtle", "shift"] | None,
        typer.Option("--set", help="write a test set of known truth instead of a cohort"),
    ] = None,
    omitted: Annotated[
        float, typer.Option(min=0, max=1, help="probability that a report omits a finding of the image")
    ] = 0.15,
    still: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="probability that nothing changes between two studies; 0.1 if not given"),
    ] = None,
) -> None:
    """Write synthetic patients in the layouts of MIMIC-CXR-JPG, its reports, Chest ImaGenome and Medical-Diff-VQA."""
    from diffvqa.phantom.course import STILL
    from diffvqa.phantom.reports import Reporting
    from diffvqa.phantom.writing import write_cohort
    from diffvqa.progress import progress_bar

    if test_set and still is not None:
        raise InputError(
            "a test set has its own pairs; give either {test_set} or {still}",
            argument="still",
            mentions=("test_set", "still"),
        )
    reporting = Reporting(omitted=omitted)
    still = STILL if still is None else still
    with progress_bar("synthesise patients") as progress:
        write_cohort(out, patients, seed, size, workers, progress, test_set, reporting, still)
    print(f"{patients} synthetic patients written; next: diffvqa inspect mimic:{out}")


@app.command()
def inspect(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="KIND:PATH...", help="datasets, such as mimic:/data, or one store, such as store:/folder"
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    deep: Annotated[bool, typer.Option(help="decode every image of a dataset; check every file of a store")] = False,
    problems: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="write a list of all faults to this file: kind, file, row, reason"),
    ] = None,
    reversed_pairs: ReversedPairs = "drop",
    split_seed: SplitSeed = None,
    strict: Strict = False,
) -> None:
    """Count what a dataset or a store holds: images, splits, shared patients, bad rows and files."""
    from diffvqa.data import read_sources
    from diffvqa.data.inspection import check_files, summarise, summarise_store
    from diffvqa.data.problems import refuse_faults, require_place, write_problems
    from diffvqa.data.store import Store
    from diffvqa.files import writing_to

    if any(source.startswith(_STORE) for source in sources):
        if len(sources) > 1 or problems or strict or split_seed is not None:
            raise InputError("a store takes only --deep and --json, and no second source; leave out the rest")
        store = Store.open(sources[0].removeprefix(_STORE))
        if deep:
            store.check()
        summary = summarise_store(store)
    else:
        if problems:
            require_place(problems)
        cohort = check_files(read_sources(sources, reversed_pairs, split_seed), deep)
        if problems:
            with writing_to("problems"):
                write_problems(problems, cohort.problems)
        if strict:
            refuse_faults(cohort.problems)
        summary = summarise(cohort)
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        _print_summary(summary)


@app.command()
def prepare(
    sources: Sources,
    out: Annotated[Path, typer.Option(help="folder of the store; a stopped run continues there")],
    size: Annotated[int, typer.Option(min=32, max=2048, help="side of the square images in pixels")] = 224,
    workers: Annotated[int, typer.Option(min=1, help="number of processes")] = 1,
    cluster: Cluster = None,
    reversed_pairs: ReversedPairs = "drop",
    split_seed: SplitSeed = None,
    strict: Strict = False,
) -> None:
    """Decode every image once, and write the store that training reads."""
    from diffvqa.data import read_sources
    from diffvqa.data.inspection import check_files
    from diffvqa.data.prepare import prepare as prepare_store
    from diffvqa.data.problems import refuse_faults
    from diffvqa.progress import progress_bar

    cohort = read_sources(sources, reversed_pairs, split_seed)
    if strict:
        refuse_faults(check_files(cohort).problems)
    with progress_bar("prepare images") as progress:
        store = prepare_store(cohort, out, size, workers, cluster, progress, strict)
    print(f"{len(store.images)} images and {len(store.questions)} questions prepared; checksum {store.checksum}")
    if store.problems:
        print("skipped or mended, listed in problems.csv in the store: " + _counts(store.problems))


@app.command()
def sheet(
    store: StoreFolder,
    out: Annotated[Path, typer.Option(help="PNG file to write")],
    images: Annotated[int, typer.Option(min=1, max=600, help="number of images")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="seed of the choice of images")] = 0,
) -> None:
    """Draw a contact sheet of a store: images with their boxes, as training sees them."""
    from diffvqa.data.contact_sheet import draw_sheet
    from diffvqa.data.store import Store

    _new_picture("out", out)
    _save_picture(draw_sheet(Store.open(store), images, seed), "out", out)
    print(f"contact sheet written; it shows patients' images. {NOTICE}")


@app.command()
def pretrain(config: Config, overrides: Overrides = None) -> None:
    """Stage 1: pretrain an image encoder, by location-aware pretraining or another objective."""
    from diffvqa.training.config import PretrainConfig, load_config
    from diffvqa.training.pretrain import pretrain as run
    from diffvqa.training.processes import part_processes

    out = run(load_config(PretrainConfig, config, overrides or []))
    part_processes()
    _say(f"encoder written; next: diffvqa finetune CONFIG.yaml encoder={out}")


@app.command()
def finetune(config: Config, overrides: Overrides = None) -> None:
    """Stage 2: finetune a language model on the frozen encoder to answer questions."""
    from diffvqa.training.config import FinetuneConfig, load_config
    from diffvqa.training.finetune import finetune as run
    from diffvqa.training.processes import part_processes

    out = run(load_config(FinetuneConfig, config, overrides or []))
    part_processes()
    _say(f"model written; next: diffvqa evaluate {out} STORE --out FOLDER")


@app.command()
def study(
    config: Config,
    overrides: Overrides = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="cells that run side by side; if not given, one with a GPU, up to four without"),
    ] = None,
    cluster: Cluster = None,
) -> None:
    """Train and evaluate every combination of objectives, seeds and other settings, and compare them on one page."""
    from diffvqa.study.run_study import run_study
    from diffvqa.study.study_config import read_study

    settings = read_study(config, overrides or [])
    _say(f"log of each cell: {settings.out}/cells/NAME/log.txt; after a stop, the same command continues")
    page = run_study(settings, workers, cluster)
    print((page.parent / "study.md").read_text(encoding="utf-8"))
    print(f"page: {page}")


@app.command("study-page")
def study_page(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="folder of a study, or of its records")],
    out: Annotated[
        Path | None, typer.Option(metavar="HTML", help="file to write; FOLDER/study.html if not given")
    ] = None,
) -> None:
    """Make the page of a study again from the scores in its folder."""
    from diffvqa.files import write_text, writing_to
    from diffvqa.study.study_page import page_from

    page, out = page_from(folder), out or folder / "study.html"
    with writing_to("out", "the page cannot be written there"):
        write_text(out, page)
    print(f"page: {out}")


@app.command()
def evaluate(
    model: Model,
    store: StoreFolder,
    out: Annotated[Path, typer.Option(help="output folder for predictions, scores and report")],
    split: Annotated[
        Literal["train", "validate", "test"], typer.Option(help="the split whose questions are asked")
    ] = "test",
    beams: Annotated[int, typer.Option(min=1, max=64, help="beams of the beam search; 1 is greedy")] = 1,
    cluster: Cluster = None,
    training: Annotated[
        Path | None,
        typer.Option(
            metavar="STORE", help="store whose train split the controls learn from; the same store if not given"
        ),
    ] = None,
    grounding: Annotated[
        bool, typer.Option(help="also score the boxes that the model's captioner gives for phrases and regions")
    ] = True,
    truth: Annotated[
        Path | None, typer.Option(help="folder `truth` of the synthetic cohort from which the store was made")
    ] = None,
    patients: Annotated[
        int | None,
        typer.Option(min=1, help="ask about so many patients, drawn at random; all if not given"),
    ] = None,
) -> None:
    """Ask a model the questions of a split, score its answers beside the controls, and write report.html."""
    from diffvqa.evaluating.evaluate import evaluate as run
    from diffvqa.evaluation.report import write_report
    from diffvqa.evaluation.score import score_folder
    from diffvqa.evaluation.score_table import print_table

    run(model, store, split, out, beams, cluster, training, grounding=grounding, truth_folder=truth, patients=patients)
    _print(score_folder(out), print_table)
    print(f"report: {write_report(out)}")


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS.jsonl", help="one prediction a line")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    bertscore: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="folder of a text encoder for BERTScore")
    ] = None,
    bertscore_layer: Annotated[int | None, typer.Option(help="layer of that encoder; the last if not given")] = None,
) -> None:
    """Score the predictions of any system from a file."""
    from diffvqa.evaluation.score import score_file
    from diffvqa.evaluation.score_table import print_table

    if bertscore is None:
        if bertscore_layer is not None:
            raise InputError(
                "names a layer of the encoder that {bertscore} gives; give {bertscore}, too",
                argument="bertscore_layer",
                mentions=("bertscore",),
            )
        scores = score_file(predictions)
    else:
        from diffvqa.evaluating.bertscore import BertScore

        similarity = BertScore(bertscore, bertscore_layer)
        scores = score_file(predictions, similarity=similarity)
        scores["notes"].append(similarity.description)
    _print(scores, print_table, as_json)


@app.command()
def compare(
    systems: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=FOLDER...",
            help="evaluation folders or predictions files; repeat a name for another training seed",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Compare systems on the same questions, with paired tests."""
    from diffvqa.evaluation.comparison import compare as run
    from diffvqa.evaluation.score_table import print_comparison

    _print(run(_named_folders(systems)), print_comparison, as_json)


@app.command()
def probe(
    encoder: Annotated[
        str, typer.Argument(metavar="ENCODER", help="a folder of stage 1, or the folder or hub name of a vision model")
    ],
    store: StoreFolder,
    out: Annotated[Path, typer.Option(help="output folder for the probes' predictions and scores")],
    test_store: Annotated[
        Path | None,
        typer.Option(metavar="STORE", help="another store that the probes are tested on, with all its images"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed of the training of the probes")] = 0,
) -> None:
    """Measure what a frozen encoder knows of findings, changes and places, with small probes."""
    from diffvqa.evaluation.probe_scores import score_probe
    from diffvqa.evaluation.score_table import print_probe
    from diffvqa.training.probe import probe as run

    run(encoder, store, out, seed, test_store)
    _print(score_probe(out), print_probe)


@app.command()
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

    _new_picture("overlay", overlay, current, *(prior or []))
    elements: tuple[str, ...] = ()
    if dicom_sr:
        from diffvqa.answering.dicom.sources import ELEMENTS

        elements = ELEMENTS
    files = name_files(current, prior)
    radiographs = {name: read_radiograph(file, name, elements) for name, file in files.items()}
    sources = _dicom_sources(model, radiographs, question) if dicom_sr else None
    result = Answerer.from_pretrained(model)(
        current=radiographs["current"],
        prior=[radiograph for name, radiograph in radiographs.items() if name != "current"],
        question=question,
        beams=beams,
        trust_order=trust_order,
        trust_identity=trust_identity,
    )
    if overlay:
        _save_picture(draw_answer(result, radiographs), "overlay", overlay)
    if dicom_sr and sources:
        _save_dicom(result, sources, radiographs, dicom_sr)
    print(json.dumps(result.as_dict(), indent=2, allow_nan=False) if as_json else "\n".join(answer_lines(result)))


@app.command()
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


@app.command()
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
            "expected a file, found none; a model of the hub has no local folder for its card", argument="out"
        )
    warning = write_card(folder, out or folder / FILE, evaluation)
    print(f"card written. {NOTICE}")
    if warning:
        print(f"WARNING: {warning} Do not publish the weights without its owners' consent.", file=sys.stderr)


@app.command()
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


@app.command()
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
    _new_picture("overlay", overlay, image)
    found = run(model, image, phrase, boxes, by, seed)
    if overlay:
        _save_picture(found.picture(), "overlay", overlay)
    print(found.as_json() if as_json else "\n".join(found.lines()))


# Some versions of typer bring their own copy of click. This is the error for a mistyped command line in all of them.
_UsageError: Any = typer.BadParameter.__base__


def main() -> None:
    """Run the command line; exit status 0 done, 1 failed, 2 wrong input."""
    codecs.register_error("as far as it goes", _as_far_as_it_goes)
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal cannot show must not end the command.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="as far as it goes" if stream is sys.stdout else "backslashreplace")
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except InputError as error:
        status = _fail(_last_words(error) or str(error))
    except RunFailed as error:
        # With several processes, only the one that found the fault prints it.
        print(f"error: {_last_words(error) or error}", file=sys.stderr)
        status = 1
    except _UsageError as error:
        status = _fail(f"{' '.join(error.format_message().split())} See `diffvqa --help`.")
    except _Stopped as stop:
        status = say_stopped(stop.__cause__)
    except MemoryError:
        print("error: the memory is full; give the command more, or less to do at once", file=sys.stderr)
        status = 1
    except FileExistsError as error:
        # A place that a user names is looked at before; in a folder that we write to all names are ours.
        status = _fail(
            f"{Path(str(error.filename)).name} is to be written into the folder given, and something else stands there "
            "(a link, a pipe, a device, a folder or a file in the place of one); remove it, or give another folder"
        )
    except OSError as error:
        # The text of an unforeseen error names the file, which may be a patient's. The message gives the line of this
        # package instead.
        here = str(Path(__file__).parent)
        place = [one for one in traceback.extract_tb(error.__traceback__) if one.filename.startswith(here)][-1]
        reason = error.strerror or type(error).__name__
        print(f"error: a file cannot be used: {reason} ({Path(place.filename).name}:{place.lineno})", file=sys.stderr)
        status = 1
    sys.exit(status or 0)


def _as_far_as_it_goes(error: UnicodeError) -> tuple[bytes, int]:
    """Keep the bytes of file names that are not UTF-8; write other characters that cannot be encoded as numbers."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = b""
    for one in error.object[error.start : error.end]:
        shown += one.encode("ascii", "surrogateescape" if "\udc80" <= one <= "\udcff" else "backslashreplace")
    return shown, error.end


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


def _last_words(error: InputError | RunFailed) -> str | None:
    """The message of an error in a loader worker, without the traceback that torch puts before it, or None."""
    text = str(error.args[0])
    return text.rstrip().splitlines()[-1].partition(": ")[2] if "in DataLoader worker process" in text else None


def _fail(message: str) -> int:
    """Print what is wrong with the input, and return the exit status."""
    _say(f"error: {message}", file=sys.stderr)
    return 2


def _say(message: str, file: TextIO | None = None) -> None:
    """Print once, also if several processes train together."""
    if os.environ.get("RANK", "0") == "0":
        print(message, file=file)


def _new_picture(argument: str, path: Path | None, *inputs: Path | None) -> None:
    """Raise InputError if a picture would not be a PNG file, or would replace a radiograph."""
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise InputError(
            f"expected a file name that ends in .png, found {path.suffix or 'no ending'!r}", argument=argument
        )
    from diffvqa.files import require_plain, writing_to

    with writing_to(argument, "the picture cannot be written there"):
        require_plain(path)
    # Path.exists raises an error that names the folder if the folder may not be entered.
    if os.path.exists(path) and any(one and os.path.exists(one) and path.samefile(one) for one in inputs):
        raise InputError("would overwrite one of the radiographs; give another file name", argument=argument)


def _save_picture(picture: Image, argument: str, path: Path) -> None:
    from diffvqa.files import write_picture, writing_to

    with writing_to(argument, "the picture cannot be written there"):
        write_picture(path, picture)


def _dicom_sources(model: Path, radiographs: dict[str, Radiograph], question: str | None) -> DicomSources:
    """The sources of a structured report, checked before the model is loaded."""
    from diffvqa.answering.case import read_question
    from diffvqa.answering.dicom.sources import read_sources
    from diffvqa.answering.wordings import question_type
    from diffvqa.findings import DIFFERENCE_QUESTION
    from diffvqa.inference.grounding import CAPTIONER
    from diffvqa.inference.hub import model_folder
    from diffvqa.models.folder import weights_digest

    if question_type(read_question(question, alone=False)) != "difference":
        raise InputError(
            f"needs a question about changes; leave out {{question}}, or ask {DIFFERENCE_QUESTION!r}",
            argument="dicom_sr",
            mentions=("question",),
        )
    model = model_folder(model)
    captioner = weights_digest(model / CAPTIONER) if (model / CAPTIONER).is_dir() else None
    current, *priors = radiographs.values()
    return read_sources(current, priors, weights_digest(model), captioner)


def _save_dicom(result: Answer, sources: DicomSources, radiographs: dict[str, Radiograph], folder: Path) -> None:
    from diffvqa.answering.dicom.key_image import make_key_image
    from diffvqa.answering.dicom.sources import make_folder, save
    from diffvqa.answering.dicom.structured_report import make_report

    if not sources.model.startswith(result.model.version):
        raise InputError("its files were changed while they were being read; try again", argument="model")
    make_folder(folder)
    save(make_report(result, sources), folder, "report")
    save(make_key_image(result, sources, radiographs), folder, "key-image")
    # Not on stdout, where one JSON object may be expected.
    print("wrote a structured report and a key image; they hold the patient's data", file=sys.stderr)


def _named_folders(items: list[str]) -> dict[str, list[Path]]:
    folders: dict[str, list[Path]] = {}
    for number, item in enumerate(items, start=1):
        name, equals, path = item.partition("=")
        if not (name and equals and path):
            raise InputError(f"system {number}: expected NAME=FOLDER, found another form")
        folders.setdefault(name, []).append(Path(path))
    return folders


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _print_summary(summary: dict) -> None:
    for name in ("images", "patients", "studies", "pairs", "boxes"):
        print(f"{name:>16}  {summary[name]}")
    print(f"{'questions':>16}  {_counts(summary['questions']) or 'none'}")
    for split, counts in summary["splits"].items():
        print(f"{split:>16}  {_counts(counts)}")
    shared = {name: count for name, count in summary["shared"].items() if count}
    print(f"{'shared patients':>16}  {summary['shared_patients']}" + (f" ({_counts(shared)})" if shared else ""))
    print(f"{'problems':>16}  {_counts(summary['problems']) or 'none'}")


def _print(result: dict, table: Callable[[dict], Any], as_json: bool = False) -> None:
    """Print the result as one JSON object or as a table."""
    from rich.console import Console

    if as_json:
        print(json.dumps(result, indent=2, allow_nan=False))
    else:
        Console().print(table(result))
