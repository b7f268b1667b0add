"""What is known of datasets: of ours, of those of other packages, and of those that nobody knows."""

import importlib
import textwrap

import pytest

from diffvqa.data import mimic, read_sources
from diffvqa.data.mimic.folders import NAMES
from diffvqa.data.registry import READERS, dataset_of, readers, refuse_two_intensities
from diffvqa.errors import InputError

RECORDED = [dataset.name for reader in READERS.values() for dataset in reader.datasets]


@pytest.mark.parametrize("kind", READERS)
def test_a_reader_says_in_a_line_what_it_reads_and_what_it_records(kind):
    reader = READERS[kind]
    assert reader.kind == kind
    assert reader.description
    assert "\n" not in reader.description
    assert bool(reader.parts) == (reader.read_parts is not None)
    assert all(dataset.title and dataset.terms and " " not in dataset.name for dataset in reader.datasets)


def test_every_dataset_that_is_recorded_is_known_once():
    assert {NAMES[part][0] for part in mimic.PARTS} == {dataset.name for dataset in mimic.READER.datasets}
    assert {reader.datasets[0].name for reader in READERS.values()} == {"mimic-cxr-jpg", *READERS} - {"mimic"}
    assert len(set(RECORDED)) == len(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_a_version_and_the_word_for_synthetic_may_follow_the_name(name):
    plain, versioned, synthetic = (dataset_of(f"{name}{rest}") for rest in ("", " 2.1.0", " 2.1.0 (synthetic)"))
    assert versioned.title == f"{plain.title} 2.1.0"
    assert (versioned.terms, versioned.closed) == (plain.terms, plain.closed)
    assert synthetic.title == f"synthetic patients in the layout of {plain.title}"
    assert not synthetic.closed
    assert plain.terms not in synthetic.terms
    assert dataset_of(f"{name} (synthetic)") == synthetic
    assert {one.equalised for one in (plain, versioned, synthetic)} == {plain.equalised}
    assert {one.has_images for one in (plain, versioned, synthetic)} == {plain.has_images}


def test_only_open_data_is_open():
    assert [name for name in RECORDED if not dataset_of(name).closed] == ["nih14"]
    unknown = dataset_of("somebody's 3")
    assert unknown.closed
    assert unknown.title == "somebody's 3"
    assert not unknown.equalised


def test_only_the_images_of_mimic_are_equalised():
    assert {name for name in RECORDED if dataset_of(name).equalised} == {"mimic-cxr-jpg", "ms-cxr", "imagenome-gold"}
    refuse_two_intensities(["mimic-cxr-jpg 2.1.0", "mimic-cxr 2.1.0", "chest-imagenome", "medical-diff-vqa", "ms-cxr"])
    refuse_two_intensities(["nih14", "mimic-cxr", "somebody's"])
    with pytest.raises(InputError, match=r"of mimic-cxr-jpg 2.1.0 are equalised, those of somebody's are not"):
        refuse_two_intensities(["mimic-cxr-jpg 2.1.0", "somebody's"])


def test_only_the_parts_of_mimic_share_patients():
    assert {kind: reader.patients for kind, reader in READERS.items() if reader.patients} == dict.fromkeys(
        ("mimic", "ms-cxr", "imagenome-gold"), "mimic"
    )


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with a reader of its own, `mine`, and one that calls itself `table`."""
    code = """
        from dataclasses import replace

        from diffvqa.data import table
        from diffvqa.data.reader import Dataset, Reader

        MINE = Reader("mine", "my images", table.read, (Dataset("my-images", "My images", "mine", closed=False),))
        TABLE = replace(MINE, kind="table")
    """
    (tmp_path / "installed" / "my_readers-1.dist-info").mkdir(parents=True)
    (tmp_path / "installed" / "my_readers.py").write_text(textwrap.dedent(code))
    (tmp_path / "installed" / "my_readers-1.dist-info" / "entry_points.txt").write_text(
        "[diffvqa.readers]\nmine = my_readers:MINE\nother = my_readers:TABLE\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "installed")
    readers.cache_clear()
    yield
    readers.cache_clear()


@pytest.mark.usefixtures("package")
def test_another_package_adds_a_reader_and_replaces_none(makers, tmp_path):
    assert readers() == READERS | {"mine": importlib.import_module("my_readers").MINE}
    makers["image"](tmp_path / "a.png")
    (tmp_path / "images.csv").write_text("patient,order,image\nA,1,a.png\n")
    cohort = read_sources([f"mine:{tmp_path}"])
    assert cohort.datasets == ("my-images",)
    assert dataset_of("my-images 2").title == "My images 2"
    assert not dataset_of("my-images").closed
