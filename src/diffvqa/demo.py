"""The whole way on a synthetic cohort: from dataset folders to a report, in minutes on a laptop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffvqa.data import read_sources
from diffvqa.data.prepare import prepare
from diffvqa.evaluating.evaluate import evaluate
from diffvqa.evaluation.report import write_report
from diffvqa.evaluation.score import score_folder
from diffvqa.phantom.writing import write_cohort
from diffvqa.progress import progress_bar
from diffvqa.training.config import FinetuneConfig, PretrainConfig, load_config
from diffvqa.training.finetune import finetune
from diffvqa.training.pretrain import pretrain
from diffvqa.workers import usable_cores

PATIENTS = 2500
SEED = 8
IMAGE_SIZE = 128


def run_demo(out: Path) -> tuple[dict[str, Any], Path]:
    """Make patients, read them back, train both stages, evaluate; the scores, and the path of the report.

    Each step is a folder in `out`; what is finished there is not done again.
    """
    out.mkdir(parents=True, exist_ok=True)
    cohort, store, captioner, model = (out / name for name in ("cohort", "store", "captioner", "model"))
    workers = usable_cores()
    if not cohort.exists():
        with progress_bar("synthesise patients") as progress:
            write_cohort(cohort, PATIENTS, SEED, size=IMAGE_SIZE, workers=workers, progress=progress)
    records = read_sources([f"mimic:{cohort}"])
    with progress_bar("prepare images") as progress:
        prepare(records, store, IMAGE_SIZE, workers=workers, progress=progress)
    pretrain(load_config(PretrainConfig, config_file("tiny/pretrain.yaml"), [f"store={store}", f"out={captioner}"]))
    finetune(
        load_config(
            FinetuneConfig,
            config_file("tiny/finetune.yaml"),
            [f"store={store}", f"encoder={captioner}", f"out={model}"],
        )
    )
    evaluate(model, store, "test", out / "evaluation", truth_folder=cohort / "truth")
    scores = score_folder(out / "evaluation")
    return scores, write_report(out / "evaluation")


def config_file(name: str) -> Path:
    """A configuration that comes with the package: inside it when installed, beside it in a checkout."""
    here = Path(__file__).parent
    installed = here / "configs" / name
    return installed if installed.is_file() else here.parents[1] / "configs" / name
