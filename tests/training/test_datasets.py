"""What training draws: a function of seed and position alone; every image and question once an epoch."""

import copy
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import AutoTokenizer, CLIPTextConfig, GPT2Config, SiglipImageProcessorPil

from diffvqa.data.pretraining_images import pretraining_images
from diffvqa.data.store import Store
from diffvqa.findings import DIFFERENCE_QUESTION, SHOWN_IN, names_finding
from diffvqa.records import Pair, Question
from diffvqa.tasks.augmentation import Augmentation
from diffvqa.tasks.box_text import box_to_text
from diffvqa.tasks.text import encode, referring, region_referring
from diffvqa.training.config import PretrainConfig, load_config
from diffvqa.training.datasets import PretrainingCollator, PretrainingDraws, QuestionDraws, pairs_to_learn, shuffled
from diffvqa.training.objectives import HeadContext


@pytest.fixture(scope="module")
def config(pretrain_settings, write_config):
    return load_config(PretrainConfig, write_config({**pretrain_settings, "out": "x"}), [])


@pytest.fixture(scope="module")
def store(store_folder):
    return Store.open(store_folder)


def collator(objective, captioner_folder, text_tokens):
    context = HeadContext(
        width=32,
        image_size=64,
        decoder_config=GPT2Config(),
        text_config=CLIPTextConfig(),
        tokenizer=AutoTokenizer.from_pretrained(captioner_folder),
        text_tokens=text_tokens,
        findings=[],
    )
    return PretrainingCollator({objective: 1.0}, context, SiglipImageProcessorPil.from_pretrained(captioner_folder))


def test_an_epoch_draws_everything_once_and_the_next_in_another_order():
    first, second = ([shuffled(50, (3,), 50 * epoch + place) for place in range(50)] for epoch in (0, 1))
    assert sorted(index for _, index in first) == list(range(50))
    assert sorted(index for _, index in second) == list(range(50))
    assert [index for _, index in first] != [index for _, index in second]
    assert {epoch for epoch, _ in second} == {1}


def test_a_draw_depends_on_seed_and_position_only(store, config):
    images, _ = pretraining_images(store)
    one, other = (PretrainingDraws(store, images, config, 100) for _ in range(2))
    for position in (17, 3, 61):
        a, b = one[position], other[position]
        assert (a["pixels"] == b["pixels"]).all()
        assert a["captioning"] == b["captioning"]
    reseeded = PretrainingDraws(store, images, config.model_copy(update={"seed": 9}), 100)
    assert any((one[place]["pixels"] != reseeded[place]["pixels"]).any() for place in range(5))


def test_a_batch_has_every_task_and_its_loss_mask(store, config, captioner_folder):
    images, _ = pretraining_images(store)
    draws = PretrainingDraws(store, images, config, 100)
    tokenizer = AutoTokenizer.from_pretrained(captioner_folder)
    items = [draws[place] for place in range(16)]
    tasks = Counter(text.prefix[0] for item in items for text in item["captioning"])
    assert set(tasks) == {"Cap:", "ARef:", "GCap:", "ARef Region:"}
    batch = collator("location_aware", captioner_folder, 64)(items)["captioning"]
    assert batch["input_ids"].shape[0] == 16
    assert (batch["text_index"].amax(1) + 1).sum() == sum(tasks.values())
    learnt, parallel = batch["labels"] != -100, batch["parallel"]
    assert (batch["input_ids"][parallel & learnt] == tokenizer.mask_token_id).all()
    # In a causal text what is learnt is what stands next, but for the last token of a text, which is not given.
    same_text = batch["text_index"][:, :-1] == batch["text_index"][:, 1:]
    inside = learnt[:, :-1] & ~parallel[:, :-1] & same_text
    assert inside.any()
    assert (batch["labels"][:, :-1][inside] == batch["input_ids"][:, 1:][inside]).all()


def test_findings_are_unknown_of_images_without_a_report_or_findings(store, config):
    def known(images):
        copied = copy.copy(store)
        copied.images = images
        learning = config.model_copy(update={"objective": {"classification": 1.0}})
        draws = PretrainingDraws(copied, range(len(images)), learning, len(images))
        return {draws.identifier(place): draws[place]["classification"] is not None for place in range(len(images))}

    images = list(store.images)[:4]
    silent = [replace(images[0], report="", findings=()), replace(images[1], report="", findings=("edema",))]
    named = [image.image_id for image in images]
    assert known([*silent, *images[2:]]) == dict(zip(named, (False, True, True, True), strict=True))
    # Without any reports no finding means none.
    assert known([replace(image, report="") for image in silent]) == dict.fromkeys(named[:2], True)


def test_texts_that_do_not_fit_are_left_out_of_a_batch(captioner_folder):
    tokenizer = AutoTokenizer.from_pretrained(captioner_folder)
    fits = referring("effusion", "1 2 3 4")
    too_long = region_referring("left costophrenic angle " * 6, "effusion", "1 2 3 4")
    pixels = np.zeros((64, 64), np.uint8)
    items = [
        {"pixels": pixels, "captioning": [too_long, fits]},
        {"pixels": pixels, "captioning": [too_long]},
    ]
    batch = collator("location_aware", captioner_folder, 32)(items)["captioning"]
    assert batch["text_index"].amax(1).tolist() == [0, -1]
    assert (batch["labels"][0] != -100).sum() == len(encode(tokenizer, fits, 32)[1])
    assert (batch["labels"][1] == -100).all()


def test_pairs_are_learnt_from_questions_of_their_split_alone():
    """Images of train studies may have test questions, where evaluation patients are kept."""
    questions = [
        Question(split, "p", "difference", Pair(*pair), DIFFERENCE_QUESTION, "nothing has changed.", split)
        for split, pair in (("train", "ba"), ("test", "cb"), ("validate", "dc"))
    ]
    store = SimpleNamespace(questions=questions, index={name: place for place, name in enumerate("abcd")})
    learnt = {split: pairs_to_learn(store, range(4), split) for split in ("train", "validate")}
    assert learnt == {"train": [(0, 1, frozenset())], "validate": [(2, 3, frozenset())]}


def test_pretraining_with_evaluation_patients_takes_no_pair_of_a_test_question(store, config):
    paired = config.model_copy(update={"objective": {"paired": 1.0}})
    images = range(len(store.images))
    asked = {
        split: {
            (store.index[one.pair.images[1]], store.index[one.pair.current])
            for one in store.questions
            if one.split == split and one.text == DIFFERENCE_QUESTION
        }
        for split in ("train", "validate", "test")
    }
    assert all(asked.values())
    for split in ("train", "validate"):
        drawn = {pair[:2] for pair in PretrainingDraws(store, images, paired, 8, split).pairs}
        assert drawn
        assert drawn <= asked[split]


def test_an_item_has_what_its_heads_take_and_no_more(store, config):
    images, _ = pretraining_images(store)
    taken = {
        "location_aware": {"captioning"},
        "cap+local_captioning": {"captioning"},
        "clip": {"clip"},
        "classification+cap": {"captioning", "classification"},
        "levels": {"levels"},
        "paired": {"paired"},
    }
    for objective, names in taken.items():
        learning = config.model_copy(update={"objective": dict.fromkeys(objective.split("+"), 1.0)})
        assert set(PretrainingDraws(store, images, learning, 2)[0]) == {"pixels", *names}
    without_regions = copy.copy(store)
    without_regions.images = [replace(image, regions=None) for image in store.images]
    for objective in ("clip", "siglip", "cap", "classification"):
        learning = config.model_copy(update={"objective": {objective: 1.0}})
        one, other = (PretrainingDraws(there, images, learning, 2)[0] for there in (store, without_regions))
        assert one.pop("pixels").tolist() == other.pop("pixels").tolist()
        assert one == other


def test_a_pair_is_its_prior_image_then_its_current_one_and_a_box_is_of_the_image_that_shows_it(
    store, config, captioner_folder
):
    """From the difference questions, read here anew, to the texts that a batch teaches."""
    still = config.model_copy(update={"objective": {"paired": 1.0}, "augmentation": Augmentation()})
    asked = {
        one.pair.current: (one.pair.prior, one.answer)
        for one in store.questions
        if one.split == "train" and one.text == DIFFERENCE_QUESTION
    }
    images, _ = pretraining_images(store)
    draws = PretrainingDraws(store, images, still, 2 * len(asked))
    tokenizer = AutoTokenizer.from_pretrained(captioner_folder)
    collate = collator("paired", captioner_folder, 1000)
    checked = Counter()
    for position in range(0, len(draws), 2):
        shown = {"prior": draws.identifier(position), "current": draws.identifier(position + 1)}
        assert shown["prior"] == asked[shown["current"]][0]
        items = [draws[position], draws[position + 1]]
        for item, image in zip(items, shown.values(), strict=True):
            assert (item["pixels"] == store.pixels(store.index[image])).all()
        labels = collate(items)["paired"]["labels"][0]
        text = tokenizer.decode(labels[labels != -100], skip_special_tokens=True)
        for change in items[0]["paired"][0]:
            side = SHOWN_IN[change.kind][-1]
            written = {name: box_of(store, image, change.finding, still.notation) for name, image in shown.items()}
            if written[side] is None:
                continue
            level = f" from {change.before} to {change.after}" if change.kind == "level" else ""
            said = change.finding + level if level else f"{change.kind} {change.finding}"
            assert f" {said} : {written[side]}" in text
            # Where the other image shows it too, or elsewhere, an exchange of the two would be seen.
            checked[change.kind] += written["prior"] != written["current"]
    assert min(checked[kind] for kind in SHOWN_IN) > 0


def box_of(store, image, finding, notation):
    """The smallest box of an image that a phrase says a finding of, as text."""
    stored = store.images[store.index[image]]
    named = [one.box for one in stored.regions if any(names_finding(phrase, finding) for phrase in one.phrases)]
    if not named:
        return None
    return box_to_text(stored.frame.into(min(named, key=lambda box: box.area)), store.size, notation)


def test_question_types_come_in_their_shares_and_each_question_once_an_epoch():
    questions = [
        Question(f"{kind}{number}", "p", kind, Pair("a", "b"), f"{kind} {number}?", "yes", "train")
        for kind, count in (("difference", 30), ("presence", 10))
        for number in range(count)
    ]
    features = {"a": np.zeros((2, 3), np.float16), "b": np.zeros((2, 3), np.float16)}
    draws = QuestionDraws(questions, {"difference": 3.0, "presence": 1.0, "level": 1.0}, features, 1, 0, 400)
    asked = Counter(draws[place]["text"].prefix[0] for place in range(400))
    kinds = Counter(text.split()[0] for text in asked.elements())
    assert 0.65 < kinds["difference"] / 400 < 0.85
    differences = [count for text, count in asked.items() if text.startswith("difference")]
    assert len(differences) == 30
    assert max(differences) - min(differences) <= 1


def test_a_share_of_difference_questions_is_turned_round_with_its_answer():
    """The images change places and the answer turns; nothing else is touched, and a resumed run draws the same."""
    words = {"a": 1.0, "b": 2.0, "c": 3.0}
    features = {name: np.full((2, 3), value, np.float16) for name, value in words.items()}
    answer, turned = (
        f"the main image has an additional finding of {new} than the reference image. "
        f"the main image is missing the finding of {gone} than the reference image."
        for new, gone in (("nodule", "edema"), ("edema", "nodule"))
    )
    questions = [
        *(Question(f"d{n}", "p", "difference", Pair("b", "a"), f"changed {n}?", answer, "train") for n in range(20)),
        Question("e", "p", "difference", Pair("c", "b", ("a",)), "with earlier?", answer, "train"),
        Question("u", "p", "difference", Pair("b", "a"), "unreadable?", "perhaps", "train"),
        Question("o", "p", "presence", Pair("b"), "one image?", "yes", "train"),
    ]
    shares = {"difference": 1.0, "presence": 0.2}
    draws = QuestionDraws(questions, shares, features, 1, 0, 600, exchanged=0.4)
    found = Counter()
    for place in range(600):
        item = draws[place]
        (asked,), (said, *_) = item["text"].prefix[:1], item["text"].target
        pair = item["prior"].max(), item["current"].max()
        if asked.startswith("changed"):
            found[pair, said.strip()] += 1
        else:
            assert (pair, said.strip()) in {((2.0, 3.0), answer), ((1.0, 2.0), "perhaps"), ((0.0, 2.0), "yes")}
    assert found.keys() == {((1.0, 2.0), answer), ((2.0, 1.0), turned)}
    assert 0.3 < found[(2.0, 1.0), turned] / found.total() < 0.5
    again = QuestionDraws(questions, shares, features, 1, 0, 600, exchanged=0.4)
    assert all(np.array_equal(draws[place]["prior"], again[place]["prior"]) for place in range(100))
