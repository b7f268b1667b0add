"""A cell's result in its file: what is damaged there is never used."""

import pytest

from diffvqa.study import cells
from diffvqa.study.cells import RESULT, run_cell, written_cell
from diffvqa.study.study_config import StudyConfig, cells_of

GIVEN = {"evaluations": {"main": {"score": 0.5}}, "images_seen": 3}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of one cell, which is not trained; and how often it was run."""
    stores, axes = {"usual": {"patients": 40}}, {"seed": [0]}
    settings = {
        "out": str(tmp_path / "out"),
        "pretrain": "",
        "finetune": "",
        "size": 64,
        "stores": stores,
        "axes": axes,
    }
    config = StudyConfig.model_validate(settings)
    runs = []
    monkeypatch.setattr(cells, "_run", lambda *_: runs.append(1) or dict(GIVEN))
    return config, cells_of(config)[0], runs


@pytest.mark.parametrize("damage", ["cut", "empty", "not one", "another digit"])
def test_a_damaged_result_is_made_anew(study, tmp_path, damage):
    config, cell, runs = study
    first = run_cell(config, cell, {}, 1)
    path = tmp_path / "out" / "cells" / cell.name / RESULT
    whole = path.read_text()
    assert run_cell(config, cell, {}, 1) == first
    assert len(runs) == 1
    damaged = {"cut": whole[:40], "empty": "", "not one": "[]", "another digit": whole.replace("0.5", "0.7")}
    path.write_text(damaged[damage])
    assert written_cell(config, cell) is None
    assert run_cell(config, cell, {}, 1) == first
    assert len(runs) == 2
    assert path.read_text() == whole


def test_a_full_disk_ends_the_study_and_is_no_result_of_a_cell(study, monkeypatch):
    config, cell, _ = study

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cells, "_run", full)
    with pytest.raises(OSError, match="No space"):
        run_cell(config, cell, {}, 1)
    assert written_cell(config, cell) is None
