"""A study from nothing to its tables: every cell once, side by side as alone, and no cell twice."""

import csv
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from pyarrow import compute, parquet

from diffvqa.data.store import Store
from diffvqa.errors import InputError, RunFailed
from diffvqa.files import digest_of
from diffvqa.sealed import SEAL, write_sealed
from diffvqa.study import cells
from diffvqa.study.cells import RESULT, run_cell
from diffvqa.study.run_study import run_study
from diffvqa.study.stores import StudyStore
from diffvqa.study.study_config import StoreSource, cells_of, read_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study_file(tmp_path_factory, pretrain_settings, finetune_settings):
    folder = tmp_path_factory.mktemp("study")
    (folder / "pretrain.yaml").write_text(yaml.safe_dump(pretrain_settings))
    (folder / "finetune.yaml").write_text(yaml.safe_dump(finetune_settings))
    settings = {
        "out": str(folder / "out"),
        "pretrain": "pretrain.yaml",
        "finetune": "finetune.yaml",
        "size": 64,
        "stores": {"usual": {"patients": 40, "omitted": 0}},
        "tests": {"acquisition": {"patients": 13, "set": "acquisition"}},
        "axes": {"objective": ["local_captioning", "none"], "seed": [0], "pretrain.optimisation.steps": [2, 3]},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(settings))
    return folder / "study.yaml"


@pytest.fixture(scope="module")
def study(study_file):
    """The study run to its end, after it was killed when its first cell was finished."""
    config = read_study(study_file, [])
    first = study_file.parent / "out" / "cells" / cells_of(config)[0].name / RESULT
    command = [sys.executable, "-m", "diffvqa", "study", str(study_file)]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    while killed.poll() is None and not first.exists():
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    written = first.stat().st_mtime_ns
    run_study(config)
    assert first.stat().st_mtime_ns == written
    return config, study_file.parent / "out"


def test_every_cell_has_its_scores_in_the_tables(study):
    config, out = study
    with open(out / "study.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["cell"] for row in rows} == {cell.name for cell in cells_of(config)}
    assert {row["evaluation"] for row in rows} == {"test", "acquisition", "probe"}
    assert {row["images_seen"] for row in rows} == {"0", "8", "12"}
    assert {"model", "most_frequent", "retrieval", "blank_images"} <= {row["system"] for row in rows}
    assert any(row["score"].startswith("groups/turn 2/") for row in rows)
    table = (out / "study.md").read_text()
    assert "| local_captioning, steps 3 |" in table
    assert "False-change rate" in table
    assert set(json.loads((out / "comparisons.json").read_text())) == {"test", "acquisition", "probe"}


def test_the_page_shows_the_figures_and_loads_nothing(study):
    page = (study[1] / "study.html").read_text()
    figures = {path.stem for path in (study[1] / "figures").glob("*.svg")}
    of_test, of_acquisition = ("recall", "steps", "images", "time"), ("recall", "factors")
    assert figures <= {f"test-{one}" for one in of_test} | {f"acquisition-{one}" for one in of_acquisition}
    assert figures >= {"test-recall", "test-images", "test-time", "acquisition-factors"}
    assert page.count("<svg") == len(figures)
    assert "<script" not in page
    assert "Not for clinical use" in page


def test_a_finished_study_is_only_summed_up_again(study, capsys):
    config, out = study
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    run_study(config)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_study_goes_on_elsewhere_from_results_and_predictions_alone(study, tmp_path, monkeypatch):
    config, out = study
    monkeypatch.setattr("diffvqa.study.run_study.run_cells", None)
    kept = [out / "study.json", *out.glob("cells/*/cell.json"), *out.glob("cells/*/evaluations/*/predictions.jsonl")]
    for path in kept:
        copy = tmp_path / path.relative_to(out)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    run_study(config.model_copy(update={"out": str(tmp_path)}))
    for name in ("study.csv", "comparisons.json", "study.md", "summary.json"):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name


def test_another_study_is_refused_in_its_folder(study, study_file):
    with pytest.raises(InputError, match=r"out: the folder holds a run with other settings \(axes.seed\)"):
        run_study(read_study(study_file, ["axes.seed=[1]"]))


def test_a_study_s_folder_is_of_one_run_at_a_time(study):
    config, out = study
    other = os.open(out, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    try:
        with pytest.raises(InputError, match="out: another run is writing there"):
            run_study(config)
    finally:
        os.close(other)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    run_study(config)


def test_a_study_grows_by_values_of_its_axes_and_does_not_shrink(study, study_file, tmp_path):
    settings = [
        f"out={tmp_path / 'out'}",
        f"stores={{usual: {{folder: {study[1] / 'stores' / 'usual' / 'store'}}}}}",
        "tests={}",
        "axes={objective: [none], seed: [0], pretrain.optimisation.steps: [2]}",
    ]
    run_study(read_study(study_file, settings))
    first = tmp_path / "out" / "cells" / "none_seed-0" / RESULT
    written = first.stat().st_mtime_ns
    run_study(read_study(study_file, [*settings, "axes.seed=[1, 0]"]))
    assert first.stat().st_mtime_ns == written
    assert (tmp_path / "out" / "cells" / "none_seed-1" / RESULT).is_file()
    for fewer in ("axes.seed=[0]", "axes.seed=[0, 2]"):
        with pytest.raises(InputError, match=r"other settings \(axes.seed\)"):
            run_study(read_study(study_file, [*settings, fewer]))


def test_an_encoder_that_several_cells_share_is_trained_once(study, study_file, tmp_path):
    settings = [
        f"out={tmp_path / 'out'}",
        f"stores={{usual: {{folder: {study[1] / 'stores' / 'usual' / 'store'}}}}}",
        "tests={}",
        "axes={objective: [none, cap], pretrain.optimisation.steps: [2], finetune.optimisation.steps: [2, 3]}",
    ]
    run_study(read_study(study_file, settings))
    encoders = sorted(path.parent.name for path in (tmp_path / "out" / "cells").glob("*/encoder"))
    models = {path.parent.name: path for path in (tmp_path / "out" / "cells").glob("*/model")}
    assert [name.rpartition("-")[2] for name in encoders] == ["2", "2"]
    assert len(models) == 4
    for name, model in models.items():
        record = json.loads((model / "run.json").read_text())
        assert Path(record["config"]["encoder"]).parent.name in encoders
        assert Path(record["config"]["encoder"]).parent.name.split("_")[0] == name.split("_")[0]


def test_cells_of_several_sizes_see_the_same_pictures_and_are_asked_the_same(study_file, tmp_path):
    out = tmp_path / "out"
    axes = "axes={objective: [local_captioning], size: [64, 32], pretrain.optimisation.steps: [2]}"
    run_study(read_study(study_file, [f"out={out}", axes]))
    for name in ("usual", "acquisition"):
        assert [Store.open(out / "stores" / name / store).size for store in ("store", "store_32")] == [64, 32]
    compared = json.loads((out / "comparisons.json").read_text())
    for name in ("test", "acquisition"):
        [one] = compared[name]
        assert list(one["systems"]) == ["64 pixels", "32 pixels"]
    assert compared["test"][0]["comparisons"]["aref_accuracy"]


def test_a_study_grows_by_tests_without_training_anew_and_does_not_shrink(study, tmp_path):
    config, grown = study[0], tmp_path / "out"
    shutil.copytree(study[1], grown)
    cell = cells_of(config)[0].name
    weights, found = grown / "cells" / cell / "encoder" / "model.safetensors", grown / "cells" / cell / RESULT
    written, before = weights.stat().st_mtime_ns, json.loads(found.read_text())
    more = {"subtle": StoreSource(patients=13, set="subtle")}
    larger = config.model_copy(update={"out": str(grown), "tests": {**more, **config.tests}})
    run_study(larger)
    after = json.loads(found.read_text())
    assert weights.stat().st_mtime_ns == written
    assert list(after["evaluations"]) == ["test", "subtle", "acquisition", "probe"]
    assert {name: after["evaluations"][name] for name in before["evaluations"]} == before["evaluations"]
    assert "\n## subtle\n" in (grown / "study.md").read_text()
    with pytest.raises(InputError, match=r"other settings \(tests.subtle\)"):
        run_study(larger.model_copy(update={"tests": config.tests}))


def test_a_finished_cell_keeps_what_it_gave_when_an_added_test_fails(study, tmp_path):
    config, out = study
    cell = cells_of(config)[0]
    shutil.copytree(out / "cells" / cell.name, tmp_path / "cells" / cell.name)
    found = tmp_path / "cells" / cell.name / RESULT
    before = found.read_text()
    more = {**config.tests, "subtle": StoreSource(patients=13, set="subtle")}
    stores = {"usual": StudyStore(out / "stores" / "usual" / "store"), "subtle": StudyStore(tmp_path / "none")}
    result = run_cell(config.model_copy(update={"out": str(tmp_path), "tests": more}), cell, stores, 1)
    assert "failed_test" in result
    assert {name: value for name, value in result.items() if name != "failed_test"} == {
        name: value for name, value in json.loads(before).items() if name != SEAL
    }
    assert found.read_text() == before


def test_an_added_test_that_fails_takes_nothing_from_the_tables(study, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise InputError("nothing there")

    config, grown = study[0], tmp_path / "out"
    shutil.copytree(study[1], grown)
    scores = (grown / "study.csv").read_text()
    added = {"subtle": StoreSource(folder=str(grown / "stores" / "usual" / "store")), **config.tests}
    monkeypatch.setattr(cells, "evaluate", broken)
    with pytest.raises(RunFailed, match=r"4 of 4 cells failed: .*nothing there"):
        run_study(config.model_copy(update={"out": str(grown), "tests": added}), workers=1)
    assert (grown / "study.csv").read_text() == scores
    assert f"An added test failed: {cells_of(config)[0].name}: nothing there" in (grown / "study.md").read_text()


def test_a_test_that_no_cell_was_asked_can_be_dropped_or_changed(study, tmp_path):
    config, grown = study[0], tmp_path / "out"
    shutil.copytree(study[1], grown)
    record = json.loads((grown / "study.json").read_text())
    tests = record["config"]["study"]["tests"]
    tests["subtle"] = {**tests["acquisition"], "set": "subtle"}
    # As older versions wrote it.
    (grown / "study.json").write_text(json.dumps(record["config"]))
    (grown / "stores" / "subtle").mkdir()
    run_study(config.model_copy(update={"out": str(grown)}))
    assert not (grown / "stores" / "subtle").exists()
    assert "subtle" not in json.loads((grown / "study.json").read_text())["config"]["study"]["tests"]


def test_a_stage_s_file_that_is_edited_meanwhile_changes_no_cell(study, study_file, tmp_path, monkeypatch):
    rates, stage = [], study_file.parent / "pretrain.yaml"
    settings = stage.read_text()

    def edited(config):
        rates.append(config.optimisation.learning_rate)
        changed = yaml.safe_load(settings)
        changed["optimisation"]["learning_rate"] = 0.5
        stage.write_text(yaml.safe_dump(changed))
        raise InputError("that is enough")

    monkeypatch.setattr(cells, "pretrain", edited)
    stores = f"stores={{usual: {{folder: {study[1] / 'stores' / 'usual' / 'store'}}}}}"
    try:
        with pytest.raises(RunFailed):
            run_study(read_study(study_file, [f"out={tmp_path / 'out'}", stores, "tests={}"]), workers=1)
    finally:
        stage.write_text(settings)
    assert len(rates) == 4
    assert set(rates) == {yaml.safe_load(settings)["optimisation"]["learning_rate"]}


def test_a_store_without_questions_to_ask_is_told_before_any_training(study, study_file, tmp_path):
    axes = "axes={objective: [none], seed: [0]}"
    usual = f"stores={{usual: {{folder: {study[1] / 'stores' / 'usual' / 'store'}}}}}"
    without = shutil.copytree(study[1] / "stores" / "usual" / "store", tmp_path / "store")
    questions = parquet.read_table(without / "questions.parquet")
    kept = questions.filter(compute.not_equal(questions["split"], "test"))
    parquet.write_table(kept, without / "questions.parquet")
    about = json.loads((without / "store.json").read_text())
    digests = {**about["checksums"], "questions.parquet": digest_of(without / "questions.parquet")}
    write_sealed(without / "store.json", {**about, "checksums": digests})
    given = f"tests={{one: {{folder: {without}}}}}"
    with pytest.raises(InputError, match="one: the store has no question in the split test"):
        run_study(read_study(study_file, [f"out={tmp_path / 'out'}", usual, given, axes]))
    assert not (tmp_path / "out" / "cells").exists()


def test_mistakes_in_stores_are_told_before_anything_is_made(study, study_file, tmp_path):
    given = study[1] / "stores" / "usual" / "store"
    wrong = {
        "one.set: expected one of .*, found 'acquistion'": "tests={one: {patients: 13, set: acquistion}}",
        "one.patients: expected 1 to 200000, found 200001": "tests={one: {patients: 200001, set: subtle}}",
        "64-pixel images, but size is 96": "size=96",
        "64-pixel images, but size is 32": "axes={objective: [none], size: [64, 32]}",
        "usual.folder: .*holds no store": f"stores={{usual: {{folder: {tmp_path}}}}}",
    }
    for words, setting in wrong.items():
        settings = [f"stores={{usual: {{folder: {given}}}}}", "tests={}", setting]
        with pytest.raises(InputError, match=words):
            run_study(read_study(study_file, [f"out={tmp_path / 'out'}", *settings]))
        assert not (tmp_path / "out").exists()


def test_a_given_store_that_was_made_anew_is_not_the_same_study(study, study_file, tmp_path):
    given = shutil.copytree(study[1] / "stores" / "usual" / "store", tmp_path / "store")
    settings = [f"out={tmp_path / 'out'}", f"stores={{usual: {{folder: {given}}}}}", "tests={}"]
    config = read_study(study_file, [*settings, "axes={objective: [none], seed: [0]}"])
    run_study(config)
    about = json.loads((given / "store.json").read_text())
    write_sealed(given / "store.json", {**about, "fingerprint": "another"})
    with pytest.raises(InputError, match="what is in store usual"):
        run_study(config)


def test_a_study_is_the_same_from_anywhere_but_not_with_a_stage_that_was_changed(study, study_file, monkeypatch):
    monkeypatch.chdir(study_file.parent)
    run_study(read_study(study_file.relative_to(study_file.parent), ["out=out"]))
    stage = study_file.parent / "pretrain.yaml"
    settings = stage.read_text()
    stage.write_text(settings.replace("seed: 0", "seed: 1") if "seed: 0" in settings else settings + "seed: 1\n")
    try:
        with pytest.raises(InputError, match=r"other settings \(pretrain.seed\)"):
            run_study(study[0])
    finally:
        stage.write_text(settings)


def test_a_cell_that_breaks_is_told_without_the_text_of_the_error(study, tmp_path, monkeypatch):
    def broken(*_):
        raise MemoryError("patient 17")

    monkeypatch.setattr(cells, "pretrain", broken)
    config, out = study
    stores = {"usual": StudyStore(out / "stores" / "usual" / "store")}
    result = run_cell(config.model_copy(update={"out": str(tmp_path)}), cells_of(config)[0], stores, 1)
    name = cells_of(config)[0].name
    assert result["error"] == f"MemoryError, see cells/{name}/log.txt"
    assert "patient 17" in (tmp_path / "cells" / name / "log.txt").read_text()


def test_a_cell_that_fails_is_told_and_the_others_are_run(study_file, tmp_path, study):
    axes = "axes={objective: [classification, none], seed: [0], finetune.optimisation.learning_rate: [1e-3]}"
    stores = f"stores={{usual: {{folder: {study[1] / 'stores' / 'usual' / 'store'}}}}}"
    bad = ["pretrain.optimisation.learning_rate: [1e30]"]
    config = read_study(study_file, [f"out={tmp_path / 'out'}", stores, "tests={}", axes[:-1] + f", {bad[0]}}}"])
    with pytest.raises(RunFailed, match=r"1 of 2 cells failed: classification_seed-0 .*is nan at step"):
        run_study(config, workers=2)
    table = (tmp_path / "out" / "study.md").read_text()
    assert "| none |" in table
    for text in (table, (tmp_path / "out" / "study.html").read_text()):
        assert "Failed: classification_seed-0: " in text


def test_a_finished_cell_of_other_settings_is_not_taken_for_this_one(study, tmp_path):
    config, out = study
    first, second = cells_of(config)[:2]
    shutil.copytree(out / "cells" / first.name, tmp_path / "cells" / second.name)
    stores = {"usual": StudyStore(out / "stores" / "usual" / "store")}
    with pytest.raises(InputError, match="other settings"):
        run_cell(config.model_copy(update={"out": str(tmp_path)}), second, stores, 1)
