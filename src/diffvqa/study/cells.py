"""One cell of a study, from pretraining to scores; what is finished is not done again."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from diffvqa.errors import InputError, RunFailed
from diffvqa.evaluating.evaluate import evaluate
from diffvqa.evaluating.truth import read_true_findings
from diffvqa.evaluation.probe_scores import score_probe
from diffvqa.evaluation.report import write_report
from diffvqa.evaluation.score import score_folder
from diffvqa.files import is_full
from diffvqa.runs import RECORD, device_name, read_record
from diffvqa.sealed import read_sealed, write_sealed
from diffvqa.study.program import program_version
from diffvqa.study.stores import StudyStore
from diffvqa.study.study_config import MAIN, PROBE, Cell, StudyConfig, stage_config
from diffvqa.training.finetune import finetune
from diffvqa.training.pretrain import pretrain
from diffvqa.training.probe import probe

RESULT, LOG = "cell.json", "log.txt"


def run_cell(config: StudyConfig, cell: Cell, stores: Mapping[str, StudyStore], threads: int) -> dict[str, Any]:
    """Train and evaluate a cell in `config.out`/cells/NAME; what it gives, which is written there too.

    If tests were added to the study of a finished cell, only these tests are run. stores: of each name in `stores` and
    `tests`. threads: of the processor. A cell that fails says so in its result under "error", one whose added tests
    fail has what it gave before and says so under "failed_test"; both can be run again.
    """
    # The version is read first: somebody may change the program while the cell runs.
    program = program_version()
    before = written_cell(config, cell)
    if before and is_whole(config, before):
        return before
    folder = _folder(config, cell)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    with open(folder / LOG, "a", buffering=1, encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        try:
            result = _grown(config, cell, stores, before, program) if before else _run(config, cell, stores)
        except (InputError, RunFailed) as error:
            result = {"error": str(error)}
        except Exception as error:
            if is_full(error):
                raise  # the others would fail as well
            # Whatever it is, the other cells can be run. Its text may name files: that is for the log alone.
            traceback.print_exc()
            result = {"error": f"{type(error).__name__}, see cells/{cell.name}/{LOG}"}
    if before and "error" in result:
        # A test that failed takes nothing from a cell that was finished without it.
        return {**before, "failed_test": result["error"]}
    about = {"cell": cell.name, "settings": dict(cell.values), "store": cell.store}
    result = {**about, "threads": threads, "program": program, **result}
    write_sealed(folder / RESULT, result)
    return result


def run_cells(
    config: StudyConfig, cells: Sequence[Cell], stores: Mapping[str, StudyStore], threads: int
) -> list[dict[str, Any]]:
    """Run cells one after the other with `run_cell`, and yield their results."""
    return [run_cell(config, cell, stores, threads) for cell in cells]


def evaluation_folder(out: Path, cell: str, evaluation: str) -> Path:
    """The folder of a cell's predictions on one test set, within a study's folder."""
    return out / "cells" / cell / "evaluations" / evaluation


def was_asked(out: Path, evaluation: str) -> bool:
    """Whether any cell of the study in a folder has been asked an evaluation, were it but begun."""
    return any((out / "cells").glob(f"*/evaluations/{evaluation}"))


def written_cell(config: StudyConfig, cell: Cell) -> dict[str, Any] | None:
    """The stored result of a cell, perhaps from before tests were added to its study; None if it must run.

    A cell must run if it is unfinished, if it failed, or if its result is damaged. Finished trainings are not repeated.
    Raises InputError for one of other settings.
    """
    try:
        found = read_sealed(_folder(config, cell) / RESULT)
    except (OSError, ValueError):
        return None
    if "error" in found:
        return None
    if (found["settings"], found["store"]) != (dict(cell.values), cell.store):
        raise InputError(
            f"cells/{cell.name} in it is a cell with other settings; remove that, or give another folder",
            argument="out",
        )
    return found


def is_whole(config: StudyConfig, found: Mapping[str, Any]) -> bool:
    """Whether a cell that gave this was asked every test of its study."""
    return set(config.tests) <= set(found["evaluations"])


def _folder(config: StudyConfig, cell: Cell) -> Path:
    return Path(config.out) / "cells" / cell.name


def _run(config: StudyConfig, cell: Cell, stores: Mapping[str, StudyStore]) -> dict[str, Any]:
    folder, store = _folder(config, cell), str(stores[cell.store].folder)
    encoder = pretrain(stage_config(config, cell, "pretrain", store))
    model = finetune(stage_config(config, cell, "finetune", store))
    records = {"pretrain": read_record(encoder / RECORD), "finetune": read_record(model / RECORD)}
    evaluations = _evaluations(config, cell, stores, (MAIN, *config.tests))
    truth = stores[cell.store].truth
    # Reports leave out findings, some more than others: what they label would measure that too.
    probe(str(encoder), Path(store), folder / PROBE, findings=None if truth is None else read_true_findings(truth))
    evaluations[PROBE] = {"model": score_probe(folder / PROBE), "controls": {}}
    return {
        "device": device_name(),
        "seconds": {stage: record.get("seconds") for stage, record in records.items()},
        "images_seen": records["pretrain"]["images_seen"],
        "evaluations": evaluations,
    }


def _grown(
    config: StudyConfig, cell: Cell, stores: Mapping[str, StudyStore], before: Mapping[str, Any], program: str
) -> dict[str, Any]:
    """The result of a finished cell, with the tests that its study has got since."""
    known = before["evaluations"]
    known = known | _evaluations(config, cell, stores, [name for name in config.tests if name not in known])
    programs = dict.fromkeys([*before["program"].split(", "), program])
    evaluations = {name: known[name] for name in (MAIN, *config.tests, PROBE)}
    return {**before, "program": ", ".join(programs), "evaluations": evaluations}


def _evaluations(
    config: StudyConfig, cell: Cell, stores: Mapping[str, StudyStore], names: Iterable[str]
) -> dict[str, Any]:
    folder, found = _folder(config, cell), {}
    for name in names:
        out = evaluation_folder(Path(config.out), cell.name, name)
        tested = stores[cell.store if name == MAIN else name]
        evaluate(
            folder / "model",
            tested.folder,
            "test",
            out,
            truth_folder=tested.truth,
            training_store=stores[cell.store].folder,
            features_folder=folder / "features",
            # Boxes are asked of one set, changes of every set.
            grounding=name == MAIN,
            patients=config.test_patients if name == MAIN else None,
        )
        found[name] = score_folder(out)
        write_report(out)
    shutil.rmtree(folder / "features", ignore_errors=True)
    return found
