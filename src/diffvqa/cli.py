"""The command line: parses, calls, prints. What a command needs is imported when it runs."""

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
    """A command was told to end; the cause says how. Of KeyboardInterrupt itself typer would keep nothing."""


_NO_MEMORY = ("can't start new thread", "failed to map segment", "annot allocate memory", "can't allocate memory")
"""How libraries say that the memory is full, in errors of other kinds."""


class _Commands(TyperGroup):
    """The commands; their errors name arguments as the running command takes them."""

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
    """An option or a place holder of the command; what it does not take is a key of the configuration."""
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
        help="a folder that `diffvqa finetune` has written, phantom-small (comes with it), or owner/name on the hub",
    ),
]
StoreFolder = Annotated[Path, typer.Argument(metavar="STORE", help="a folder that `diffvqa prepare` has written")]
Config = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="settings, such as those in configs/tiny")]
ReversedPairs = Annotated[
    Literal["drop", "turn"],
    typer.Option(help="drop: leave out questions whose prior image is the later one; turn: turn them round"),
]
SplitSeed = Annotated[int | None, typer.Option(min=0, help="split by patient with this seed, not as the datasets say")]
Strict = Annotated[bool, typer.Option("--strict", help="refuse what has faults, in place of skipping them")]
Cluster = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="a Ray cluster that does the work; auto: the one of this machine")
]
TrustOrder = Annotated[
    bool, typer.Option("--trust-order", help="go on where DICOM headers say that the prior is the later one")
]
TrustIdentity = Annotated[
    bool, typer.Option("--trust-identity", help="go on where DICOM headers say that the patients differ")
]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="settings laid over the file's")]


_STORE = "store:"
"""How `inspect` is told that a folder holds no dataset, but what `prepare` made of one."""


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
    """Nothing comes before a command but the version."""
    # Loading a small model needs no progress bar and no advice to programmers. Worker processes read it here too.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@app.command()
def demo(
    out: Annotated[
        Path | None, typer.Option(help="where everything is written; demo or demo-train if not given")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="train the model first, which takes a quarter of an hour")
    ] = False,
) -> None:
    """Evaluate a model on synthetic patients that it has not seen, and show three of its answers."""
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
    patients: Annotated[int, typer.Option(min=10, help="how many patients")],
    seed: Annotated[int, typer.Option(min=0, help="the same seed makes the same bytes")] = 0,
    size: Annotated[int, typer.Option(min=64, max=2048, help="pixels of the longer side")] = 256,
    workers: Annotated[int | None, typer.Option(min=1, help="processes; all cores if not given")] = None,
    test_set: Annotated[
        Literal["change", "acquisition", "subtle", "shift"] | None,
        typer.Option("--set", help="a test set in place of a cohort"),
    ] = None,
    omitted: Annotated[
        float, typer.Option(min=0, max=1, help="the chance that a report leaves out a finding that is there")
    ] = 0.15,
    still: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="the chance that nothing changes from one study to the next; 0.1 if not given"),
    ] = None,
) -> None:
    """Write synthetic patients in the layouts of MIMIC-CXR-JPG, its reports, Chest ImaGenome and Medical-Diff-VQA."""
    from diffvqa.phantom.course import STILL
    from diffvqa.phantom.reports import Reporting
    from diffvqa.phantom.writing import write_cohort
    from diffvqa.progress import progress_bar

    if test_set and still is not None:
        raise InputError(
            "the pairs of a test set are what it is for; give {test_set} or {still}",
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
        list[str], typer.Argument(metavar="KIND:PATH...", help="datasets, such as mimic:/data; or one store:/folder")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    deep: Annotated[bool, typer.Option(help="decode every image; of a store, check every file")] = False,
    problems: Annotated[
        Path | None, typer.Option(metavar="CSV", help="list what is wrong there: kind, file, row, reason")
    ] = None,
    reversed_pairs: ReversedPairs = "drop",
    split_seed: SplitSeed = None,
    strict: Strict = False,
) -> None:
    """Say what is there: counts, splits, patients shared between splits, bad rows and files."""
    from diffvqa.data import read_sources
    from diffvqa.data.inspection import check_files, summarise, summarise_store
    from diffvqa.data.problems import refuse_faults, require_place, write_problems
    from diffvqa.data.store import Store
    from diffvqa.files import writing_to

    if any(source.startswith(_STORE) for source in sources):
        if len(sources) > 1 or problems or strict or split_seed is not None:
            raise InputError("a store is looked at alone, by itself or with --deep and --json; leave out all else")
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
    out: Annotated[Path, typer.Option(help="the store's folder; a stopped run goes on there")],
    size: Annotated[int, typer.Option(min=32, max=2048, help="pixels of the square that images are laid into")] = 224,
    workers: Annotated[int, typer.Option(min=1, help="processes")] = 1,
    cluster: Cluster = None,
    reversed_pairs: ReversedPairs = "drop",
    split_seed: SplitSeed = None,
    strict: Strict = False,
) -> None:
    """Decode every image once and write the store that training reads."""
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
    out: Annotated[Path, typer.Option(help="the PNG file that is written")],
    images: Annotated[int, typer.Option(min=1, max=600, help="how many are shown")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="seed of the choice of images")] = 0,
) -> None:
    """Draw a contact sheet of a store: what training will see, with its boxes."""
    from diffvqa.data.contact_sheet import draw_sheet
    from diffvqa.data.store import Store

    _new_picture("out", out)
    _save_picture(draw_sheet(Store.open(store), images, seed), "out", out)
    print(f"contact sheet written; it shows patients' images. {NOTICE}")


@app.command()
def pretrain(config: Config, overrides: Overrides = None) -> None:
    """Stage 1: train the image encoder by reading out phrases and their boxes."""
    from diffvqa.training.config import PretrainConfig, load_config
    from diffvqa.training.pretrain import pretrain as run
    from diffvqa.training.processes import part_processes

    out = run(load_config(PretrainConfig, config, overrides or []))
    part_processes()
    _say(f"encoder written; next: diffvqa finetune CONFIG.yaml encoder={out}")


@app.command()
def finetune(config: Config, overrides: Overrides = None) -> None:
    """Stage 2: train a language model on the frozen encoder to answer questions."""
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
        typer.Option(min=1, help="cells that run side by side; if not given one with a GPU, else up to four"),
    ] = None,
    cluster: Cluster = None,
) -> None:
    """Train and evaluate every combination of objectives, seeds and other settings; ends with one table."""
    from diffvqa.study.run_study import run_study
    from diffvqa.study.study_config import read_study

    settings = read_study(config, overrides or [])
    _say(f"what each cell does: {settings.out}/cells/NAME/log.txt; the same command goes on if it is stopped")
    page = run_study(settings, workers, cluster)
    print((page.parent / "study.md").read_text(encoding="utf-8"))
    print(f"page: {page}")


@app.command("study-page")
def study_page(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="of a study, or of its records, such as results/study/tiny")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="HTML", help="where it is written; FOLDER/study.html if not given")
    ] = None,
) -> None:
    """Make a study's page from the scores in its folder."""
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
    out: Annotated[Path, typer.Option(help="predictions, scores and report are written here")],
    split: Annotated[Literal["train", "validate", "test"], typer.Option(help="the split that is asked about")] = "test",
    beams: Annotated[int, typer.Option(min=1, max=64, help="beams of the beam search; 1 is greedy")] = 1,
    cluster: Cluster = None,
    training: Annotated[
        Path | None,
        typer.Option(
            metavar="STORE", help="the store whose train split the controls learn from; the same store if not given"
        ),
    ] = None,
    grounding: Annotated[bool, typer.Option(help="also find phrases and regions, with the model's captioner")] = True,
    truth: Annotated[
        Path | None, typer.Option(help="the folder `truth` of the synthetic cohort that the store was made from")
    ] = None,
    patients: Annotated[
        int | None,
        typer.Option(min=1, help="how many patients of the split are asked about; they are drawn; all if not given"),
    ] = None,
) -> None:
    """Answer a split's questions, score them beside the controls, and write report.html."""
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
        Path | None, typer.Option(metavar="FOLDER", help="a text encoder in a folder, for BERTScore")
    ] = None,
    bertscore_layer: Annotated[int | None, typer.Option(help="layer of that encoder; the last if not given")] = None,
) -> None:
    """Compute the metrics of anyone's predictions from a file alone."""
    from diffvqa.evaluation.score import score_file
    from diffvqa.evaluation.score_table import print_table

    if bertscore is None:
        if bertscore_layer is not None:
            raise InputError(
                "a layer of the encoder that {bertscore} gives; give that too",
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
    """Test systems against one another on the same questions."""
    from diffvqa.evaluation.comparison import compare as run
    from diffvqa.evaluation.score_table import print_comparison

    _print(run(_named_folders(systems)), print_comparison, as_json)


@app.command()
def probe(
    encoder: Annotated[str, typer.Argument(metavar="ENCODER", help="as `finetune` takes it: a folder or hub name")],
    store: StoreFolder,
    out: Annotated[Path, typer.Option(help="what the probes say, and their scores, are written here")],
    test_store: Annotated[
        Path | None, typer.Option(metavar="STORE", help="another store; all of it is asked about")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed of the training of the probes")] = 0,
) -> None:
    """Read findings, changes and places out of a frozen encoder with small probes."""
    from diffvqa.evaluation.probe_scores import score_probe
    from diffvqa.evaluation.score_table import print_probe
    from diffvqa.training.probe import probe as run

    run(encoder, store, out, seed, test_store)
    _print(score_probe(out), print_probe)


@app.command()
def answer(
    model: Model,
    current: Annotated[Path, typer.Option(help="today's radiograph: PNG, JPEG or DICOM")],
    prior: Annotated[
        list[Path] | None,
        typer.Option(help="the earlier radiograph: PNG, JPEG or DICOM; repeat it for still earlier ones"),
    ] = None,
    question: Annotated[
        str | None, typer.Option(help="if not given: what has changed, or for one image what it shows")
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
    """Answer a question about one radiograph, or about the change from a prior to a current one."""
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
        Path, typer.Argument(metavar="PAIRS.csv", help="a pair a row: columns current, prior, question, id")
    ],
    out: Annotated[Path, typer.Option(metavar="JSONL", help="an answer a line; a stopped run goes on there")],
    beams: Annotated[int, typer.Option(min=1, max=64, help="beams of the beam search; 1 is greedy")] = 1,
    trust_order: TrustOrder = False,
    trust_identity: TrustIdentity = False,
    cluster: Cluster = None,
    encoding: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="encoding of the table if it is not in Unicode: cp1252, latin-1, ..."),
    ] = None,
) -> None:
    """Answer a table of pairs, an answer a line; each image is read and encoded once."""
    from diffvqa.answering.batch.predict import AnswerOptions, predict_pairs

    outcome = predict_pairs(model, pairs, out, AnswerOptions(beams, trust_order, trust_identity), cluster, encoding)
    done = "was finished before, and is left as it is" if outcome.done_before else "is written"
    print(f"the file of {outcome.rows} rows {done}; it may hold patients' data. {NOTICE}")
    if outcome.problems:
        print(f"{outcome.problems} of {outcome.rows} rows have a `problem` in their lines instead of an answer")


@app.command()
def card(
    model: Model,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="MODEL/README.md if not given")] = None,
    evaluation: Annotated[
        Path | None, typer.Option(metavar="DIR", help="a folder that `evaluate` has written of this model")
    ] = None,
) -> None:
    """Write a model card: what is known of a model, and the terms of the data that it was trained on."""
    from diffvqa.answering.card import FILE, write_card
    from diffvqa.inference.hub import model_folder

    folder = model_folder(model)
    if out is None and folder != model:
        raise InputError(
            "expected a file, found none; a model of the hub has no folder here to lay its card in", argument="out"
        )
    warning = write_card(folder, out or folder / FILE, evaluation)
    print(f"card written. {NOTICE}")
    if warning:
        print(f"WARNING: {warning} Do not publish the weights without its owners' consent.", file=sys.stderr)


@app.command()
def serve(
    model: Model = Path("phantom-small"),
    host: Annotated[
        str, typer.Option(help="an address of this machine; others than the default are seen by others")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 8000,
    origin: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="the address of the page where it is reached through another server: https://rad.hospital.org",
        ),
    ] = None,
) -> None:
    """Answer questions on a page in the browser, and over HTTP."""
    from diffvqa.serving.serve import serve as run

    run(model, host, port, origin)


@app.command()
def ground(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="a folder that `pretrain` or `finetune` has written, or owner/name on the hub"
        ),
    ],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="a radiograph: PNG, JPEG or DICOM")],
    phrase: Annotated[str, typer.Option(help='such as "left pleural effusion"')],
    boxes: Annotated[int, typer.Option(min=1, max=16, help="how many boxes at most; the likeliest first")] = 1,
    by: Annotated[Literal["samples", "beams"], typer.Option(help="where several boxes come from")] = "samples",
    seed: Annotated[int, typer.Option(min=0, help="seed of the samples")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    overlay: Annotated[Path | None, typer.Option(help="write the image with the box to this PNG")] = None,
) -> None:
    """Say where in a radiograph a phrase is to be seen: x1 y1 x2 y2 in pixels of the file."""
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


# typer brings its own copy of click, or not, by its version; either way this is its error for a mistyped command line.
_UsageError: Any = typer.BadParameter.__base__


def main() -> None:
    """Run the command line; exit status 0 done, 1 failed, 2 wrong input."""
    codecs.register_error("as far as it goes", _as_far_as_it_goes)
    for stream in (sys.stdout, sys.stderr):
        # What a terminal cannot show is not a reason to break down.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="as far as it goes" if stream is sys.stdout else "backslashreplace")
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except InputError as error:
        status = _fail(_last_words(error) or str(error))
    except RunFailed as error:
        # Only the process that found it knows of it.
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
        # Nobody has foreseen it, and its text names the file, which may be a patient's: where in this package it arose
        # must do.
        here = str(Path(__file__).parent)
        place = [one for one in traceback.extract_tb(error.__traceback__) if one.filename.startswith(here)][-1]
        reason = error.strerror or type(error).__name__
        print(f"error: a file cannot be used: {reason} ({Path(place.filename).name}:{place.lineno})", file=sys.stderr)
        status = 1
    sys.exit(status or 0)


def _as_far_as_it_goes(error: UnicodeError) -> tuple[bytes, int]:
    """Names of files that are no UTF-8 as they are; of other characters that cannot be written, the numbers."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = b""
    for one in error.object[error.start : error.end]:
        shown += one.encode("ascii", "surrogateescape" if "\udc80" <= one <= "\udcff" else "backslashreplace")
    return shown, error.end


@contextmanager
def _imports() -> Iterator[None]:
    """Around the imports of commands that are over soon: without looking for garbage among what libraries bring.

    They bring so many objects that looking costs a quarter of the time of an answer, on the way and at the end.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _last_words(error: InputError | RunFailed) -> str | None:
    """What an error of a loader worker says: before it torch puts how it came about. None for any other."""
    text = str(error.args[0])
    return text.rstrip().splitlines()[-1].partition(": ")[2] if "in DataLoader worker process" in text else None


def _fail(message: str) -> int:
    """Say what is wrong with the input; the exit status."""
    _say(f"error: {message}", file=sys.stderr)
    return 2


def _say(message: str, file: TextIO | None = None) -> None:
    """Print, once where processes train together: torchrun numbers them."""
    if os.environ.get("RANK", "0") == "0":
        print(message, file=file)


def _new_picture(argument: str, path: Path | None, *inputs: Path | None) -> None:
    """Raises InputError where a picture would not be a PNG, or would take a radiograph's place."""
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise InputError(
            f"expected a file name that ends in .png, found {path.suffix or 'no ending'!r}", argument=argument
        )
    from diffvqa.files import require_plain, writing_to

    with writing_to(argument, "the picture cannot be written there"):
        require_plain(path)
    # Not Path.exists, which raises where a folder may not be entered, and names it.
    if os.path.exists(path) and any(one and os.path.exists(one) and path.samefile(one) for one in inputs):
        raise InputError("one of the radiographs, which it would overwrite; give another file name", argument=argument)


def _save_picture(picture: Image, argument: str, path: Path) -> None:
    from diffvqa.files import write_picture, writing_to

    with writing_to(argument, "the picture cannot be written there"):
        write_picture(path, picture)


def _dicom_sources(model: Path, radiographs: dict[str, Radiograph], question: str | None) -> DicomSources:
    """What a structured report rests on, looked at before the model is loaded."""
    from diffvqa.answering.case import read_question
    from diffvqa.answering.dicom.sources import read_sources
    from diffvqa.answering.wordings import question_type
    from diffvqa.findings import DIFFERENCE_QUESTION
    from diffvqa.inference.grounding import CAPTIONER
    from diffvqa.inference.hub import model_folder
    from diffvqa.models.folder import weights_digest

    if question_type(read_question(question, alone=False)) != "difference":
        raise InputError(
            f"reports what has changed; leave out {{question}}, or ask {DIFFERENCE_QUESTION!r}",
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
    """One JSON object, or the table of the result."""
    from rich.console import Console

    if as_json:
        print(json.dumps(result, indent=2, allow_nan=False))
    else:
        Console().print(table(result))
