"""Means over seeds."""

import csv
import io
import itertools

import pytest

from diffvqa.study import program
from diffvqa.study.figures import _styles
from diffvqa.study.score_tables import in_writing, remarks_on, write_csv, write_markdown
from diffvqa.study.systems import System, learning_curves, systems_of

SCORE = "changes/f1"


def evaluations(value):
    """A cell's, with one score and an interval of 0.05 below and 0.1 above."""
    score = {"value": value, "low": value - 0.05, "high": value + 0.1}
    changes = {"n": 1200, "pairs_unchanged": 300, "unreadable": 0, "f1": score}
    return {"test": {"model": {"patients": 40, "changes": changes}, "controls": {}}}


def system(*values):
    return System("cap", {}, [{"evaluations": evaluations(value)} for value in values])


@pytest.mark.parametrize("value", [0.1, 0.0671936759, 0.962, 1 / 3])
@pytest.mark.parametrize("seeds", [1, 2, 3, 5, 6])
def test_the_mean_of_equal_seeds_is_what_each_has(value, seeds):
    found = system(*[value] * seeds).mean("test", SCORE)
    assert (found.value, found.lowest, found.highest) == (value, value, value)


def test_a_mean_lies_between_its_lowest_and_highest_seed():
    found = system(0.3, 0.1, 0.2).mean("test", SCORE)
    assert found.value == pytest.approx(0.2)
    assert (found.lowest, found.highest, found.seeds) == (0.1, 0.3, 3)
    assert (found.low, found.high) == (pytest.approx(0.15), pytest.approx(0.3))


def test_a_score_that_no_seed_has_has_no_mean():
    assert system(0.3).mean("test", "grounding/AREF/accuracy_0.5") is None


LENGTH = "pretrain.optimisation.steps"


def curves(axes):
    """The learning curves of a study: curve -> the length of each of its systems, and how many seeds."""
    cells = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    systems = systems_of([{"cell": str(number), "settings": cell} for number, cell in enumerate(cells)])
    return {
        name: [(system.settings[LENGTH], len(system.cells)) for system in curve]
        for name, curve in learning_curves(systems).items()
    }


def test_a_curve_is_what_differs_by_its_length_alone():
    axes = {"objective": ["cap", "clip"], "store": ["usual", "half"], LENGTH: [300, 1200], "seed": [0, 1]}
    assert curves(axes) == {
        f"{objective}, {store}": [(300, 2), (1200, 2)] for objective in ("cap", "clip") for store in ("usual", "half")
    }


def test_systems_of_one_length_are_curves_of_one_point():
    variants = {"objective": ["cap"], "pretrain.texts": [{"Cap": 1}, {"Cap": 4}], LENGTH: [1200], "seed": [0]}
    assert curves(variants) == {"texts 1 Cap": [(1200, 1)], "texts 4 Cap": [(1200, 1)]}


def test_the_tables_say_which_cells_failed_which_seeds_lack_and_that_programs_differ():
    def cell(objective, seed, **more):
        return {"cell": f"{objective}_{seed}", "settings": {"objective": objective, "seed": seed}, **more}

    def finished(objective, seed, program):
        return cell(objective, seed, evaluations=evaluations(0.5), program=program)

    results = [finished("cap", 0, "one"), finished("cap", 1, "one"), finished("clip", 0, "one")]
    whole = write_markdown(systems_of(results[:2]), {"test": []}, results[:2], 2)
    assert "Failed" not in whole
    assert "version" not in whole
    # One cell was evaluated on further tests by the other program.
    results += [cell("clip", 1, error="no memory"), finished("siglip", 0, "one, another")]
    said = write_markdown(systems_of(results), {"test": []}, results, 5)
    for words in ("Failed: clip_1: no memory", "| cap |", "| clip (1 of 2 seeds) |", "2 different versions"):
        assert words in said, words


def test_the_tables_say_what_of_them_is_not_whole_not_read_or_of_few():
    def remarks(cells=1, **changes):
        found = evaluations(0.5)
        found["test"]["model"]["changes"] |= changes
        about = {"cell": "cap_0", "settings": {"objective": "cap", "seed": 0}, "program": "one"}
        return remarks_on([{**about, "evaluations": found}], cells)

    rate = {"value": 1.0, "low": 1.0, "high": 1.0}
    assert remarks() == []
    assert remarks(pairs_taken_otherwise=0, induced_change_rate=None) == []
    assert remarks(pairs_taken_otherwise=30, induced_change_rate=rate) == []
    [few] = remarks(pairs_taken_otherwise=3, induced_change_rate=rate)
    assert few.startswith("cap_0, test: induced changes are of 3 pairs")
    [unread] = remarks(unreadable=1200)
    assert unread.startswith("cap_0, test: 1,200 of 1,200 answers cannot be read")
    assert remarks(cells=4) == ["Not whole: 1 of 4 cells were run."]


def test_a_mean_of_fewer_seeds_than_there_are_says_so():
    cells = [*system(0.3, 0.1).cells, {"evaluations": {"test": {"model": {"changes": {"f1": None}}}}}]
    mean = System("cap", {}, cells).mean("test", SCORE)
    assert in_writing(mean) == ("0.200", "[0.150, 0.300]", "(0.100 to 0.300; 2 of 3 seeds)")
    assert in_writing(system(0.3).mean("test", SCORE)) == ("0.300", "[0.250, 0.400]")


def test_the_table_says_how_much_was_asked_and_has_each_control_once():
    results = []
    for objective, value in (("cap", 0.5), ("clip", 0.4)):
        of_cell = evaluations(value)
        of_cell["test"]["controls"] = {"most_frequent": evaluations(0.1)["test"]["model"]}
        about = {"cell": objective, "settings": {"objective": objective, "seed": 0}, "program": "one"}
        results.append({**about, "evaluations": of_cell})
    table = write_markdown(systems_of(results), {"test": []}, results, 2)
    assert "40 patients, 1,200 questions of what has changed, 300 of unchanged pairs" in table
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| c") or "frequent" in line]
    assert rows == ["cap", "clip", "Most frequent answer (cap)"]


@pytest.mark.parametrize("value", [{"n_embd": 64, "activation_function": "gelu"}, {"Cap": 1, "AREF": 0.5}])
def test_settings_of_any_kind_name_a_system(value):
    results = [
        {"cell": str(number), "settings": {"finetune.language_model": one, "seed": 0}}
        for number, one in enumerate([value, "a folder"])
    ]
    first, second = (one.name for one in systems_of(results))
    assert all(str(part) in first for item in value.items() for part in item)
    assert second == "language_model a folder"


def test_lists_among_the_settings_are_named_in_words():
    settings = [{"pretrain.last_part_only": one, "seed": 0} for one in ([], ["AREF", "CAREF"])]
    names = [one.name for one in systems_of([{"cell": str(one), "settings": one} for one in settings])]
    assert names == ["last_part_only none", "last_part_only AREF + CAREF"]


def test_keys_of_both_stages_with_one_last_part_are_told_apart():
    settings = [{"pretrain.steps": one, "finetune.steps": other} for one, other in ((100, 900), (900, 100))]
    names = [one.name for one in systems_of([{"cell": str(one), "settings": one} for one in settings])]
    assert names == ["pretrain steps 100, finetune steps 900", "pretrain steps 900, finetune steps 100"]


def test_rows_of_cells_whose_axes_stand_in_another_order_have_their_values_in_their_columns():
    cells = [
        {"cell": "old", "settings": {"pretrain.steps": 100, "finetune.steps": 900}},
        {"cell": "new", "settings": {"finetune.steps": 100, "pretrain.steps": 900}},
    ]
    text = write_csv([{**cell, "images_seen": 1, "evaluations": evaluations(0.1)} for cell in cells])
    rows = {row["cell"]: row for row in csv.DictReader(io.StringIO(text))}
    assert {name: (row["pretrain.steps"], row["finetune.steps"]) for name, row in rows.items()} == {
        "old": ("100", "900"),
        "new": ("900", "100"),
    }


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"objective": "clip", "seed": 0}, "clip"), ({"seed": 0}, "the study's one system")],
)
def test_the_only_system_of_a_study_is_named_by_its_objective(settings, name):
    assert [one.name for one in systems_of([{"cell": "only", "settings": settings}])] == [name]


def test_eleven_lines_of_a_figure_look_different():
    styles = [tuple(style.values()) for style in itertools.islice(_styles(), 100)]
    assert len(set(styles)) == 100


def test_the_version_of_the_program_follows_its_source(tmp_path, monkeypatch):
    source = tmp_path / "room"
    source.mkdir()
    monkeypatch.setattr(program, "files", lambda _: tmp_path)
    versions = []
    for text in ("one = 1\n", "one = 2\n", "one = 1\n"):
        (source / "file.py").write_text(text)
        program.program_version.cache_clear()
        versions.append(program.program_version())
    program.program_version.cache_clear()
    assert versions[0] == versions[2] != versions[1]
