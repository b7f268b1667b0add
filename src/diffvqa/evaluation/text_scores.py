"""Text metrics by pycocoevalcap's definitions: BLEU-1 to 4, METEOR, ROUGE-L and CIDEr, and exact agreement.

BLEU is corpus BLEU with the closest reference length. CIDEr takes its document frequencies from the references that are
scored, and so depends on them. METEOR 1.5 is the score of the summed statistics. pycocoevalcap is an extra, and its PTB
tokenizer and METEOR are Java programs. The notes name missing metrics. No other metric ever has the same name.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffvqa.evaluation.intervals import Formula, Tally, mean_of, ratio_of
from diffvqa.evaluation.java import run_java
from diffvqa.evaluation.predictions import Prediction

METRICS = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider", "exact")
"""The names of the scores of a text, in the order in which they are shown."""

PTB = "ptb"
PLAIN = "lowercase words without punctuation"
"""The two tokenizations; scores under the second are not comparable with published ones."""

NO_PACKAGE = (
    "BLEU, METEOR, ROUGE-L and CIDEr are left out: pycocoevalcap is not installed. "
    'Install it with: pip install "diffvqa[metrics]"'
)
NO_PTB = (
    "METEOR is left out and the PTB tokenizer was not used: they need Java (17 works), and none could be run. "
    f"BLEU, ROUGE-L and CIDEr are over {PLAIN}: not comparable with published figures."
)
NO_METEOR = "METEOR is left out: its Java program failed or was ended. It needs about 2 GB of memory."
ONE_TEXT = "CIDEr of a single text is 0 by its definition: every word is in every reference."

_JAR = "stanford-corenlp-3.4.1.jar"
_METEOR_COLUMNS = 23
_BLEU_COLUMNS = 10
_COLUMNS = ("one", "exact", "rouge_l", "cider")

Similarity = Callable[[Sequence[tuple[str, str]]], Sequence[float]]
"""A score of each (answer, reference), as they are written; it comes from outside, for this room loads no model."""

TextPair = tuple[str, tuple[str, ...]]
"""A tokenized answer with its tokenized references."""


@dataclass(frozen=True)
class Tokens:
    """Texts with their tokens joined by blanks: which tokenizer made them (None: none was to be had), and notes."""

    tokenizer: str | None
    tokens: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def pair(self, prediction: Prediction) -> TextPair:
        """The tokens of an answer and of its references."""
        return self.tokens[prediction.answer], tuple(self.tokens[text] for text in prediction.references)


def tokenize(texts: Iterable[str]) -> Tokens:
    """The tokens of all texts, by the PTB tokenizer as pycocoevalcap uses it, in one run of Java.

    If Java is missing: lower-case words without punctuation. If pycocoevalcap is missing: none, and nothing needs them.
    """
    texts = sorted(set(texts))
    if importlib.util.find_spec("pycocoevalcap") is None:
        return Tokens(None, {}, (NO_PACKAGE,))
    # A line separator inside a text would shift all texts after it.
    lines = [" ".join(text.split()) for text in texts]
    tokenized = _ptb_tokens(lines)
    if tokenized is None:
        return Tokens(PLAIN, dict(zip(texts, map(_plain_tokens, lines), strict=True)), (NO_PTB,))
    return Tokens(PTB, dict(zip(texts, tokenized, strict=True)))


def meteor_statistics(pairs: Iterable[TextPair]) -> tuple[dict[TextPair, np.ndarray], tuple[str, ...]]:
    """Pair -> the 23 counts that METEOR's program adds up for it (best reference), in one run of it; and notes.

    Starting the program takes about 7 seconds and 2 GB, hence one run for all systems. Empty if it fails.
    """
    from pycocoevalcap.meteor import meteor

    asked = list(dict.fromkeys(pairs))
    lines = [" ||| ".join(("SCORE", *references, _without_bars(answer))) + "\n" for answer, references in asked]
    program = ["-Xmx2G", "-jar", meteor.METEOR_JAR, "-", "-", "-stdio", "-l", "en", "-norm"]
    written = run_java(program, "".join(lines), Path(meteor.__file__).parent)
    try:
        counts = np.array([line.split() for line in (written or "").splitlines()], dtype=float)
    except ValueError:
        counts = np.zeros(0)
    if counts.shape != (len(asked), _METEOR_COLUMNS):
        return {}, (NO_METEOR,)
    # A perfect text has no penalty: where the program sums, its one piece counts as none.
    counts[(counts[:, 20] == 1) & (counts[:, 21:] == counts[:, :2]).all(axis=1), 20] = 0
    return dict(zip(asked, counts, strict=True)), ()


def meteor_score(sums: np.ndarray) -> np.ndarray:
    """METEOR 1.5 for English from summed counts, shape (..., 23) -> (...).

    Denkowski and Lavie 2014, with their parameters: weighted harmonic mean of precision and recall, less a penalty
    for matches in many pieces. It gives what the program itself gives; a test holds the two together.
    """
    alpha, beta, gamma, delta = 0.85, 0.2, 0.6, 0.75
    matcher_weights = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
    length, reference_length, function, reference_function = np.moveaxis(sums[..., :4], -1, 0)
    matches = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4)  # matcher; content, content, function, function
    matched = (delta * matches[..., 0] + (1 - delta) * matches[..., 2]) @ matcher_weights
    reference_matched = (delta * matches[..., 1] + (1 - delta) * matches[..., 3]) @ matcher_weights
    chunks, words, reference_words = np.moveaxis(sums[..., 20:], -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = matched / (delta * (length - function) + (1 - delta) * function)
        recall = reference_matched / (
            delta * (reference_length - reference_function) + (1 - delta) * reference_function
        )
        mean = 1 / ((1 - alpha) / precision + alpha / recall)
        score = mean * (1 - gamma * (2 * chunks / (words + reference_words)) ** beta)
    return np.where((matched > 0) & (reference_matched > 0), score, 0.0)


def bleu_score(sums: np.ndarray, order: int) -> np.ndarray:
    """Corpus BLEU up to n-grams of that order from summed counts, shape (..., 10) -> (...).

    Columns: matching n-grams of length 1 to 4, n-grams of length 1 to 4, length of the answer, closest reference's.
    The small terms against division by zero are pycocoevalcap's, as is the result for an empty answer.
    """
    small, tiny = 1e-9, 1e-15
    precisions = (sums[..., :order] + tiny) / (sums[..., 4 : 4 + order] + small)
    shortness = (sums[..., 8] + tiny) / (sums[..., 9] + small)
    return np.prod(precisions, axis=-1) ** (1 / order) * np.exp(np.minimum(0.0, 1 - 1 / shortness))


def score_pairs(predictions: Iterable[Prediction], similarity: Similarity) -> dict[tuple[str, str], float]:
    """(answer, reference) -> its similarity, of all answers together, each pair once."""
    pairs = list(dict.fromkeys((row.answer, reference) for row in predictions for reference in row.references))
    return dict(zip(pairs, similarity(pairs), strict=True))


def tally_text(
    predictions: Sequence[Prediction],
    tokens: Tokens,
    meteor: Mapping[TextPair, np.ndarray],
    similar: Mapping[tuple[str, str], float] | None = None,
) -> tuple[Tally, tuple[str, ...]]:
    """All text metrics of these answers (at least one), and notes; the formulas hold only those that can be had.

    Exact agreement: the answer equals a reference but for case, white space and a full stop at the end.
    similar: (answer, reference) -> its BERTScore, of which the best reference counts; there is none without it.
    CIDEr is resampled with the document frequencies of the whole set; the others are exact in every resample.
    """
    columns = [np.ones(len(predictions)), np.array([float(is_exact(prediction)) for prediction in predictions])]
    formulas: dict[str, Formula] = {}
    notes: tuple[str, ...] = ()
    if tokens.tokenizer is not None:
        pairs = [tokens.pair(prediction) for prediction in predictions]
        columns += [_rouge_column(pairs), _cider_column(pairs), *_bleu_columns(pairs).T]
        for order in range(1, 5):
            score = functools.partial(bleu_score, order=order)
            formulas[f"bleu_{order}"] = _of_columns(len(_COLUMNS), _BLEU_COLUMNS, score)
        if meteor:
            formulas["meteor"] = _of_columns(len(columns), _METEOR_COLUMNS, meteor_score)
            columns += [*np.stack([meteor[pair] for pair in pairs]).T]
        formulas["rouge_l"] = mean_of(_COLUMNS, "rouge_l")
        formulas["cider"] = mean_of(_COLUMNS, "cider")
        if len(pairs) == 1:
            notes = (ONE_TEXT,)
    formulas["exact"] = mean_of(_COLUMNS, "exact")
    if similar is not None:
        best = [max(similar[row.answer, reference] for reference in row.references) for row in predictions]
        formulas["bertscore"] = ratio_of(len(columns), 0)
        columns.append(np.array(best))
    identifiers = tuple(prediction.id for prediction in predictions)
    return Tally(identifiers, np.stack(columns, axis=1), formulas, {"n": len(predictions)}), notes


def is_exact(prediction: Prediction) -> bool:
    """Whether the answer equals a reference but for case, white space and a full stop at the end."""
    return _bare(prediction.answer) in {_bare(reference) for reference in prediction.references}


def _bare(text: str) -> str:
    return " ".join(text.lower().split()).removesuffix(".").rstrip()


def _without_bars(answer: str) -> str:
    """An answer as METEOR's line takes it: bars end a text there."""
    return answer.replace("|||", "").replace("  ", " ")


def _plain_tokens(line: str) -> str:
    return " ".join(re.findall(r"\w+(?:[-'./]\w+)*", line.lower()))


def _ptb_tokens(lines: list[str]) -> list[str] | None:
    """The tokens of each line by pycocoevalcap's tokenizer, without its temporary file in the installed package.

    None if the program fails.
    """
    from pycocoevalcap.tokenizer import ptbtokenizer

    jar = Path(ptbtokenizer.__file__).with_name(_JAR)
    command = ["-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    written = run_java([*command, "-encoding", "UTF-8"], "".join(f"{line}\n" for line in lines))
    if written is None:
        return None
    tokenized = written.removesuffix("\n").split("\n") if lines else []
    if len(tokenized) != len(lines):
        return None
    removed = set(ptbtokenizer.PUNCTUATIONS)
    return [" ".join(word for word in line.rstrip().split(" ") if word not in removed) for line in tokenized]


def _of_columns(start: int, width: int, score: Formula) -> Formula:
    return lambda sums: np.where(sums[..., 0] > 0, score(sums[..., start : start + width]), np.nan)


def _bleu_columns(pairs: Sequence[TextPair]) -> np.ndarray:
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    scorer = BleuScorer(n=4)
    for answer, references in pairs:
        scorer += (answer, list(references))
    rows = []
    for counts in scorer.ctest:
        length = counts["testlen"]
        closest = min(counts["reflen"], key=lambda reference: (abs(reference - length), reference))
        rows.append([*counts["correct"], *counts["guess"], length, closest])
    return np.array(rows, dtype=float)


def _rouge_column(pairs: Sequence[TextPair]) -> np.ndarray:
    from pycocoevalcap.rouge.rouge import Rouge

    rouge = Rouge()
    scores = {pair: rouge.calc_score([pair[0]], list(pair[1])) for pair in dict.fromkeys(pairs)}
    return np.array([scores[pair] for pair in pairs])


def _cider_column(pairs: Sequence[TextPair]) -> np.ndarray:
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    if not any(reference for _, references in pairs for reference in references):
        return np.zeros(len(pairs))  # no word in any reference: nothing to weigh, and the scorer would stop
    scorer = CiderScorer(n=4, sigma=6.0)
    for answer, references in pairs:
        scorer += (answer, list(references))
    return np.asarray(scorer.compute_score()[1], dtype=float)
