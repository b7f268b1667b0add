"""Two DICOM files of a hospital: the same answer as from PNG, what is refused, and what never comes out."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from diffvqa import cli
from diffvqa.answering import answer as answers
from diffvqa.answering.answerer import SYNTHETIC_ONLY, Answerer
from diffvqa.answering.case import NOT_CHECKED
from diffvqa.answering.grounded import ground
from diffvqa.boxes import Box
from diffvqa.errors import InputError
from diffvqa.images.intensities import AS_STORED, EQUALISED, intensity_of
from diffvqa.images.radiograph import read_radiograph
from diffvqa.inference import features
from diffvqa.inference.features import encode_squares
from diffvqa.inference.grounding import ground_phrase
from diffvqa.inference.shown_pictures import show_radiograph
from diffvqa.sealed_folder import seal

EARLIER = {"StudyDate": "20230102"}
SCHEMA = json.loads((Path(answers.__file__).parent / "answer.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def answerer(model_folder):
    return Answerer.from_pretrained(model_folder)


@pytest.fixture(scope="module")
def pngs(phantom_pixels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pngs")
    for name, pixels in phantom_pixels.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return {name: folder / f"{name}.png" for name in phantom_pixels}


@pytest.fixture
def pair(phantom_pixels, write_dicom, tmp_path, secrets):
    """Write both files, the prior a year earlier; elements laid over both, or over one."""

    def write(prior=(), current=(), **both):
        laid_over = {"prior": {**EARLIER, **both, **dict(prior)}, "current": {**both, **dict(current)}}
        return {
            name: write_dicom(tmp_path / f"{secrets[0]} {name}.dcm", pixels, **laid_over[name])
            for name, pixels in phantom_pixels.items()
        }

    return write


@pytest.fixture
def command(model_folder, capsys):
    """Run `answer`: exit status, standard output and standard error."""

    def run(files, *more):
        named = [text for name, path in files.items() for text in (f"--{name}", str(path))]
        old, sys.argv = sys.argv, ["diffvqa", "answer", str(model_folder), *named, *map(str, more)]
        try:
            cli.main()
        except SystemExit as end:
            status = end.code or 0
        finally:
            sys.argv = old
        return status, *capsys.readouterr()

    return run


def valid(answer):
    """The answer as plain values that have been through JSON and hold to the schema."""
    plain = json.loads(json.dumps(answer.as_dict()))
    jsonschema.Draft202012Validator(SCHEMA).validate(plain)
    assert plain["remarks"] == plain["warnings"] == list(answer.warnings)
    assert plain["unlikeness"] == plain["out_of_distribution"] == answer.out_of_distribution
    return plain


def test_the_schema_is_one_and_refuses_what_contradicts_itself(answerer, pngs):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    plain = valid(answerer(**pngs))
    broken = (
        {"boxes": None},
        {"reason": "none"},
        {"boxes_reason": "x"},
        {"confidence": None},
        {"findings_reason": None},
        {"changes": [{"finding": "edema", "kind": "level", "before": None, "after": "mild"}]},
        {"boxes": [{"image": "current", "label": "edema", "box": [1, 2, 3], "kind": "change"}]},
        {"path": "x"},
    )
    for change in broken:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(SCHEMA).validate({**plain, **change})


@pytest.fixture
def shown(answerer, monkeypatch):
    """What the model is shown of files: their squares by name, as signed integers."""

    def show(**files):
        squares = []

        def noting(model, shown):
            squares.extend(shown)
            return encode_squares(model, shown)

        monkeypatch.setattr(features, "encode_squares", noting)
        answerer(**files)
        return {name: square.astype(int) for name, square in zip(("current", "prior"), squares, strict=False)}

    return show


@pytest.mark.parametrize("form", ["plain", "run lengths", "jpeg 2000", "jpeg-ls"])
@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_same_pixels_as_dicom_and_as_png_give_the_same_answer(answerer, shown, pngs, pair, form, bits, photometric):
    files = pair(form=form, bits=bits, PhotometricInterpretation=photometric)
    squares, expected_squares = shown(**files), shown(**pngs)
    for name in files:
        assert np.abs(squares[name] - expected_squares[name]).mean() < 1
    found, expected = answerer(**files), answerer(**pngs)
    assert found.text == expected.text
    assert found.changes == expected.changes
    assert found.confidence == pytest.approx(expected.confidence, rel=0.01)
    assert len(found.boxes) == len(expected.boxes)
    assert found.warnings == (NOT_CHECKED, SYNTHETIC_ONLY)
    valid(found)
    assert answerer(**{name: path.read_bytes() for name, path in files.items()}) == found


def test_a_model_of_equalised_images_is_shown_equalised_ones(answerer, shown, pngs, phantom_pixels, tmp_path):
    """However dark a file is: the convention belongs to the model and holds for every kind of file."""
    assert answerer.model.difference.processor.intensity == EQUALISED
    assert answerer.model.captioner.processor.intensity == EQUALISED
    dark = {}
    for name, pixels in phantom_pixels.items():
        dark[name] = tmp_path / f"{name}.png"
        Image.fromarray(pixels // 2).save(dark[name])
    squares, expected = shown(**dark), shown(**pngs)
    for name in dark:
        # Half as many levels are left.
        assert np.abs(squares[name] - expected[name]).mean() < 4


def test_a_model_of_stored_values_is_shown_them(answerer, shown, pngs, phantom_pixels, monkeypatch, tmp_path):
    monkeypatch.setattr(answerer.model.difference.processor, "intensity", AS_STORED)
    dark = {}
    for name, pixels in phantom_pixels.items():
        dark[name] = tmp_path / f"{name}.png"
        Image.fromarray(pixels // 2).save(dark[name])
    squares, expected = shown(**dark), shown(**pngs)
    for name in dark:
        assert np.abs(squares[name] - expected[name] / 2).mean() < 1


def test_a_prior_that_is_the_later_one_is_refused_unless_told(answerer, pair):
    files = pair(prior={"StudyDate": "20250101"})
    with pytest.raises(InputError, match=r"^prior .* later than current.*trust_order"):
        answerer(**files)
    answer = answerer(**files, trust_order=True)
    assert answer.reason is None
    assert any("the headers contradict it" in warning for warning in answer.warnings)


def test_another_patient_is_refused_unless_told(answerer, pair):
    files = pair(prior={"PatientID": "ID-4712"})
    with pytest.raises(InputError, match=r"different patients.*trust_identity"):
        answerer(**files, trust_order=True)
    answer = answerer(**files, trust_identity=True)
    assert answer.reason is None
    assert any("headers differ" in warning for warning in answer.warnings)


NO_COMPARISON = {
    "lateral": ({"ViewPosition": "LL"}, "lateral"),
    "lateral by its rows": ({"ViewPosition": "", "PatientOrientation": ["A", "F"]}, "lateral"),
    "computed tomography": ({"Modality": "CT"}, "not a plain radiograph"),
    "knee": ({"BodyPartExamined": "KNEE"}, "another part"),
}


@pytest.mark.parametrize("kind", NO_COMPARISON)
def test_what_cannot_be_compared_is_an_answer_with_a_reason(answerer, pair, command, tmp_path, kind):
    elements, reason = NO_COMPARISON[kind]
    files = pair(prior=elements)
    answer = answerer(**files)
    assert answer.text == "cannot compare"
    assert answer.changes is None
    assert answer.reason.startswith("prior: ")
    assert reason in answer.reason
    valid(answer)
    status, out, err = command(files, "--overlay", tmp_path / "overlay.png")
    assert (status, err) == (0, "")
    assert out.startswith(f"cannot compare\nreason: {answer.reason}\n")
    assert Image.open(tmp_path / "overlay.png").width == 1024
    alone = answerer(current=files["prior"])
    assert (alone.text, alone.findings) == ("cannot answer", None)
    valid(alone)


def test_a_phrase_has_the_same_box_in_dicom_and_in_png(answerer, pngs, pair):
    path = pair(bits=12, PhotometricInterpretation="MONOCHROME1")["current"]
    found, expected = (
        ground_phrase(answerer.model.captioner, read_radiograph(one, "image"), "edema")
        for one in (path, pngs["current"])
    )
    assert len(found) == len(expected) == 1
    assert found[0].box.as_tuple() == pytest.approx(expected[0].box.as_tuple(), abs=2)


@pytest.mark.parametrize("kind", NO_COMPARISON)
def test_a_phrase_is_not_looked_for_in_what_allows_no_answer(model_folder, write_dicom, phantom_pixels, tmp_path, kind):
    elements, reason = NO_COMPARISON[kind]
    path = write_dicom(tmp_path / "x.dcm", phantom_pixels["prior"], **elements)
    found = ground(model_folder, path, "edema")
    assert reason in found.reason
    assert found.boxes == []
    assert json.loads(found.as_json())["reason"] == found.reason
    assert found.lines()[:2] == ["cannot answer", f"reason: {found.reason}"]
    assert ground(model_folder / "captioner", path, "edema").reason == found.reason


def test_a_phrase_has_the_warnings_of_an_answer(model_folder, write_dicom, phantom_pixels, tmp_path):
    path = write_dicom(tmp_path / "x.dcm", phantom_pixels["prior"], ViewPosition="LLD", PatientOrientation=["R", "F"])
    found = ground(model_folder, path, "edema")
    assert found.reason is None
    assert [warning.split(": ")[0] for warning in found.warnings] == ["image", "image", NOT_CHECKED.split(": ")[0]]
    assert json.loads(found.as_json())["warnings"] == list(found.warnings)
    assert [f"warning: {warning}" for warning in found.warnings] == found.lines()[-4:-1]


def test_findings_are_asked_of_each_image_alone(answerer, pngs, monkeypatch):
    """Whatever this model says: as many answers as images, which the schema allows, or a reason."""
    monkeypatch.setattr(answerer, "model", replace(answerer.model, taught=frozenset({"difference", "abnormality"})))
    for names, files in ((["current", "prior"], pngs), (["current"], {"current": pngs["current"]})):
        plain = valid(answerer(**files))
        assert plain["findings_reason"] or list(plain["findings"]) == names


def test_ap_against_pa_is_answered_with_a_warning(answerer, pair):
    answer = answerer(**pair(prior={"ViewPosition": "AP"}))
    assert answer.reason is None
    assert any("AP" in warning for warning in answer.warnings)


def test_boxes_are_in_pixels_of_the_file_however_it_was_turned(answerer, pair, pngs, phantom_pixels, write_dicom):
    """A file that was stored turned and mirrored gives the answer of the upright one, and its boxes turned with it."""
    files = pair()
    turned = np.ascontiguousarray(phantom_pixels["current"][:, ::-1].T)
    write_dicom(files["current"], turned, PatientOrientation=["F", "R"])
    radiograph, upright = read_radiograph(files["current"], "x"), read_radiograph(pngs["current"], "x")
    assert (
        np.abs(show_radiograph(radiograph, 64, EQUALISED).astype(int) - show_radiograph(upright, 64, EQUALISED)).mean()
        < 1
    )
    box = Box(20, 10, 40, 30)
    width = phantom_pixels["current"].shape[1]
    x1, y1, x2, y2 = upright.frame.out_of_square(box, 64).as_tuple()
    assert radiograph.frame.out_of_square(box, 64).as_tuple() == pytest.approx((y1, width - x2, y2, width - x1))
    answer = answerer(**files)
    assert answer.text == answerer(**pngs).text
    assert any(warning.startswith("current: turned") for warning in answer.warnings)


def test_nothing_of_a_header_or_a_path_comes_out(pair, command, secrets, tmp_path):
    """In answers as text, as JSON and as a picture, and in errors."""
    said = []
    overlay = tmp_path / "overlay.png"
    later, other = {"StudyDate": "19871231"}, {"PatientID": "ID-4711-2"}
    for prior, current, *options in (
        ({}, {}),
        ({}, {}, "--json", "--overlay", overlay),
        ({"Modality": "CT"}, {}, "--json"),
        ({}, later),
        ({}, later, "--trust-order"),
        (other, {}),
        (other, {}, "--trust-identity", "--json"),
        ({"PatientOrientation": ["R", "F"]}, {"ViewPosition": "AP"}),
        ({"Rows": 5000}, {}),
        ({"RescaleSlope": "nan", "RescaleIntercept": "0"}, {}),
    ):
        status, out, err = command(pair(prior=prior, current=current), *options)
        assert status in (0, 2)
        assert (status == 2) == err.startswith("error: ")
        said.append(out + err)
    said = "".join(said).encode() + overlay.read_bytes()
    assert [secret for secret in (*secrets, "20240102", "20230102", str(tmp_path)) if secret.encode() in said] == []


def damage(file, **values):
    """Lay values over a JSON file of a model folder, or take keys away (None); without values, fill it with bytes."""

    def change(folder):
        if not values:
            (folder / file).write_bytes(b"no weights" * 5)
            seal(folder)
            return
        content = {**json.loads((folder / file).read_text()), **values}
        (folder / file).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
        seal(folder)

    return change


FOLDERS = {
    "another model": (damage("config.json", model_type="diffvqa_difference_2"), "diffvqa_difference_2"),
    "another encoder": (damage("config.json", vision_config={"model_type": "other"}), "other"),
    "no language model": (damage("config.json", language_config=None), "checkpoint"),
    "another convention": (damage("preprocessor_config.json", intensity="logarithmic"), "another version"),
    "damaged weights": (damage("model.safetensors"), "damaged"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_model_folder_of_another_version_gets_one_line(trained_model_folder, pngs, tmp_path, kind):
    change, named = FOLDERS[kind]
    shutil.copytree(trained_model_folder, tmp_path / "model")
    change(tmp_path / "model")
    with pytest.raises(InputError, match=r"^model: ") as caught:
        Answerer.from_pretrained(tmp_path / "model")(**pngs)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_says_no_convention_shows_values_as_stored(model_folder, pngs, tmp_path):
    shutil.copytree(model_folder, tmp_path / "model")
    damage("preprocessor_config.json", intensity=None)(tmp_path / "model")
    (tmp_path / "model" / "run.json").unlink()
    answerer = Answerer.from_pretrained(tmp_path / "model")
    assert intensity_of(answerer.model.difference.processor) == AS_STORED
    assert "run.json" in answerer(**pngs).findings_reason


BAD_FILES = {
    "text": (lambda path, write, pixels: path.write_text("no image"), "not a PNG or JPEG"),
    "empty": (lambda path, write, pixels: path.touch(), "an empty file"),
    "several frames": (lambda path, write, pixels: write(path, pixels, NumberOfFrames=2), "several pictures"),
    "no pixels": (lambda path, write, pixels: write(path, None), "without a picture"),
    "bomb": (lambda path, write, pixels: Image.new("1", (20_000, 20_000)).save(path, "PNG"), "too many"),
    "strip": (lambda path, write, pixels: Image.new("1", (20_000, 1_000)).save(path, "PNG"), "4 times"),
    "no number": (
        lambda path, write, pixels: write(path, pixels, RescaleSlope="nan", RescaleIntercept="0"),
        "cannot be decoded",
    ),
    "floating point": (
        lambda path, write, pixels: write(path, pixels, FloatPixelData=np.full(pixels.shape, np.nan, "f4").tobytes()),
        "floating-point",
    ),
}


@pytest.mark.filterwarnings("ignore:Invalid value")  # of writing such files
@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_gets_one_line_that_names_its_argument(
    pngs, command, write_dicom, phantom_pixels, secrets, tmp_path, kind
):
    make, named = BAD_FILES[kind]
    path = tmp_path / f"{secrets[0]}.png"
    make(path, write_dicom, phantom_pixels["prior"])
    status, out, err = command({"prior": path, "current": pngs["current"]})
    assert (status, out) == (2, "")
    assert err.startswith("error: --prior: expected a PNG, JPEG or DICOM radiograph, found ")
    assert named in err
    assert len(err.splitlines()) == 1
    assert not any(secret in err for secret in secrets)


@pytest.mark.parametrize("question", ["", "x" * 10_000])
def test_a_question_that_is_none_gets_one_line(pngs, command, question):
    status, out, err = command(pngs, "--question", question)
    assert (status, out) == (2, "")
    assert err == f"error: --question: expected 1 to 500 characters, found {len(question)}\n"
