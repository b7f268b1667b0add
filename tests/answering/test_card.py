"""What a model card says, and what it must not leave out."""

import json
import shutil
import sys

import pytest
import yaml

from diffvqa import cli
from diffvqa.answering.card import model_card, write_card
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.inference.trust import RECORD
from diffvqa.models.folder import weights_digest
from diffvqa.sealed_folder import seal


@pytest.fixture
def model(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "model")


def record(model, **facts):
    """Lay facts over those of a model's run.json, or take them away (None)."""
    run = {**json.loads((model / "run.json").read_text()), **facts}
    (model / "run.json").write_text(json.dumps({name: fact for name, fact in run.items() if fact is not None}))
    seal(model)


def score(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


@pytest.fixture
def evaluation(model, tmp_path):
    folder = tmp_path / "evaluation"
    folder.mkdir()
    facts = {"model": weights_digest(model), "split": "test", "dataset": "nih14", "patients": 77, "date": "2026-01-02"}
    (folder / "run.json").write_text(json.dumps(facts))
    changes = {"n": 432, "f1": score(0.345), "recall": score(0.456), "false_change_rate": score(0.567)}
    none = {**changes, "f1": None, "recall": score(0.123)}
    metrics = {"model": {"changes": changes}, "controls": {"blank_images": {"changes": none}, "mean_box": {}}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_training_records_what_it_was_trained_on(model_folder, captioner_folder, store_folder):
    datasets = list(Store.open(store_folder).datasets)
    run = json.loads((model_folder / "run.json").read_text())
    assert run["datasets"] == run["encoder_datasets"] == datasets
    assert json.loads((captioner_folder / "run.json").read_text())["datasets"] == datasets


def test_a_synthetic_cohort_is_called_so_and_is_no_reason_for_a_warning(model, store_folder):
    """The readers find it in MIMIC's layout; what they record says that only the layout is MIMIC's."""
    names = Store.open(store_folder).datasets
    assert len(names) == 4
    assert all(name.endswith("(synthetic)") for name in names)
    text, warning = model_card(model)
    assert warning is None
    assert "WARNING" not in text
    assert text.count("synthetic patients in the layout of MIMIC-CXR-JPG") == 2


@pytest.mark.parametrize(
    "facts",
    [
        {"datasets": ["mimic-cxr-jpg 2.1.0", "nih14"], "encoder_datasets": ["nih14"]},
        {"datasets": ["nih14"], "encoder_datasets": ["mimic-cxr-jpg 2.1.0"]},
    ],
)
def test_closed_data_in_either_stage_is_warned_of(model, facts):
    record(model, **facts)
    text, warning = model_card(model)
    assert "MIMIC-CXR-JPG 2.1.0" in warning
    assert "NIH" not in warning
    assert warning in text
    assert "**WARNING.**" in text
    assert "PhysioNet Credentialed" in text


def test_open_data_alone_is_not_warned_of(model):
    record(model, datasets=["nih14"], encoder_datasets=["nih14"])
    assert model_card(model)[1] is None


@pytest.mark.parametrize("facts", [{"datasets": None}, {"encoder_datasets": None}, {"datasets": []}])
def test_what_is_not_recorded_is_said_and_warned_of(model, facts):
    record(model, **facts)
    text, warning = model_card(model)
    assert "not recorded" in warning
    assert "| not recorded | not known |" in text


def test_the_head_is_what_the_hub_reads(model):
    _, head, _ = model_card(model)[0].split("---\n", 2)
    found = yaml.safe_load(head)
    assert found["license"] == "other"
    assert found["pipeline_tag"] == "visual-question-answering"
    assert "difference-vqa" in found["tags"]


def test_the_card_holds_version_notice_scores_and_trust(model, evaluation):
    digest = weights_digest(model)
    (model / "trust").mkdir(exist_ok=True)
    measured = {
        "weights": digest,
        "confidence": {"answers": 654, "right": 321, "scale": {"slope": 1, "intercept": 0}},
        "input_check": {"train_images": 876, "validate_images": 98, "measured": True},
    }
    (model / "trust" / RECORD).write_text(json.dumps(measured))
    seal(model)
    text, _ = model_card(model, evaluation)
    for said in (
        digest[:12],
        "Research software. Not for clinical use.",
        "2603.04950",
        "654 answers of the validation split, of which 321 were right",
        "876 training and 98 validation images",
        "Split `test` of nih14: 77 patients, 432 difference questions",
        "| this model | 0.345 (0.245 to 0.445) | 0.456 (0.356 to 0.556) | 0.567 (0.467 to 0.667) |",
        "| blank images | – | 0.123 (0.023 to 0.223) | 0.567",
        "6 steps of 4",
        "64 pixels",
    ):
        assert said in text
    assert "mean box" not in text
    measured["weights"] = "others"
    (model / "trust" / RECORD).write_text(json.dumps(measured))
    seal(model)
    assert "654" not in model_card(model)[0]


def test_scores_of_other_weights_and_folders_without_scores_are_refused(model, evaluation, tmp_path):
    facts = json.loads((evaluation / "run.json").read_text())
    (evaluation / "run.json").write_text(json.dumps({**facts, "model": "others"}))
    with pytest.raises(InputError, match="evaluation: these are scores of other weights"):
        model_card(model, evaluation)
    (evaluation / "metrics.json").unlink()
    with pytest.raises(InputError, match="evaluation: the folder holds no scores"):
        model_card(model, evaluation)
    with pytest.raises(InputError, match="model: there is no finished model"):
        model_card(tmp_path)
    record(model, finished=False)
    with pytest.raises(InputError, match="model: there is no finished model"):
        model_card(model)


def test_the_card_names_no_place_on_this_machine(model, evaluation, tmp_path):
    """Settings hold the paths of stores and models, which may be called after patients."""
    assert str(tmp_path.parent) in (model / "run.json").read_text()
    text, _ = model_card(model, evaluation)
    assert str(tmp_path.parent) not in text


def test_the_command_lays_the_card_into_the_folder_and_takes_no_file_s_place(model, capsys, monkeypatch):
    record(model, datasets=["vindr"])
    monkeypatch.setattr(sys, "argv", ["diffvqa", "card", str(model)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert "WARNING: " in capsys.readouterr().err
    written = (model / "README.md").read_bytes()
    assert written.startswith(b"---\n")
    with pytest.raises(InputError, match=r"out: there is a file already \(model/README.md if none was given\)"):
        write_card(model, model / "README.md")
    assert (model / "README.md").read_bytes() == written
