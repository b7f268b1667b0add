"""BERTScore over a tiny text encoder with random weights, against its definition written out as loops."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from diffvqa.errors import InputError
from diffvqa.evaluating.bertscore import BertScore
from diffvqa.evaluation import text_scores as text
from diffvqa.evaluation.predictions import Prediction
from diffvqa.evaluation.score import score_file

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "nothing",
    "has",
    "changed",
    "the",
    "level",
    "of",
    "edema",
    "from",
    "mild",
    "to",
    "severe",
    ".",
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=32,
        )  # fmt: skip
        BertModel(config).save_pretrained(folder)
    return folder


def naive(folder, answer, reference, layer):
    """One text at a time, one token at a time."""
    model = BertModel.from_pretrained(folder).eval()

    def vectors(words):
        places = [WORDS.index(word) for word in ["[CLS]", *words.split(), "[SEP]"]]
        with torch.inference_mode():
            states = model(torch.tensor([places]), output_hidden_states=True).hidden_states[layer][0]
        return [state / state.norm() for state in states]

    one, two = vectors(answer), vectors(reference)
    precision = np.mean([max(float(mine @ other) for other in two) for mine in one[1:-1]])
    recall = np.mean([max(float(mine @ other) for other in one) for mine in two[1:-1]])
    return 2 * precision * recall / (precision + recall)


PAIRS = [
    ("nothing has changed .", "nothing has changed ."),
    ("edema", "the level of edema has changed from mild to severe ."),
    ("the level of edema has changed from severe to mild .", "the level of edema has changed from mild to severe ."),
]


@pytest.mark.parametrize("layer", [1, 2])
def test_it_is_the_definition(encoder, layer):
    found = BertScore(encoder, layer)(PAIRS)
    assert found == pytest.approx([naive(encoder, *pair, layer) for pair in PAIRS], abs=1e-5)
    assert found[0] == pytest.approx(1, abs=1e-5)
    assert found[2] < found[0]


def test_white_space_does_not_matter_nothing_scores_0_and_long_texts_are_cut(encoder):
    score = BertScore(encoder)
    assert score([(" nothing  has changed .\n", "nothing has changed .")]) == pytest.approx([1], abs=1e-5)
    assert score([("", "nothing has changed ."), ("edema", "")]) == [0, 0]
    assert 0 < score([("edema " * 100, "edema")])[0] <= 1.00001


def test_it_stands_among_the_scores_of_texts(encoder, tmp_path, monkeypatch):
    rows = [
        {"id": str(number), "answer": answer, "references": ["yes", reference]}
        for number, (answer, reference) in enumerate(PAIRS)
    ]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    similarity = BertScore(encoder)
    found = score_file(path, replicates=20, similarity=similarity)["answers"]["all"]["bertscore"]
    best = [max(similarity([(row["answer"], reference) for reference in row["references"]])) for row in rows]
    assert found["value"] == pytest.approx(np.mean(best))
    assert "bertscore" not in score_file(path, replicates=20)["answers"]["all"]


def test_it_does_not_change_the_other_scores_of_texts():
    answers = [Prediction(str(number), answer, (reference,)) for number, (answer, reference) in enumerate(PAIRS)]
    tokens = text.Tokens(text.PLAIN, {words: words for pair in PAIRS for words in pair})
    random = np.random.default_rng(0)
    meteor = {tokens.pair(answer): random.integers(1, 9, 23).astype(float) for answer in answers}
    with_similarity, without = (
        text.tally_text(answers, tokens, meteor, similar)[0] for similar in (dict.fromkeys(PAIRS, 0.5), None)
    )
    scores = {name: formula(with_similarity.columns.sum(axis=0)) for name, formula in with_similarity.formulas.items()}
    assert scores.pop("bertscore") == 0.5
    assert scores == {name: formula(without.columns.sum(axis=0)) for name, formula in without.formulas.items()}
    assert "meteor" in scores


def test_a_folder_or_a_layer_that_is_not_there_is_refused(encoder, tmp_path):
    with pytest.raises(InputError, match="bertscore_layer: expected 1 to 2"):
        BertScore(encoder, 3)
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match="bertscore: "):
            BertScore(folder)
