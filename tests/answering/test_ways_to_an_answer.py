"""Every way from pictures to an answer gives what a second, plain way gives: text, likelihood, findings and boxes.

The files differ in all: prior and current image, one pair and another, what is at the left and at the right.
"""

import csv
import functools
import itertools
import json
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

import reference
from diffvqa.answering.answerer import Answerer
from diffvqa.answering.batch.predict import predict_pairs
from diffvqa.data.store import Store
from diffvqa.evaluating.evaluate import evaluate
from diffvqa.findings import (
    ABNORMALITIES_QUESTION,
    ANY_ABNORMALITY_QUESTION,
    DIFFERENCE_QUESTION,
    SHOWN_IN,
    read_changes,
    read_findings,
    turn_round,
)
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import load_folder
from diffvqa.sealed import write_sealed
from diffvqa.sealed_folder import seal
from diffvqa.serving.app import create_app

SIZE = 64
SHAPES = {"as stored": ((96, 70), (64, 64), (80, 110), (150, 149), (64, 40)), "equalised": ((SIZE, SIZE),) * 5}
"""Heights and widths of the files. Whether borders are equalised too is not asked here: those pictures have none."""

PLACES = (2, 9, 16, 23, 30)
"""Of the store's images whose pictures are in the files."""

AREA_QUESTION = "what has changed in the right basilar area?"

pytestmark = pytest.mark.usefixtures("letters_name_findings")


def naming(folder, to, **processor):
    """A copy of a model that is asked for findings too; processor: settings laid over its own and its captioner's."""
    shutil.copytree(folder, to)
    run = json.loads((to / "run.json").read_text())
    run["config"]["questions"] = {"difference": 1.0, "abnormality": 1.0, "presence": 1.0}
    run["questions_by_type"] = {"difference": 1, "abnormality": 1, "presence": 1}
    (to / "run.json").write_text(json.dumps(run))
    for part in (to, to / "captioner"):
        settings = json.loads((part / "preprocessor_config.json").read_text())
        (part / "preprocessor_config.json").write_text(json.dumps({**settings, **processor}))
    seal(to)
    return to


@pytest.fixture(scope="module", params=list(SHAPES))
def intensity(request):
    return request.param


@pytest.fixture(scope="module")
def folder(model_folder, intensity, tmp_path_factory):
    return naming(model_folder, tmp_path_factory.mktemp("naming") / "model", intensity=intensity)


@pytest.fixture(scope="module")
def parts(folder):
    """The difference model and the captioner of a folder."""
    return load_folder(DifferenceModel, folder, "MODEL"), load_folder(Captioner, folder / "captioner", "MODEL")


@pytest.fixture(scope="module")
def pictures(store_folder, intensity, tmp_path_factory):
    """Five files, dark and of little contrast, so that equalising them changes much."""
    folder = tmp_path_factory.mktemp("pictures")
    store, paths = Store.open(store_folder), []
    for number, (height, width) in enumerate(SHAPES[intensity]):
        grey = Image.fromarray(store.pixels(PLACES[number])).resize((width, height))
        paths.append(folder / f"{number}.png")
        Image.fromarray((20 + np.asarray(grey) * 0.4).astype(np.uint8)).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def asked(pictures):
    """Pairs of a current and a prior file, each in both orders, and one file alone; with questions."""
    pairs = list(itertools.permutations(pictures[:3], 2))[::-1][:4]
    return [
        *((current, prior, None) for current, prior in pairs),
        (pictures[3], pictures[4], AREA_QUESTION),
        (pictures[4], None, None),
        (pictures[3], None, "is there edema?"),
        (pictures[0], pictures[4], "is there edema?"),
        (pictures[1], None, "is there nodule?"),
    ]


@pytest.fixture(scope="module")
def expected(parts, intensity, pictures, asked):
    """What the plain way says of each: an answer with its findings and boxes."""
    model, captioner = parts
    squares = {path: reference.square(path, SIZE, intensity == "equalised") for path in pictures}

    @functools.cache
    def name_findings(path):
        whether = reference.answer(model, squares[path], [], ANY_ABNORMALITY_QUESTION)
        names = read_findings(reference.answer(model, squares[path], [], ABNORMALITIES_QUESTION).text)
        return () if whether.text == "no." else names

    @functools.cache
    def place(path, name):
        found = reference.finding_boxes(captioner, squares[path], name, *Image.open(path).size)
        return [([round(corner, 1) for corner in box.as_tuple()], phrase) for box, phrase in found]

    found = []
    for current, prior, question in asked:
        priors = [squares[prior]] if prior and question != "is there edema?" else []  # which is about one image
        question = question or (DIFFERENCE_QUESTION if prior else ABNORMALITIES_QUESTION)
        answer = reference.answer(model, squares[current], priors, question)
        files = {"current": current, **({"prior": prior} if prior else {})}
        findings = {name: name_findings(path) for name, path in files.items()}
        boxes = {}
        for change in (read_changes(answer.text) or [()])[0]:
            boxes |= {(image, change.finding): "change" for image in SHOWN_IN[change.kind] if image in files}
        for image, names in findings.items():
            for name in names:
                boxes.setdefault((image, name), "finding")
        placed = {}
        for (image, name), kind in boxes.items():
            for number, (box, phrase) in enumerate(place(files[image], name)):
                placed[image, name, number] = (kind, phrase, box)
        found.append((answer, findings, placed))
    return found


def require_alike(found, expected):
    """found: an answer as plain values, as files and clients have it."""
    answer, findings, boxes = expected
    assert found["text"] == answer.text
    assert np.log(found["confidence"]) == pytest.approx(answer.log_confidence, abs=reference.CLOSE)
    assert {image: tuple(names) for image, names in found["findings"].items()} == findings
    placed, before = {}, Counter()
    for one in found["boxes"]:
        label = one["image"], one["label"]
        placed[*label, before[label]] = (one["kind"], one["phrase"], one["box"])
        before[label] += 1
    assert placed.keys() == boxes.keys()
    for key, (kind, phrase, box) in boxes.items():
        assert placed[key] == (kind, phrase, pytest.approx(box, abs=0.11))


def test_the_plain_way_tells_the_pictures_apart(expected):
    texts = [answer.text for answer, _, _ in expected[:5]]
    assert len(set(texts)) >= 3
    assert any(findings["current"] != findings["prior"] for _, findings, _ in expected[:5])
    assert sum(len(boxes) for _, _, boxes in expected) > 10


def test_an_answer(folder, asked, expected):
    answerer = Answerer.from_pretrained(folder)
    for (current, prior, question), wanted in zip(asked, expected, strict=True):
        require_alike(answerer(current=current, prior=prior, question=question).as_dict(), wanted)


def test_a_table_of_pairs(folder, asked, expected, tmp_path):
    with (tmp_path / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(prior or "", question or "", current) for current, prior, question in asked]
        csv.writer(file).writerows([("prior", "question", "current"), *rows])
    predict_pairs(folder, tmp_path / "pairs.csv", tmp_path / "answers.jsonl")
    lines = (tmp_path / "answers.jsonl").read_text().splitlines()
    for line, wanted in zip(lines, expected, strict=True):
        require_alike(json.loads(line), wanted)


def test_a_server(folder, asked, expected):
    with TestClient(create_app(Answerer.from_pretrained(folder)), base_url="http://127.0.0.1") as client:
        for (current, prior, question), wanted in zip(asked, expected, strict=True):
            files = {"prior": prior, "current": current}
            response = client.post(
                "/answer",
                files={name: (name, path.read_bytes()) for name, path in files.items() if path},
                data={"question": question} if question else {},
            )
            require_alike(response.json(), wanted)


def test_boxes_are_found_in_what_the_captioner_is_shown(model_folder, store_folder, tmp_path):
    """Its grey values may be others than the model's."""
    folder, store = naming(model_folder, tmp_path / "model"), Store.open(store_folder)
    settings = folder / "captioner" / "preprocessor_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "intensity": "as stored"}))
    seal(folder)
    squares, paths = {}, {}
    for image, place in zip(("current", "prior"), PLACES, strict=False):
        squares[image], paths[image] = (20 + store.pixels(place) * 0.4).astype(np.uint8), tmp_path / f"{image}.png"
        Image.fromarray(squares[image]).save(paths[image])
    captioner = load_folder(Captioner, folder / "captioner", "MODEL")
    answer = Answerer.from_pretrained(folder)(**paths)
    assert answer.boxes
    for found in answer.boxes:
        boxes = reference.finding_boxes(captioner, squares[found.image], found.label, SIZE, SIZE)
        assert any(found.box.as_tuple() == pytest.approx(box.as_tuple(), abs=0.11) for box, _ in boxes)


def test_beams_end_where_a_plain_sum_says(folder, parts, asked, intensity):
    """A beam search scores what it says as the model does: the mean log probability of its words."""
    model, _ = parts
    answerer = Answerer.from_pretrained(folder)
    for current, prior, _ in asked[:3]:
        squares = [reference.square(path, SIZE, intensity == "equalised") for path in (current, prior)]
        greedy = reference.answer(model, squares[0], squares[1:], DIFFERENCE_QUESTION)
        found = answerer(current=current, prior=prior, beams=4)
        assert np.log(found.confidence) >= greedy.log_confidence - reference.CLOSE


@pytest.fixture(scope="module")
def evaluation(model_folder, store_folder, tmp_path_factory):
    """An evaluation of a model that is asked about findings too, and the rows by their identifiers."""
    folder = tmp_path_factory.mktemp("evaluation")
    evaluate(naming(model_folder, folder / "model"), store_folder, "test", folder / "out")
    return folder


def rows_of(path):
    return {(row["task"], row["id"]): row for row in map(json.loads, path.read_text().splitlines())}


def test_an_evaluation_and_its_controls(evaluation, store_folder):
    """Of a store's images, that are shown as they lie there."""
    store = Store.open(store_folder)
    model = load_folder(DifferenceModel, evaluation / "model", "MODEL")
    rows = rows_of(evaluation / "out" / "predictions.jsonl")
    blank = rows_of(evaluation / "out" / "controls" / "blank_images.jsonl")
    black = np.zeros((SIZE, SIZE), np.uint8)
    questions = [one for one in store.questions if one.split == "test" and ("question", one.question_id) in rows]
    assert {one.type for one in questions} == {"difference", "abnormality", "presence"}
    for one in questions:
        row = rows["question", one.question_id]
        current, *priors = (store.pixels(store.index[image]) for image in one.pair.images)
        wanted = reference.answer(model, current, priors, one.text)
        assert (row["answer"], row["question"], row["references"]) == (wanted.text, one.text, [one.answer])
        assert row["subject_id"] == one.subject_id
        assert np.log(row["confidence"]) == pytest.approx(wanted.log_confidence, abs=reference.CLOSE)
        wanted = reference.answer(model, black, [black] * len(priors), one.text)
        assert blank["question", one.question_id]["answer"] == wanted.text


def test_an_evaluation_on_a_store_as_stored(model_folder, store_folder, tmp_path):
    """A model of equalised images is shown such, and so is its captioner."""
    folder = shutil.copytree(store_folder, tmp_path / "store")
    about = json.loads((folder / "store.json").read_text())
    write_sealed(folder / "store.json", {**about, "datasets": ["table"]})
    evaluate(model_folder, folder, "validate", tmp_path / "out")
    store, rows = Store.open(folder), rows_of(tmp_path / "out" / "predictions.jsonl")
    model = load_folder(DifferenceModel, model_folder, "MODEL")
    captioner = load_folder(Captioner, model_folder / "captioner", "MODEL")

    def shown(image):
        return reference.square(store.pixels(store.index[image]), SIZE, equalised=True)

    for one in [one for one in store.questions if (one.split, one.type) == ("validate", "difference")][:6]:
        row = rows["question", one.question_id]
        wanted = reference.answer(model, shown(one.pair.current), [shown(one.pair.prior)], one.text)
        assert row["answer"] == wanted.text
        assert np.log(row["confidence"]) == pytest.approx(wanted.log_confidence, abs=reference.CLOSE)
    for (task, name), row in list(rows.items())[::5]:
        if task == "AREF":
            image = store.images[store.index[name.rsplit("/", 2)[0]]]
            box = reference.box(captioner, shown(image.image_id), row["question"], image.width, image.height)
            assert row["boxes"] == ([] if box is None else [pytest.approx(box.as_tuple(), abs=0.02)])


def test_another_patient_s_prior_is_shown_as_the_prior(evaluation, store_folder):
    """Each answer is that to the current image with a prior image of one other patient."""
    store = Store.open(store_folder)
    model = load_folder(DifferenceModel, evaluation / "model", "MODEL")
    rows = rows_of(evaluation / "out" / "controls" / "other_prior.jsonl")
    questions = {one.question_id: one for one in store.questions if one.split == "test" and one.pair.prior}
    assert {name for _, name in rows} == questions.keys()
    priors = {one.pair.prior: one.subject_id for one in questions.values()}
    known = {}

    def say(current, prior, question):
        if (current, prior, question) not in known:
            shown = [store.pixels(store.index[image]) for image in (current, prior)]
            known[current, prior, question] = reference.answer(model, shown[0], shown[1:], question).text
        return known[current, prior, question]

    unlike_own = 0
    for (_, name), row in rows.items():
        one = questions[name]
        others = [image for image, patient in priors.items() if patient != one.subject_id]
        assert row["answer"] in {say(one.pair.current, image, one.text) for image in others}
        unlike_own += row["answer"] != say(one.pair.current, one.pair.prior, one.text)
    assert unlike_own > len(rows) / 2


def test_exchanged_images_are_exchanged_and_the_answer_is_turned_round(evaluation, store_folder):
    store = Store.open(store_folder)
    model = load_folder(DifferenceModel, evaluation / "model", "MODEL")
    rows = rows_of(evaluation / "out" / "controls" / "exchanged.jsonl")
    questions = {one.question_id: one for one in store.questions if (one.split, one.type) == ("test", "difference")}
    assert {name for _, name in rows} == questions.keys()
    for (_, name), row in rows.items():
        one = questions[name]
        prior, current = (store.pixels(store.index[image]) for image in (one.pair.prior, one.pair.current))
        assert row["answer"] == (turn_round(reference.answer(model, prior, [current], one.text).text) or "")


def test_boxes_of_an_evaluation(evaluation, store_folder):
    store = Store.open(store_folder)
    captioner = load_folder(Captioner, evaluation / "model" / "captioner", "MODEL")
    rows = rows_of(evaluation / "out" / "predictions.jsonl")
    asked = [(name.rsplit("/", 2)[0], row) for (task, name), row in rows.items() if task == "AREF"]
    assert asked
    for image, row in asked[::3]:
        stored = store.images[store.index[image]]
        grey = store.pixels(store.index[image])
        box = reference.box(captioner, grey, row["question"], stored.width, stored.height)
        assert row["boxes"] == ([] if box is None else [pytest.approx(box.as_tuple(), abs=0.02)])


def test_mean_boxes_are_those_of_images_that_may_be_learnt_from(evaluation, store_folder):
    store = Store.open(store_folder)
    asked = {one.subject_id for one in store.questions if one.split != "train"}
    known = [one for one in store.images if one.split == "train" and one.subject_id not in asked]
    rows = rows_of(evaluation / "out" / "controls" / "mean_box.jsonl")
    for (task, name), row in rows.items():
        boxes = [
            one.frame.into(region.box) for one in known for region in one.regions if region.name == row["question"]
        ]
        if task == "CAREF" and boxes:
            image = store.images[store.index[name.rsplit("/", 2)[0]]]
            corners = np.mean([box.as_tuple() for box in boxes], axis=0)
            left, top, scale = image.frame.left, image.frame.top, image.frame.scale
            expected = (corners - [left, top, left, top]) / scale
            expected = expected.clip(0, [image.width, image.height] * 2)
            assert row["boxes"] == [pytest.approx(expected.tolist(), abs=0.02)]


@pytest.mark.slow
def test_the_pairs_that_are_shown_have_their_pictures_and_boxes(evaluation, store_folder):
    store = Store.open(store_folder)
    captioner = load_folder(Captioner, evaluation / "model" / "captioner", "MODEL")
    rows = rows_of(evaluation / "out" / "predictions.jsonl")
    asked = {one.question_id: one for one in store.questions if one.split == "test" and one.type == "difference"}
    examples = [json.loads(line) for line in (evaluation / "out" / "examples.jsonl").read_text().splitlines()]
    assert len(examples) == min(12, len(asked))
    for example in examples:
        shown = {side: np.asarray(Image.open(evaluation / "out" / example[side])) for side in ("prior", "current")}
        (one,) = (
            one
            for name, one in asked.items()
            if (one.text, one.answer) == (example["question"], example["reference"])
            and (store.pixels(store.index[one.pair.current]) == shown["current"]).all()
            and (store.pixels(store.index[one.pair.prior]) == shown["prior"]).all()
            and rows["question", name]["answer"] == example["answer"]
        )
        assert example["confidence"] == rows["question", one.question_id]["confidence"]
        for side, image in (("prior", one.pair.prior), ("current", one.pair.current)):
            predicted = [
                (box["label"], pytest.approx(box["box"], abs=0.02))
                for box in example["boxes"][side]
                if box["kind"] == "predicted"
            ]
            changed = {change.finding for change in read_changes(example["answer"])[0] if side in SHOWN_IN[change.kind]}
            # A square picture has no border: its own pixels are those of the square, but for their number.
            expected = [
                (finding, list(box.as_tuple()))
                for finding in sorted(changed)
                for box, _ in reference.finding_boxes(captioner, shown[side], finding, SIZE, SIZE, "float16")
            ]
            assert predicted == expected
            true = [change for change in read_changes(one.answer)[0] if side in SHOWN_IN[change.kind]]
            stored = store.images[store.index[image]]
            boxes = [box for box in example["boxes"][side] if box["kind"] == "reference"]
            assert {box["label"] for box in boxes} <= {change.finding for change in true}
            known = [stored.frame.into(region.box).as_tuple() for region in stored.regions]
            assert all(any(np.allclose(box["box"], other, atol=0.02) for other in known) for box in boxes)


@pytest.mark.slow
def test_earlier_images_go_back_in_time(model_of_two_priors_folder, store_folder, tmp_path):
    """A model of two priors: of files, of a table and of a store, the nearest prior is given first."""
    folder = naming(model_of_two_priors_folder, tmp_path / "model")
    model = load_folder(DifferenceModel, folder, "MODEL")
    store = Store.open(store_folder)
    squares = [store.pixels(place) for place in (1, 2, 11, 23)]
    paths = [tmp_path / f"{number}.png" for number in range(len(squares))]
    for path, pixels in zip(paths, squares, strict=True):
        Image.fromarray(pixels).save(path)
    # Equalised already, once more does change them a little.
    squares = [reference.square(path, SIZE, equalised=True) for path in paths]
    answerer = Answerer.from_pretrained(folder)
    orders = list(itertools.permutations(range(4), 3))[::3]
    wanted = [
        reference.answer(model, squares[current], [squares[prior], squares[earlier]], DIFFERENCE_QUESTION)
        for current, prior, earlier in orders
    ]
    named = []
    for square in squares:
        none = reference.answer(model, square, [], ANY_ABNORMALITY_QUESTION).text == "no."
        text = reference.answer(model, square, [], ABNORMALITIES_QUESTION).text
        named.append(() if none else read_findings(text))
    assert any(named[prior] != named[earlier] for _, prior, earlier in orders)
    with (tmp_path / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(paths[earlier], paths[prior], paths[current]) for current, prior, earlier in orders]
        csv.writer(file).writerows([("prior_2", "prior", "current"), *rows])
    predict_pairs(folder, tmp_path / "pairs.csv", tmp_path / "answers.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    found = set()
    for (current, prior, earlier), line, plain in zip(orders, lines, wanted, strict=True):
        answer = answerer(current=paths[current], prior=[paths[prior], paths[earlier]])
        for text, confidence in ((answer.text, answer.confidence), (line["text"], line["confidence"])):
            assert text == plain.text
            assert np.log(confidence) == pytest.approx(plain.log_confidence, abs=reference.CLOSE)
        for name, image in (("current", current), ("prior", prior)):
            assert answer.findings[name] == tuple(line["findings"][name]) == named[image]
        found |= set(answer.findings.values())
    assert len(found) > 2
    current, prior, _ = orders[0]
    alone = reference.answer(model, squares[current], [squares[prior]], DIFFERENCE_QUESTION)
    assert answerer(current=paths[current], prior=paths[prior]).text == alone.text


def test_training_counts_the_loss_of_the_answer_s_words_only(model_folder, store_folder):
    """The loss of a batch is that of each next word of the answers, worked out pair by pair."""
    from torch.nn import functional

    from diffvqa.tasks.collate import collate_pairs, collate_questions, pair_images
    from diffvqa.tasks.text import question

    model = load_folder(DifferenceModel, model_folder, "MODEL")
    store = Store.open(store_folder)
    asked = [one for one in store.questions if one.type in ("difference", "presence")][:6]
    features = {
        image: reference.tokens_of(model, store.pixels(store.index[image])).numpy()
        for one in asked
        for image in one.pair.images
    }
    texts = [question(one.text, one.answer) for one in asked]
    with torch.no_grad():
        found = model.model(
            **collate_pairs([pair_images(features, one.pair) for one in asked], model.processor),
            **collate_questions(texts, model.tokenizer, 64),
        ).loss
        losses = []
        for one in asked:
            prompt = [model.tokenizer.bos_token_id, *model.tokenizer.encode(f"{one.text}\n", add_special_tokens=False)]
            words = [*model.tokenizer.encode(one.answer, add_special_tokens=False), model.tokenizer.eos_token_id]
            images = [model.model.projector(torch.tensor(features[one.pair.current]) + model.model.time.weight[1])]
            if one.pair.prior:
                before = torch.tensor(features[one.pair.prior]) + model.model.time.weight[0]
                images.insert(0, model.model.projector(before))
            else:
                images.insert(0, model.model.no_prior.weight)
            text = model.model.language_model.get_input_embeddings()(torch.tensor(prompt + words))
            logits = model.model.language_model(inputs_embeds=torch.cat([*images, text])[None]).logits[0]
            logits = logits[-len(words) - 1 : -1]
            losses.append(functional.cross_entropy(logits, torch.tensor(words), reduction="none"))
    assert float(found) == pytest.approx(float(torch.cat(losses).mean()), rel=1e-4)
