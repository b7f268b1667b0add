"""A study's cells: all combinations, each with a name of its own, and mistakes told before anything runs."""

from pathlib import Path

import pytest
import yaml

from diffvqa.demo import config_file
from diffvqa.errors import InputError
from diffvqa.study.study_config import cells_of, read_study, stage_config


@pytest.fixture
def study(tmp_path, pretrain_settings, finetune_settings):
    (tmp_path / "pretrain.yaml").write_text(yaml.safe_dump(pretrain_settings))
    (tmp_path / "finetune.yaml").write_text(yaml.safe_dump(finetune_settings))
    settings = {
        "out": "out",
        "pretrain": "pretrain.yaml",
        "finetune": "finetune.yaml",
        "size": 64,
        "stores": {"usual": {"patients": 20}, "complete": {"patients": 20, "omitted": 0}},
        "axes": {
            "objective": ["location_aware", "clip+cap", {"clip": 1.0, "cap": 0.5}],
            "seed": [0, 1],
            "store": ["usual", "complete"],
            "pretrain.optimisation.steps": [3],
        },
    }

    def read(*overrides, **changed):
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({**settings, **changed}, sort_keys=False))
        return read_study(path, list(overrides))

    return read


def test_cells_are_all_combinations_with_names_of_their_own(study):
    cells = cells_of(study())
    assert len(cells) == len({cell.name for cell in cells}) == 3 * 2 * 2
    assert {cell.name for cell in cells} >= {"location_aware_seed-0_usual", "clip+cap_seed-1_complete"}
    assert [cell.values["seed"] for cell in cells] == [0] * 6 + [1] * 6


def test_cells_keep_their_names_when_objectives_and_seeds_are_added(study):
    one = study(axes={"objective": ["none"], "seed": [0], "store": ["usual"], "pretrain.optimisation.steps": [3]})
    assert [cell.name for cell in cells_of(one)] == ["none_seed-0_usual"]
    more = {"objective": ["cap", "none"], "seed": [1, 0], "store": ["usual", "complete"]}
    grown = cells_of(study(axes={**more, "pretrain.optimisation.steps": [3]}))
    assert all(cell in grown for cell in cells_of(one))


def test_axes_are_laid_over_by_their_names(study):
    given = [
        "axes.seed=[2]",
        "axes.pretrain.optimisation.steps=[5, 7]",
        "axes.finetune.optimisation.steps=[9]",
    ]
    axes = study(*given).axes
    assert list(axes) == ["objective", "seed", "store", "pretrain.optimisation.steps", "finetune.optimisation.steps"]
    assert axes["pretrain.optimisation.steps"] == [5, 7]
    assert axes["finetune.optimisation.steps"] == [9]
    assert axes["seed"] == [2]
    assert axes["objective"][2] == {"clip": 1.0, "cap": 0.5}
    with pytest.raises(InputError, match=r"seed-0_usual, finetune: `optimisation\.steps`: .*found -1"):
        study("axes.finetune.optimisation.steps=[-1]")
    with pytest.raises(InputError, match=r"`axes\.pretrain`: input should be a valid list, found 5"):
        study("axes.pretrain=5")


def test_a_cell_s_stages_have_its_settings(study):
    config = study()
    for cell in cells_of(config):
        pretrain, finetune = (stage_config(config, cell, stage, "S") for stage in ("pretrain", "finetune"))
        assert pretrain.seed == finetune.seed == cell.values["seed"]
        assert pretrain.store == finetune.store == "S"
        folder = Path(config.out) / "cells" / cell.name
        assert (finetune.out, finetune.encoder) == (str(folder / "model"), pretrain.out)
        assert pretrain.optimisation.steps == 3
        assert finetune.optimisation.steps == 6
        assert cell.store == cell.values["store"]
    assert cells_of(config)[4].values["objective"] == {"clip": 1.0, "cap": 0.5}
    assert stage_config(config, cells_of(config)[4], "pretrain", "S").objective == {"clip": 1.0, "cap": 0.5}


def test_cells_that_differ_in_stage_2_alone_share_an_encoder(study):
    config = study("axes={objective: [clip, cap], seed: [0, 1], store: [usual], finetune.merge: [1, 2]}")
    found = {
        cell.name: Path(stage_config(config, cell, "finetune", "S").encoder).parent.name for cell in cells_of(config)
    }
    assert len(found) == 8
    assert found == {name: name.replace("merge-2", "merge-1") for name in found}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"axes": {"objective": ["cap"]}}, "`stores` has several, so `axes` needs `store`"),
        ({"axes": {"store": ["usual", "other"]}}, "there is no store 'other'; `stores` has usual, complete"),
        (
            {"axes": {"store": ["usual"], "objective": ["cap", "cap"]}},
            "`axes.objective` needs values, each of them once",
        ),
        (
            {"axes": {"store": ["usual"], "steps": [1]}},
            "`axes.steps`: an axis is seed, objective, store, size, pretrain.KEY",
        ),
        (
            {"axes": {"store": ["usual"], "size": [32, 128]}},
            "`axes.size`: expected whole numbers of 32 to 64, ",
        ),
        ({"axes": {"store": ["usual"], "size": [32.5]}}, "`axes.size`: expected whole numbers of 32 to 64, "),
        (
            {"axes": {"store": ["usual"], "finetune.encoder": ["a", "b"]}},
            "`axes.finetune.encoder`: the study sets that itself; give `axes.pretrain.encoder`",
        ),
        ({"axes": {"store": ["usual"], "pretrain.out": ["a"]}}, "`axes.pretrain.out`: the study sets that itself"),
        ({"stores": {"usual": {"folder": ""}}, "axes": {}}, "at least 1 character"),
        ({"axes": {"store": ["usual"], "objective": ["clpi"]}}, "there is no objective 'clpi'"),
        ({"axes": {"store": ["usual"], "pretrain.steps": [1]}}, "there is no configuration key `steps`"),
        ({"tests": {"test": {"patients": 3}}}, "'test' is what every cell has on its own store"),
        ({"tests": {"usual": {"patients": 3}}}, "`stores` and `tests` both have usual"),
        ({"tests": {"../x": {"patients": 3}}}, "is to be the name of a folder"),
        (
            {"tests": {"change": {"patient": 3}}},
            "there is no configuration key `tests.change.patient`; the keys here are folder, patients",
        ),
        ({"tests": {"change": {"seed": 3}}}, "a store has either `folder` or `patients`"),
        ({"tests": {"change": {"folder": "x", "omitted": 0.5}}}, "leave out `seed`, `set`, `omitted`, `still`"),
        ({"tests": {"change": {"patients": 3, "set": "change", "still": 0.5}}}, "give `set` or `still`"),
        (
            {"axes": {"store": ["usual"], "finetune.language_model": ["lm/a", "lm-a"]}},
            "several cells would have the folder usual_language_model-lm-a",
        ),
        ({"stores": {}}, "`stores` names none"),
        ({"size": 67}, "16 does not divide the store's 67 pixels: "),
        ({"pretrain": "configs/x.yaml"}, "pretrain: there is no file 'configs/x.yaml' in the folder of"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(study, changed, words):
    with pytest.raises(InputError, match=words.replace("+", r"\+").replace("(", r"\(")):
        study(**changed)


@pytest.mark.parametrize("path", sorted(config_file("study").glob("*.yaml")), ids=lambda path: path.name)
def test_every_study_in_the_repository_is_valid_and_says_how_to_run_it(path):
    assert path.read_text().startswith(f"# diffvqa study configs/study/{path.name}")
    assert cells_of(read_study(path, []))
