"""Two files and a question to an answer, and what a user reads who gives something else."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import reference
from diffvqa.answering import answerer as answerer_module
from diffvqa.answering.answer import CANNOT_COMPARE, NOTICE, FoundBox
from diffvqa.answering.answer_text import answer_lines
from diffvqa.answering.answerer import Answerer
from diffvqa.answering.case import FREE_WORDS, ONE_IMAGE, Case
from diffvqa.answering.overlay import SIZE, Marked, draw_answer, draw_overlay
from diffvqa.boxes import Box, Frame, intersection_over_union
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.findings import DIFFERENCE_QUESTION, Change, write_changes
from diffvqa.images.colours import BOX_COLOURS
from diffvqa.images.header import Header
from diffvqa.images.intensities import AS_STORED, EQUALISED
from diffvqa.images.orientation import Orientation
from diffvqa.images.radiograph import Radiograph, read_radiograph
from diffvqa.inference.asking import WrittenAnswer
from diffvqa.inference.features import encode_radiographs
from diffvqa.inference.grounding import ground_phrase
from diffvqa.models.captioner import Captioner
from diffvqa.models.folder import load_folder

pytestmark = pytest.mark.usefixtures("letters_name_findings")


@pytest.fixture(scope="module")
def answerer(model_folder):
    return Answerer.from_pretrained(model_folder)


@pytest.fixture
def files(tmp_path):
    random = np.random.default_rng(0)
    paths = {}
    for name, shape in (("prior", (90, 70)), ("current", (80, 96))):
        paths[name] = tmp_path / f"{name}.png"
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(paths[name])
    return paths


def test_an_answer_has_text_confidence_and_boxes_inside_the_files(answerer, files):
    answer = answerer(**files)
    assert answer.question == "what has changed compared to the reference image?"
    assert 0 <= answer.confidence <= 1
    assert answer.boxes is not None
    plain = answer.as_dict()
    assert plain["notice"] == NOTICE
    assert plain["text"] == answer.text


def test_one_image_is_asked_about_alone(answerer, files):
    answer = answerer(current=files["current"], question="Is there  edema?")
    assert answer.question == "is there edema?"
    assert "abnormalities" in answerer(current=files["current"]).question


@pytest.mark.parametrize("alone", [False, True])
def test_of_a_question_in_free_words_nothing_is_known_but_the_text(saying, files, alone):
    given = {"current": files["current"]} if alone else files
    answer = saying(**given, question="Should I worry about this?")
    assert answer.text == SAID
    assert (answer.confidence, answer.calibrated, answer.changes, answer.findings) == (None, False, None, None)
    assert not answer.boxes
    assert answer.findings_reason == FREE_WORDS
    assert FREE_WORDS in answer.warnings
    assert not any("confidence" in line for line in answer_lines(answer))


@pytest.mark.parametrize(
    ("taught", "question", "answered"),
    [
        ({"difference", "abnormality"}, "What level is the edema?", False),
        ({"difference", "abnormality"}, "is there edema?", False),
        ({"difference"}, None, True),
        ({"abnormality"}, None, False),
        ({"difference", "presence"}, "is there edema?", True),
        ({"difference"}, "should I worry?", True),
        # A type of another dataset may have questions in any words.
        ({"difference", "of another dataset"}, "is there edema?", True),
        (None, "is there edema?", True),
    ],
)
def test_a_known_type_that_was_never_taught_is_refused(saying, files, monkeypatch, taught, question, answered):
    taught = None if taught is None else frozenset(taught)
    monkeypatch.setattr(saying, "model", replace(saying.model, taught=taught))
    answer = saying(**files, question=question)
    assert (answer.reason is None) == answered
    if not answered:
        assert answer.text == CANNOT_COMPARE
        assert answer.reason.startswith("the model was never taught questions of the type")
        assert (answer.confidence, answer.changes, answer.findings, answer.boxes) == (None, None, None, None)


@pytest.mark.parametrize("question", ["Is there edema?", "is there evidence of edema in this image?"])
def test_a_question_about_one_image_is_asked_of_the_current_one_alone(answerer, files, question):
    both, alone = answerer(**files, question=question), answerer(current=files["current"], question=question)
    assert both.warnings[0].startswith("current and prior: the files do not say whether")
    assert ONE_IMAGE in both.warnings
    assert ONE_IMAGE not in alone.warnings
    assert both.text == alone.text
    # Two images are encoded in one batch, so that the last digits may differ.
    assert both.confidence == pytest.approx(alone.confidence, rel=1e-4)
    assert answerer(**files, question="Could it be edema?").text != alone.text  # in free words, of both


@pytest.mark.parametrize(
    "question", ["what has changed in the patient's shoe?", "what has changed since the operation?"]
)
def test_a_question_about_changes_in_free_words_has_text_alone(saying, files, question):
    answer = saying(**files, question=question)
    assert answer.text == SAID
    assert (answer.confidence, answer.calibrated, answer.changes, answer.findings) == (None, False, None, None)
    assert FREE_WORDS in answer.warnings


def test_what_reads_like_a_change_is_none_where_another_question_was_asked(saying, files):
    answer = saying(**files, question="is there edema?")
    assert answer.changes is None
    assert answer.confidence == 0.5


SAID = (
    "the level of edema has changed from mild to severe. "
    "the main image has an additional finding of nodule than the reference image."
)
NAMED = {"current": ("edema", "hernia"), "prior": ("edema",)}


@pytest.fixture
def saying(answerer, monkeypatch):
    """The answerer with a model that says SAID and names NAMED; its captioner is the one it has."""
    monkeypatch.setattr("diffvqa.answering.answerer.answer_questions", lambda *_, **__: [WrittenAnswer(SAID, 0.5)])
    monkeypatch.setattr(
        "diffvqa.answering.answerer.name_findings", lambda *_: dict(zip("01", NAMED.values(), strict=True))
    )
    monkeypatch.setattr(
        answerer, "model", replace(answerer.model, taught=frozenset({"difference", "abnormality", "presence"}))
    )
    return answerer


def test_changes_and_findings_have_boxes_in_the_images_that_show_them(saying, files):
    answer = saying(**files)
    assert answer.changes == (Change("edema", "level", "mild", "severe"), Change("nodule", "added"))
    assert answer.findings == NAMED
    assert answer.findings_reason is answer.boxes_reason is None
    # Of what has changed there is one box an image, though it is also named there.
    possible = {
        ("current", "edema", "change"),
        ("prior", "edema", "change"),
        ("current", "nodule", "change"),
        ("current", "hernia", "finding"),
    }
    assert len(answer.boxes) == len(set(answer.boxes))
    assert {(one.image, one.label, one.kind) for one in answer.boxes} == possible
    for one in answer.boxes:
        width, height = Image.open(files[one.image]).size
        assert 0 <= one.box.x1 < one.box.x2 <= width
        assert 0 <= one.box.y1 < one.box.y2 <= height


def test_the_lines_say_all_that_the_answer_holds(saying, files):
    answer = saying(**files)
    lines = answer_lines(answer)
    assert lines[0] == SAID
    for said in (
        "confidence 0.50 (not calibrated)",
        "change: edema from mild to severe",
        "change: nodule added",
        "current image: edema, hernia",
        "prior image: edema",
        f"model {answer.model.name}, version {answer.model.version}, diffvqa {answer.model.diffvqa}",
        *(f"warning: {warning}" for warning in answer.warnings),
    ):
        assert said in lines
    for one in answer.boxes:
        corners = " ".join(f"{value:.1f}" for value in one.box.as_tuple())
        assert f"  {one.phrase}, {one.image} image: {corners}" in lines
    assert lines[-1] == NOTICE


def test_the_picture_of_an_answer_tells_changes_from_findings(saying, files):
    answer = saying(**files)
    radiographs = {name: read_radiograph(path, name) for name, path in files.items()}
    whole = np.asarray(draw_answer(answer, radiographs)).astype(int)

    def drawn(kind):
        without = tuple(one for one in answer.boxes if one.kind != kind)
        return np.abs(whole - np.asarray(draw_answer(replace(answer, boxes=without), radiographs))).sum()

    assert drawn("change") > 0
    assert drawn("finding") > 0
    as_finding = tuple(replace(one, kind="finding") for one in answer.boxes)
    thinner = np.asarray(draw_answer(replace(answer, boxes=as_finding), radiographs)).astype(int)
    assert np.abs(whole - thinner).sum() > 0


@pytest.mark.parametrize("intensity", [EQUALISED, AS_STORED])
def test_a_captioner_of_other_grey_values_is_shown_its_own(saying, files, monkeypatch, intensity):
    """With the same encoder and the same grey values its features are those of the difference model."""
    encoded = []

    def noting(model, radiographs):
        encoded.append(model)
        return encode_radiographs(model, radiographs)

    monkeypatch.setattr("diffvqa.inference.model.encode_radiographs", noting)
    monkeypatch.setattr(saying.model.difference.processor, "intensity", intensity)
    saying(**files)
    assert encoded == [saying.model.difference, *([] if intensity == EQUALISED else [saying.model.captioner])]


def test_without_a_captioner_there_are_no_boxes_and_a_reason(answerer, files):
    answer = Answerer(replace(answerer.model, captioner=None, no_boxes_reason="there is no captioner"))(**files)
    assert answer.boxes is None
    assert "captioner" in answer.boxes_reason


def test_the_same_image_twice_in_other_files_is_allowed_but_one_file_is_not(answerer, files, tmp_path):
    with pytest.raises(InputError, match="the same file"):
        answerer(current=files["current"], prior=files["current"])
    (tmp_path / "link.png").symlink_to(files["current"])
    with pytest.raises(InputError, match="the same file"):
        answerer(current=files["current"], prior=tmp_path / "link.png")


@pytest.mark.parametrize("question", ["", "   ", "x" * 501])
def test_a_question_of_no_or_too_many_characters_is_refused(answerer, files, question):
    with pytest.raises(InputError, match=r"^question: "):
        answerer(**files, question=question)


def test_a_question_that_leaves_no_room_for_an_answer_is_refused(answerer, files):
    with pytest.raises(InputError, match="question: expected fewer than"):
        answerer(**files, question="zebra " * 60)


def test_a_file_that_is_no_image_is_named_by_its_argument(answerer, files, tmp_path):
    (tmp_path / "secret-name.png").write_text("no image")
    with pytest.raises(InputError, match=r"^prior: ") as caught:
        answerer(current=files["current"], prior=tmp_path / "secret-name.png")
    assert "secret-name" not in str(caught.value)


def test_an_evaluation_and_an_answer_agree(answerer, store_folder, cohort_folder, monkeypatch):
    """The same images through the store and as files, their grey values as they are, give the same."""
    from diffvqa.evaluating.questions import predict_answers
    from diffvqa.inference.features import encode_squares

    monkeypatch.setattr(answerer.model.difference.processor, "intensity", AS_STORED)
    store = Store.open(store_folder)
    for question in [one for one in store.questions if one.type == "difference"][:4]:
        paths, features = {}, {}
        for side, image in (("prior", question.pair.prior), ("current", question.pair.current)):
            (paths[side],) = cohort_folder.rglob(f"{image}.jpg")
            square = store.pixels(store.index[image])
            features[image] = encode_squares(answerer.model.difference, [square])[0]
        ((row,), _) = predict_answers(answerer.model.difference, [question], features)
        answer = answerer(**paths, question=question.text)
        assert answer.text == row["answer"]
        assert np.log(answer.confidence) == pytest.approx(np.log(row["confidence"]), abs=reference.CLOSE)


@pytest.mark.parametrize("how", [{}, {"count": 3}, {"count": 3, "by": "beams"}], ids=str)
def test_the_boxes_of_a_phrase_lie_in_the_image_and_differ(captioner_folder, files, how):
    captioner = load_folder(Captioner, captioner_folder, "model")
    radiograph = read_radiograph(files["current"], "image")
    found = ground_phrase(captioner, radiograph, "pleural effusion", **how)
    assert found == ground_phrase(captioner, radiograph, "pleural effusion", **how)
    assert len(found) <= how.get("count", 1)
    for one in found:
        assert 0 <= one.box.x1 < one.box.x2 <= 96
        assert 0 <= one.box.y1 < one.box.y2 <= 80
    shares = [one.share for one in found if one.share is not None]
    assert bool(shares) == (how != {})
    assert shares == sorted(shares, reverse=True)
    assert 0 <= sum(shares) <= 1 + 1e-6
    for one, other in itertools.combinations(found, 2):
        assert intersection_over_union(one.box, other.box) < 0.5


def test_an_overlay_draws_each_box_where_it_is():
    pixels = Radiograph(np.zeros((200, 100), np.uint8))
    found = FoundBox("current", "edema", Box(20, 40, 80, 160))
    plain = np.asarray(draw_overlay([("current", pixels, [])])).astype(int)
    drawn = np.asarray(draw_overlay([("current", pixels, [Marked(found.label, found.box)])])).astype(int)
    rows, columns = np.nonzero(np.abs(drawn - plain).sum(2))
    scale = SIZE / 200
    left = (SIZE - 100 * scale) / 2
    assert columns.min() == pytest.approx(left + 20 * scale, abs=2)
    assert columns.max() == pytest.approx(left + 80 * scale, abs=2)
    assert rows.max() == pytest.approx(22 + 160 * scale, abs=2)


TURNS = list(itertools.product((False, True), repeat=3))


@pytest.mark.parametrize("turns", TURNS, ids=str)
def test_an_overlay_is_the_same_however_a_file_is_stored(turns):
    """Upright, with its boxes turned along: an effusion is boxed on the side of the patient that it is on."""
    upright = np.random.default_rng(0).integers(0, 256, (200, 100), np.uint8)
    box, way = Box(60, 120, 90, 190), Orientation(*turns)
    expected = draw_overlay([("current", Radiograph(upright), [Marked("effusion", box)])])
    # Backwards: mirrored first, then transposed.
    flipped = upright[:: -1 if way.mirrored_y else 1, :: -1 if way.mirrored_x else 1]
    stored = Radiograph(np.ascontiguousarray(flipped.T if way.transposed else flipped), orientation=way)
    assert (stored.upright == upright).all()
    found = draw_overlay([("current", stored, [Marked("effusion", way.out_of(box, 100, 200))])])
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", [(200, 100), (100, 200)])
def test_the_sides_of_the_patient_are_marked(shape):
    height, width = shape
    frame = Frame.letterbox(width, height, SIZE)
    seen = np.asarray(draw_overlay([("current", Radiograph(np.full(shape, 60, np.uint8)), [])]).convert("L"))
    _, columns = np.nonzero(seen[22 + SIZE // 2 - 20 : 22 + SIZE // 2 + 20] > 200)
    left, right = frame.left, SIZE - frame.left
    assert left < columns.min() < left + 30
    assert right - 30 < columns.max() < right
    assert not ((columns > left + 30) & (columns < right - 30)).any()


def test_a_lateral_view_has_no_sides():
    grey = np.full((100, 100), 60, np.uint8)
    lateral, frontal = (
        np.asarray(draw_overlay([("current", Radiograph(grey, Header(view=view)), [])])) for view in ("LATERAL", "PA")
    )
    inside = np.s_[30 : SIZE + 20, 4 : SIZE - 4]
    assert lateral[inside].max() == 60
    assert frontal[inside].max() == 255


def test_labels_of_an_overlay_end_in_their_panel_and_leave_one_another_readable():
    def drawn(labels):
        pixels = Radiograph(np.zeros((SIZE, SIZE), np.uint8))
        boxes = [Marked(label, Box(400, 100 + number, 420, 120)) for number, label in enumerate(labels)]
        return np.asarray(draw_overlay([("prior", pixels, boxes), ("current", pixels, [])])).astype(int)

    long = "pleural effusion"
    assert (drawn([long])[22:SIZE, SIZE:] == drawn([])[22:SIZE, SIZE:]).all()
    two = drawn([long, "consolidation"])
    first, second = (np.abs(two - colour).sum(2) == 0 for colour in BOX_COLOURS[:2])
    rows = [np.flatnonzero(colour[:, 425:SIZE].any(1)) for colour in (first, second)]
    assert rows[0].max() < rows[1].min()


def test_changes_have_one_order_also_where_a_finding_is_named_twice():
    changes = [Change(finding, kind) for finding in ("atelectasis", "edema") for kind in ("added", "missing")]
    text = " ".join(write_changes([change]) for change in changes)
    case = Case(DIFFERENCE_QUESTION, {}, (), None)
    assert answerer_module._changes(case, text) == tuple(changes)


def test_a_box_is_drawn_on_the_picture_that_it_is_of(saying, files):
    """The prior stands at the left, in whatever order they are given, and each has its own boxes."""
    answer = saying(**files)
    radiographs = {name: read_radiograph(path, name) for name, path in files.items()}
    for left, image, other in ((0, "prior", "current"), (SIZE, "current", "prior")):
        for order in (radiographs, dict(reversed(radiographs.items()))):
            found = FoundBox(image, "edema", Box(20, 30, 60, 70))
            plain, drawn = (
                np.asarray(draw_answer(replace(answer, boxes=boxes), order)).astype(int) for boxes in ((), (found,))
            )
            _, columns = np.nonzero(np.abs(drawn - plain).sum(2))
            assert left <= columns.min() <= columns.max() < left + SIZE, other
