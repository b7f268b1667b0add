"""What programs ask for: answers, pictures, the description; and what never comes out."""

import io
import json
from importlib import resources

import jsonschema
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from diffvqa.answering.answer import NOTICE
from diffvqa.answering.answerer import SYNTHETIC_ONLY, Answerer
from diffvqa.answering.case import NOT_CHECKED
from diffvqa.errors import InputError
from diffvqa.images.orientation import orientation_of
from diffvqa.serving.app import create_app

SCHEMA = json.loads(resources.files("diffvqa.answering").joinpath("answer.schema.json").read_text(encoding="utf-8"))
DATES = ("20240102", "20230102")


@pytest.fixture(scope="module")
def answerer(model_folder):
    return Answerer.from_pretrained(model_folder)


@pytest.fixture(scope="module")
def model_client(answerer):
    with TestClient(create_app(answerer), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def dicom_pair(phantom_pixels, write_dicom, tmp_path, secrets):
    """Write both files, the prior a year earlier; elements laid over both, or over one."""

    def write(prior=(), current=(), **both):
        laid_over = {"prior": {"StudyDate": "20230102", **both, **dict(prior)}, "current": {**both, **dict(current)}}
        return {
            name: write_dicom(tmp_path / f"{secrets[0]} {name}.dcm", pixels, **laid_over[name])
            for name, pixels in phantom_pixels.items()
        }

    return write


@pytest.fixture
def pngs(phantom_pixels, to_png, tmp_path):
    for name, pixels in phantom_pixels.items():
        (tmp_path / f"{name}.png").write_bytes(to_png(pixels))
    return {name: tmp_path / f"{name}.png" for name in phantom_pixels}


def send(client, paths, **fields):
    files = {name: (path.name, path.read_bytes()) for name, path in paths.items()}
    return client.post("/answer", files=files, data=fields)


@pytest.mark.parametrize("alone", [False, True])
def test_the_answer_is_that_of_the_answerer(model_client, answerer, pngs, alone):
    paths = {"current": pngs["current"]} if alone else pngs
    response = send(model_client, paths)
    assert response.status_code == 200
    assert response.json() == json.loads(json.dumps(answerer(**paths).as_dict()))
    jsonschema.Draft202012Validator(SCHEMA).validate(response.json())


@pytest.mark.parametrize("form", ["plain", "jpeg-ls"])
def test_a_pair_of_dicom_files(model_client, answerer, dicom_pair, form):
    paths = dicom_pair(form=form, bits=12, PhotometricInterpretation="MONOCHROME1")
    response = send(model_client, paths)
    assert response.json() == json.loads(json.dumps(answerer(**paths).as_dict()))
    assert response.json()["warnings"] == [NOT_CHECKED, SYNTHETIC_ONLY]


def test_a_question_goes_to_the_model(model_client, answerer, pngs):
    found = send(model_client, pngs, question="Is there  edema?").json()
    assert found["question"] == "is there edema?"
    assert found == json.loads(json.dumps(answerer(**pngs, question="is there edema?").as_dict()))


def test_what_headers_say_is_refused_unless_told(model_client, dicom_pair):
    paths = dicom_pair(prior={"StudyDate": "20250101", "PatientID": "ID-4712"})
    refused = send(model_client, paths, trust_order="true")
    assert refused.status_code == 422
    assert "different patients" in refused.json()["detail"]
    assert "trust_identity" in refused.json()["detail"]
    assert "--" not in refused.json()["detail"]
    assert send(model_client, paths, trust_order="false", trust_identity="true").status_code == 422
    allowed = send(model_client, paths, trust_order="true", trust_identity="true")
    assert allowed.status_code == 200
    assert any("the headers contradict it" in warning for warning in allowed.json()["warnings"])


def test_what_cannot_be_compared_is_an_answer(model_client, dicom_pair):
    response = send(model_client, dicom_pair(prior={"ViewPosition": "LL"}))
    assert response.status_code == 200
    assert response.json()["text"] == "cannot compare"


BAD = {
    "no current": ({"prior": b"x"}, {}, "current: expected"),
    "no image": ({"current": b"no image"}, {}, "current: expected a PNG, JPEG or DICOM radiograph, found not a PNG"),
    "empty": ({"current": b""}, {}, "current: expected a PNG, JPEG or DICOM radiograph, found an empty file"),
    "a word for a flag": ({"current": b"x"}, {"trust_order": "perhaps"}, "trust_order: expected true or false"),
    "another field": ({"current": b"x", "mask": b"x"}, {}, "expected only the fields current, prior, question"),
    "too many files": ([("current", b"x"), ("prior", b"x"), ("prior", b"x")], {}, "prior: expected at most 1"),
    "question twice": ({"current": b"x"}, {"question": ["a", "b"]}, "question: expected at most 1"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_field_that_cannot_be_used_is_named(client, told, kind):
    files, fields, said = BAD[kind]
    response = client.post("/answer", files=files, data=fields)
    assert response.status_code == 422
    assert response.json()["detail"].startswith(said)
    assert told.asked == []


@pytest.mark.parametrize("question", [" ", "x" * 501, "x" * 10_000])
def test_a_question_that_is_none(model_client, pngs, question):
    response = send(model_client, pngs, question=question)
    assert response.status_code == 422
    assert response.json()["detail"].startswith("question: expected 1 to 500 characters")


def test_a_question_about_change_takes_two(model_client, pngs):
    response = send(model_client, {"current": pngs["current"]}, question="what has changed?")
    assert response.status_code == 422
    assert response.json()["detail"] == "question: asks about a change and needs two radiographs; give prior, too"


def test_the_same_picture_twice_is_refused(model_client, pngs):
    response = send(model_client, {"current": pngs["current"], "prior": pngs["current"]})
    assert response.status_code == 422
    assert "current and prior show the same picture" in response.json()["detail"]


def test_a_model_of_several_priors_takes_them_in_order(told, files, to_png):
    pictures = [to_png(np.full((50, 50), level, np.uint8)) for level in (10, 20, 30)]
    with TestClient(create_app(told, priors=2), base_url="http://127.0.0.1") as client:
        sent = [("prior", pictures[1]), ("current", pictures[0]), ("prior", pictures[2])]
        assert client.post("/answer", files=sent).status_code == 200
    (asked,) = told.asked
    assert [one.stored[0, 0] for one in (asked["current"], *asked["prior"])] == [10, 20, 30]


def form_of(*parts):
    """A form as browsers send it: (name, name of the file or None, content) of each part."""
    body = b""
    for name, filename, content in parts:
        file = "" if filename is None else f'; filename="{filename}"\r\nContent-Type: application/octet-stream'
        body += f'--XyZ\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"
    return {"content": body + b"--XyZ--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=XyZ"}}


UNCHOSEN = ("prior", "", b"")


def test_a_file_field_without_a_choice_is_none(client, told, files):
    chosen = ("current", "b.png", files["current"])
    for parts in ((chosen, UNCHOSEN), (UNCHOSEN, chosen), (UNCHOSEN, UNCHOSEN, chosen)):
        assert client.post("/answer", **form_of(*parts)).status_code == 200
        assert told.asked.pop()["prior"] == []


def test_a_field_without_a_choice_takes_no_place(client, told, files):
    prior = ("prior", "a.png", files["prior"])
    sent = form_of(UNCHOSEN, prior, ("current", "b.png", files["current"]), UNCHOSEN)
    assert client.post("/answer", **sent).status_code == 200
    assert len(told.asked[0]["prior"]) == 1
    unnamed = ("prior", "", files["prior"])
    assert client.post("/answer", **form_of(unnamed, ("current", "b.png", files["current"]))).status_code == 200
    assert len(told.asked[1]["prior"]) == 1
    refused = client.post("/answer", **form_of(prior, unnamed, ("current", "b.png", files["current"])))
    assert refused.json()["detail"] == "prior: expected at most 1, found more"


def test_a_current_file_that_is_not_chosen_is_missing_and_an_empty_one_empty(client, told):
    missing = client.post("/answer", **form_of(("current", "", b"")))
    assert missing.json()["detail"] == "current: expected a PNG, JPEG or DICOM radiograph, found none"
    empty = client.post("/answer", **form_of(("current", "b.png", b"")))
    assert "an empty file" in empty.json()["detail"]
    assert told.asked == []


def test_fields_of_a_plain_form(client, told, files):
    fields = (("question", None, b""), ("trust_order", None, b"on"))
    response = client.post("/answer", **form_of(("current", "b.png", files["current"]), *fields))
    assert response.status_code == 200
    assert (told.asked[0]["question"], told.asked[0]["trust_order"]) == (None, True)


@pytest.mark.parametrize(
    ("directions", "stored"),
    [
        (["L", "F"], "sides"),
        (["R", "F"], "mirrored_x sides"),
        (["F", "R"], "transposed mirrored_x sides"),
        (["H", "L"], "transposed mirrored_y sides"),
        (["A", "F"], ""),
    ],
)
def test_a_picture_is_upright_and_says_how_it_is_stored(
    client, phantom_pixels, write_dicom, tmp_path, directions, stored
):
    path = write_dicom(tmp_path / "x.dcm", phantom_pixels["current"], PatientOrientation=directions, ViewPosition="")
    response = client.post("/picture", files={"image": path.read_bytes()})
    assert response.headers["Diffvqa-Stored"] == stored
    upright = orientation_of(directions).upright(phantom_pixels["current"])
    assert np.abs(np.asarray(Image.open(io.BytesIO(response.content))).astype(int) - upright).max() <= 1


def test_a_picture_is_that_of_the_stored_pixels(client, phantom_pixels, write_dicom, tmp_path):
    path = write_dicom(tmp_path / "x.dcm", phantom_pixels["current"], PhotometricInterpretation="MONOCHROME1")
    response = client.post("/picture", files={"image": path.read_bytes()})
    assert response.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(response.content))
    assert (picture.format, picture.mode) == ("PNG", "L")
    assert np.abs(np.asarray(picture).astype(int) - phantom_pixels["current"]).max() <= 1
    refused = client.post("/picture", files={"image": b"none"})
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("image: expected a PNG, JPEG or DICOM radiograph")


def test_health_says_the_model_and_the_limits(client):
    assert client.get("/health").json() == {
        "status": "ready",
        "model": {"name": "model", "version": "0123456789ab", "diffvqa": "0.1.0"},
        "limits": {"priors": 1, "file_bytes": 64 * 2**20},
    }


def test_the_description_holds_the_schema_of_answers(client):
    described = client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert described["info"]["description"] == NOTICE
    schemas = described["components"]["schemas"]
    content = described["paths"]["/answer"]["post"]["responses"]["200"]["content"]
    assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/answer"}}}
    assert schemas["answer"]["properties"].keys() == SCHEMA["properties"].keys()
    fields = described["paths"]["/answer"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert list(fields["properties"]) == ["current", "prior", "question", "trust_order", "trust_identity"]
    references = [text.split('"')[0] for text in json.dumps(described).split('"$ref": "')[1:]]
    assert references
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in schemas
    for operation in (one for path in described["paths"].values() for one in path.values()):
        assert operation["summary"]
        assert operation["responses"]


def test_the_schema_of_the_description_accepts_answers_and_refuses_others(client, files):
    described = client.get("/openapi.json").json()
    answer = client.post("/answer", files=files).json()
    schema = {"$ref": "#/components/schemas/answer", "components": described["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer)
    for broken in ({**answer, "boxes": [{"image": "current"}]}, {**answer, "reason": "x"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema).validate(broken)


def test_what_the_library_refuses_is_said_in_fields(client, told, files):
    told.answer = InputError("odd; give {trust_order}", argument="prior", mentions=("trust_order",))
    response = client.post("/answer", files=files)
    assert response.status_code == 422
    assert response.json() == {"detail": "prior: odd; give trust_order"}


def test_what_goes_wrong_inside_is_told_without_its_words(client, told, files, secrets, caplog, capfd):
    told.answer = RuntimeError(secrets[0])
    response = client.post("/answer", files=files)
    assert response.status_code == 500
    assert response.json() == {"detail": "something went wrong; the server's log says where"}
    assert "RuntimeError in __call__, line" in caplog.text
    assert secrets[0] not in caplog.text + "".join(capfd.readouterr())
    told.answer = None
    assert client.get("/health").json()["status"] == "ready"


@pytest.mark.filterwarnings("ignore:Invalid value")  # of writing such files
def test_nothing_of_a_header_or_a_name_comes_out(model_client, dicom_pair, secrets, caplog, capfd):
    caplog.set_level("DEBUG")
    later, other = {"StudyDate": "19871231"}, {"PatientID": "ID-4711-2"}
    said = []
    for prior, current, fields in (
        ({}, {}, {}),
        ({"Modality": "CT"}, {}, {}),
        ({}, later, {}),
        ({}, later, {"trust_order": "true"}),
        (other, {}, {}),
        (other, {}, {"trust_identity": "true"}),
        ({"Rows": 5000}, {}, {}),
        ({"RescaleSlope": "nan", "RescaleIntercept": "0"}, {}, {}),
    ):
        paths = dicom_pair(prior=prior, current=current)
        response = send(model_client, paths, **fields)
        assert response.status_code in (200, 422)
        pictures = [model_client.post("/picture", files={"image": path.read_bytes()}) for path in paths.values()]
        unknown = model_client.post("/answer", files={secrets[0]: paths["prior"].read_bytes()})
        assert unknown.status_code == 422
        said += [one.content + repr(one.headers).encode() for one in (response, unknown, *pictures)]
    out, err = capfd.readouterr()
    log = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpx"))
    everything = b"".join(said) + (log + out + err).encode()
    assert [secret for secret in (*secrets, *DATES, ".dcm") if secret.encode() in everything] == []
