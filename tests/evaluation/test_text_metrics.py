"""Text metrics against pycocoevalcap run by itself, and what happens where it or Java is missing."""

import importlib.util
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from diffvqa.evaluation import text_scores as text
from diffvqa.evaluation.intervals import resample_patients, score_tally
from diffvqa.evaluation.predictions import Prediction

pytestmark = pytest.mark.java

has_package = importlib.util.find_spec("pycocoevalcap") is not None
needs_package = pytest.mark.skipif(not has_package, reason="pycocoevalcap is not installed")
needs_java = pytest.mark.skipif(
    not has_package or shutil.which("java") is None, reason="pycocoevalcap and Java are needed"
)

SENTENCES = (
    "the main image has an additional finding of edema, effusion than the reference image is missing.",
    "nothing changed: the level of pleural atelectasis are from mild to mildly moderate-to-severe (12%).",
    "PA findings naïve don't 3.5 right/left enlarged large opacity",
)
WORDS = [word for sentence in SENTENCES for word in sentence.split()]


def made_predictions(count=1000):
    """Answers near and far from their references; one, two or three references; an empty and a perfect answer."""
    generator = random.Random(5)
    rows = []
    for number in range(count):
        reference = [generator.choice(WORDS) for _ in range(generator.randint(1, 18))]
        answer = [word for word in reference if generator.random() < 0.75]
        answer += [generator.choice(WORDS) for _ in range(generator.randint(0, 5))]
        others = [" ".join(generator.sample(reference, len(reference))) for _ in range(number % 3)]
        rows.append(Prediction(f"id {number}", " ".join(answer), (" ".join(reference), *others)))
    rows.append(Prediction("empty", "", ("nothing has changed.",)))
    rows.append(Prediction("dots", ". . .", ("nothing has changed.",)))
    rows.append(Prediction("perfect", "Nothing  has changed.", ("nothing has changed.",)))
    rows.append(Prediction("separators", "nothing\u2028has\x0bchanged\x85.\n", ("nothing has changed.",)))
    rows.append(Prediction("bars", "nothing ||| has", ("nothing ||| has changed.",)))
    return rows


def scores_of(rows, meteor=None):
    tokens = text.tokenize(words for row in rows for words in (row.answer, *row.references))
    tally, notes = text.tally_text(rows, tokens, meteor or {})
    resamples = resample_patients({row.id: row.patient for row in rows}, 200, 0)
    return score_tally(tally, resamples), tokens, notes


@pytest.fixture(scope="module")
def both():
    """METEOR's statistics as we take them, and all that pycocoevalcap gives when called as its own evaluation does."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    def captions(texts):
        return [{"caption": " ".join(words.split())} for words in texts]

    program = Meteor()
    rows = made_predictions()
    references = PTBTokenizer().tokenize({row.id: captions(row.references) for row in rows})
    answers = PTBTokenizer().tokenize({row.id: captions([row.answer]) for row in rows})
    pairs = [(answers[row.id][0], tuple(references[row.id])) for row in rows]
    statistics, notes = text.meteor_statistics(pairs)
    bleu, _ = Bleu(4).compute_score(references, answers, verbose=0)
    meteor, segments = program.compute_score(references, answers)
    expected = {
        **{f"bleu_{order}": score for order, score in enumerate(bleu, start=1)},
        "meteor": meteor,
        "rouge_l": Rouge().compute_score(references, answers)[0],
        "cider": Cider().compute_score(references, answers)[0],
    }
    return {"pairs": pairs, "statistics": statistics, "notes": notes, "expected": expected, "segments": segments}


@pytest.mark.slow
@needs_java
def test_scores_agree_with_pycocoevalcap(both):
    rows = made_predictions()
    scores, tokens, notes = scores_of(rows, both["statistics"])
    assert tokens.tokenizer == "ptb"
    assert notes == both["notes"] == ()
    assert [tokens.pair(row) for row in rows] == both["pairs"]
    for name, expected in both["expected"].items():
        assert scores[name]["value"] == pytest.approx(expected, abs=1e-6), name
        assert scores[name]["low"] < scores[name]["value"] < scores[name]["high"], name
    assert scores["exact"]["value"] == pytest.approx(sum(text.is_exact(row) for row in rows) / len(rows))


@pytest.mark.slow
@needs_java
def test_meteor_of_any_sum_is_what_its_program_gives(both):
    table = np.stack([both["statistics"][pair] for pair in both["pairs"]])
    np.testing.assert_allclose(text.meteor_score(table), both["segments"], atol=1e-12)
    assert text.meteor_score(table.sum(axis=0)) == pytest.approx(both["expected"]["meteor"], abs=1e-12)


@needs_package
def test_without_java_there_is_no_meteor_and_the_tokenizer_is_named(monkeypatch):
    monkeypatch.setattr(text, "run_java", lambda *_: None)
    rows = made_predictions()
    scores, tokens, _ = scores_of(rows)
    assert tokens.tokenizer == text.PLAIN
    assert tokens.notes == (text.NO_PTB,)
    assert "meteor" not in scores
    assert 0 < scores["bleu_4"]["value"] < 1
    assert tokens.tokens["nothing has changed."] == "nothing has changed"


def test_without_pycocoevalcap_only_exact_agreement_is_left(monkeypatch):
    monkeypatch.setattr(text.importlib.util, "find_spec", lambda name: None)
    scores, tokens, _ = scores_of(made_predictions())
    assert tokens.tokenizer is None
    assert "diffvqa[metrics]" in tokens.notes[0]
    assert set(scores) == {"exact"}


@needs_package
@pytest.mark.parametrize("end", ["exit 1", "exit 0", "kill -9 $$", "kill -STOP $$; exit 1", "echo 1 2 3; echo"])
def test_a_java_program_that_fails_is_a_note_not_a_crash(monkeypatch, tmp_path, end):
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\n{end}\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("diffvqa.evaluation.java.LOOK_EVERY", 0.1)
    tokens = text.tokenize(["nothing has changed.", "b", "c"])
    assert (tokens.tokenizer, tokens.notes) == (text.PLAIN, (text.NO_PTB,))
    assert text.meteor_statistics([("a", ("a",))]) == ({}, (text.NO_METEOR,))
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


@needs_package
def test_a_java_that_is_not_there_is_a_note(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert text.tokenize(["nothing has changed."]).notes == (text.NO_PTB,)
    assert text.meteor_statistics([("a", ("a",))]) == ({}, (text.NO_METEOR,))


@needs_package
def test_bleu_without_java_against_a_hand_count(monkeypatch):
    monkeypatch.setattr(text, "run_java", lambda *_: None)
    rows = [Prediction("1", "a b c x", ("a b c d e",)), Prediction("2", "f", ("f", "f g h i"))]
    scores, _, _ = scores_of(rows)
    # 4 of 5 words, 2 of 3 pairs; 5 words against the closest reference lengths 5 + 1.
    shortness = np.exp(1 - 6 / 5)
    assert scores["bleu_1"]["value"] == pytest.approx(4 / 5 * shortness, abs=1e-6)
    assert scores["bleu_2"]["value"] == pytest.approx((4 / 5 * 2 / 3) ** 0.5 * shortness, abs=1e-6)


@needs_package
def test_cider_of_one_text_is_zero_and_says_why(monkeypatch):
    monkeypatch.setattr(text, "run_java", lambda *_: None)
    scores, _, notes = scores_of([Prediction("1", "a b", ("a b",))])
    assert scores["cider"]["value"] == 0
    assert notes == (text.ONE_TEXT,)


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("Yes", "yes.", True),
        (" PA  view ", "pa view", True),
        ("no", "yes", False),
        ("yes, there is", "yes", False),
        ("", "yes", False),
    ],
)
def test_exact_agreement(answer, reference, expected):
    assert text.is_exact(Prediction("1", answer, (reference,))) is expected
