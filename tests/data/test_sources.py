import shutil

import pytest

from diffvqa.data import read_sources
from diffvqa.data.inspection import check_files
from diffvqa.data.prepare import prepare
from diffvqa.data.registry import READERS
from diffvqa.errors import InputError


@pytest.mark.parametrize("source", ["mimik:/x", "/just/a/path", ""])
def test_an_unknown_kind_lists_those_that_exist(source):
    with pytest.raises(InputError) as error:
        read_sources([source])
    assert all(kind in str(error.value) for kind in READERS)


@pytest.mark.parametrize("kind", sorted(READERS))
def test_a_folder_that_is_not_there_is_refused_without_its_path(kind, tmp_path):
    with pytest.raises(InputError, match=f"{kind}: the path given does not exist") as error:
        read_sources([f"{kind}:{tmp_path}/nowhere"])
    assert "nowhere" not in str(error.value)
    with pytest.raises(InputError, match="the folder is missing"):
        read_sources([f"{kind}:"])


@pytest.mark.parametrize("kind", sorted(READERS))
def test_a_folder_that_holds_something_else_is_refused(kind, tmp_path):
    with pytest.raises(InputError, match=kind):
        read_sources([f"{kind}:{tmp_path}"])


def test_named_parts_are_checked(tmp_path):
    for source, words in [
        (f"nih14:images={tmp_path}", "takes one folder"),
        (f"mimic:jpeg={tmp_path}", "jpg, reports, imagenome, diffvqa"),
        (f"mimic:jpg={tmp_path},{tmp_path}", "name=PATH"),
        (f"mimic:jpg={tmp_path},jpg={tmp_path}", "once"),
        (f"mimic:jpg={tmp_path}/nowhere", "mimic:jpg: the path given does not exist"),
        (f"mimic:jpg={tmp_path}", "mimic:jpg: the folder given holds no mimic-cxr"),
        (f"mimic:reports={tmp_path}", "jpg=PATH is missing"),
    ]:
        with pytest.raises(InputError, match=words):
            read_sources([source])


def test_sources_are_joined(mimic, nih):
    both = read_sources([f"mimic:{mimic[0]}", f"nih14:{nih}"])
    apart = [read_sources([f"mimic:{mimic[0]}"]), read_sources([f"nih14:{nih}"])]
    assert both.studies == apart[0].studies + apart[1].studies
    assert both.questions == apart[0].questions + apart[1].questions
    assert len(both.problems) == len(apart[0].problems) + len(apart[1].problems)


def test_an_image_in_two_sources_is_refused(nih, tmp_path):
    shutil.copytree(nih, tmp_path / "again")
    with pytest.raises(InputError, match="sources 1 and 2 hold an image of the same identifier"):
        read_sources([f"nih14:{nih}", f"nih14:{tmp_path}/again"])
    with pytest.raises(InputError, match="no source given"):
        read_sources([])


def _write_hospital(folder, makers, patient):
    makers["image"](folder / f"{folder.name}.png")
    (folder / "images.csv").write_text(f"patient,order,image\n{patient},1,{folder.name}.png\n")
    return f"table:{folder}"


def test_a_patient_in_two_sources_is_refused(nih, makers, tmp_path):
    same, other = _write_hospital(tmp_path / "a", makers, "1"), _write_hospital(tmp_path / "b", makers, "B-1")
    with pytest.raises(InputError, match=r"sources 1 \(nih14\) and 3 \(table\) hold a patient .* separately"):
        read_sources([f"nih14:{nih}", other, same])
    assert {study.subject_id for study in read_sources([f"nih14:{nih}", other]).studies} == {"1", "2", "B-1"}


def test_parts_of_mimic_share_their_patients(makers, tmp_path):
    for name, kept in (("first", "a1-pa"), ("second", "a2")):
        makers["mimic"](tmp_path / name)
        for path in (tmp_path / name).rglob("*.jpg"):
            if path.stem != kept:
                path.unlink()
    both = read_sources([f"mimic:{tmp_path}/first", f"mimic:{tmp_path}/second"])
    assert [(study.subject_id, study.images[0].image_id) for study in both.studies] == [
        ("10000001", "a1-pa"),
        ("10000001", "a2"),
    ]


def test_a_store_knows_what_it_was_made_from(mimic, nih, tmp_path):
    released = ("mimic-cxr-jpg 2.1.0", "mimic-cxr 2.1.0", "chest-imagenome 1.0.0", "medical-diff-vqa 1.0.1")
    parts = {f"mimic:{mimic[0]}": released, f"nih14:{nih}": ("nih14",)}
    for number, (source, datasets) in enumerate(parts.items()):
        assert prepare(check_files(read_sources([source])), tmp_path / str(number), 32).datasets == datasets
    assert read_sources(list(parts)).datasets == (*released, "nih14")
