"""Commands that score and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from diffvqa.cli.application import app
from diffvqa.cli.arguments import Cluster, Model, StoreFolder
from diffvqa.cli.printing import print_result
from diffvqa.errors import InputError


@app.command(rich_help_panel="Scores")
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
    print_result(score_folder(out), print_table)
    print(f"report: {write_report(out)}")


@app.command(rich_help_panel="Scores")
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
    print_result(scores, print_table, as_json)


@app.command(rich_help_panel="Scores")
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

    print_result(run(_named_folders(systems)), print_comparison, as_json)


def _named_folders(items: list[str]) -> dict[str, list[Path]]:
    folders: dict[str, list[Path]] = {}
    for number, item in enumerate(items, start=1):
        name, equals, path = item.partition("=")
        if not (name and equals and path):
            raise InputError(f"system {number}: expected NAME=FOLDER, found another form")
        folders.setdefault(name, []).append(Path(path))
    return folders
