"""Names of findings, and the answer grammar of Medical-Diff-VQA: changes written as sentences and read back."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

DIFFERENCE_QUESTION = "what has changed compared to the reference image?"
"""The standard difference question, for users who write no question."""

CHANGE = "what has changed"
"""The beginning of every question about two images."""

ABNORMALITIES_QUESTION = "what abnormalities are seen in this image?"
"""The question whose answer names the findings of one image."""

ANY_ABNORMALITY_QUESTION = "is there evidence of any abnormalities in this image?"
"""The yes-or-no question about findings. The dataset asks the question above only about images with findings."""

NOTHING_CHANGED = "nothing has changed."

LEVELS = (
    "moderately", "moderate", "acute", "mildly", "mild", "small", "severe", "moderate to large",
    "moderate to severe", "mild to moderate", "minimal", "subtle", "massive", "minimally",
    "increasing", "decreasing", "minor",
)  # fmt: skip
"""The level words of Medical-Diff-VQA."""

_RANKS = {
    "subtle": 1, "minimal": 1, "minimally": 1, "mild": 2, "mildly": 2, "small": 2, "minor": 2, "mild to moderate": 3,
    "moderate": 4, "moderately": 4, "moderate to large": 5, "moderate to severe": 5, "large": 6, "severe": 6,
    "massive": 6,
}  # fmt: skip
"""The level words that have an order. "acute", "increasing" and "decreasing" have none."""

HIGHEST_DEGREE = max(_RANKS.values())
"""The highest place in the order of level words."""

NAMES = frozenset((
    "air collection", "atelectasis", "blunting of the costophrenic angle", "calcification", "cardiomegaly",
    "consolidation", "contusion", "edema", "emphysema", "enlargement of the cardiac silhouette", "fracture",
    "gastric distention", "granuloma", "heart failure", "hematoma", "hernia", "hilar congestion",
    "hypertensive heart disease", "hypoxemia", "infection", "lung opacity", "mass", "nodule", "pleural effusion",
    "pleural thickening", "pneumomediastinum", "pneumonia", "pneumothorax", "scoliosis", "thymoma",
    "tortuosity of the descending aorta", "tortuosity of the thoracic aorta", "vascular congestion",
))  # fmt: skip
"""The findings of Medical-Diff-VQA's difference questions, and two of other datasets; other names can be read, too."""

LONGEST_NAME = 6
"""The largest number of words in the name of a finding."""

MAXIMUM_READINGS = 1024
"""The largest number of readings of an answer; an answer with more counts as one that cannot be read."""

SYNONYMS = {"infection": "pneumonia"}
"""Names that count as another finding."""

ChangeKind = Literal["added", "missing", "level"]


def level_question(finding: str) -> str:
    """The question whose answer is the level of a finding in one image."""
    return f"what level is the {finding}?"


def change_kind(word: str | None) -> ChangeKind:
    """The kind of a change that a word names. Raises ValueError for any other word."""
    for kind in get_args(ChangeKind):
        if word == kind:
            return kind
    raise ValueError("a change is added, missing or level")


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One difference between the prior and the current image.

    finding: the name of the finding. kind: "added", "missing" or "level". before, after: the levels, for kind "level"
    only.
    """

    finding: str
    kind: ChangeKind
    before: str | None = None
    after: str | None = None

    def __post_init__(self) -> None:
        change_kind(self.kind)
        if (self.kind == "level") != (self.before is not None and self.after is not None):
            raise ValueError("a change of level, and only that, has a level before and after")


SHOWN_IN = {"added": ("current",), "missing": ("prior",), "level": ("prior", "current")}
"""The images that show a change, by its kind."""


def changes_between(prior: Mapping[str, str | None], current: Mapping[str, str | None]) -> list[Change]:
    """The changes from the findings of the prior image to those of the current image.

    prior, current: finding -> level, or None if the level is not known. Only levels known in both images are compared.
    """
    changes = []
    for finding in [*prior, *(name for name in current if name not in prior)]:
        if finding not in current:
            changes.append(Change(finding, "missing"))
        elif finding not in prior:
            changes.append(Change(finding, "added"))
        elif prior[finding] and current[finding] and prior[finding] != current[finding]:
            changes.append(Change(finding, "level", prior[finding], current[finding]))
    return changes


def write_changes(changes: Iterable[Change]) -> str:
    """The difference answer that states these changes: first levels, then added, then missing findings."""
    changes = list(changes)
    sentences = [
        f"the level of {change.finding} has changed from {change.before} to {change.after}."
        for change in changes
        if change.kind == "level"
    ]
    added = [change.finding for change in changes if change.kind == "added"]
    missing = [change.finding for change in changes if change.kind == "missing"]
    if added:
        noun = "an additional finding" if len(added) == 1 else "additional findings"
        sentences.append(f"the main image has {noun} of {_enumerate(added)} than the reference image.")
    if missing:
        noun = "finding" if len(missing) == 1 else "findings"
        sentences.append(f"the main image is missing the {noun} of {_enumerate(missing)} than the reference image.")
    return " ".join(sentences) or NOTHING_CHANGED


def read_changes(text: str) -> tuple[frozenset[Change], ...]:
    """Read a difference answer as changes: every possible reading, or none if it does not follow the grammar.

    A sentence such as "from mild to moderate to severe" has two readings. The grammar ignores case, white space and a
    missing full stop, and accepts "compared to" for "than". A finding must be a name and a level a degree:
    "severe of pneumothorax" is neither.
    """
    text = _spaced(text)
    if not text.strip(". "):
        return ()
    sentences = [sentence for sentence in re.split(r"\.(?:\s+|$)", text) if sentence]
    if len(sentences) == 1 and _NOTHING.fullmatch(sentences[0]):
        return (frozenset(),)
    # Sentence by sentence, equal readings merged: a model that repeats one sentence thirty times must not cost 2 ** 30.
    readings: dict[frozenset[Change], None] = {frozenset(): None}
    for sentence in sentences:
        choices = _read_sentence(sentence)
        readings = dict.fromkeys(reading.union(choice) for reading in readings for choice in choices)
        if len(readings) > MAXIMUM_READINGS:
            return ()
    return tuple(readings)


def read_findings(text: str) -> tuple[str, ...] | None:
    """The findings that an answer to ABNORMALITIES_QUESTION names, each once; None if it is no list of names."""
    names = _names_in(_spaced(text).rstrip(". "))
    if not (names and all(map(_is_name, names))):
        return None
    return tuple(dict.fromkeys(_canonical(name) for name in names))


def names_finding(phrase: str, finding: str) -> bool:
    """Whether a phrase has a finding in whole words, or in the plural, and does not deny it; in any case of letters."""
    named = re.search(rf"(?<!\w){re.escape(finding)}(?:e?s)?(?!\w)", phrase, re.IGNORECASE)
    return bool(named) and not _DENIED.search(phrase)


@functools.cache
def degrees_named(phrase: str) -> Mapping[str, int]:
    """The severity of each finding of NAMES in a phrase: 1 to HIGHEST_DEGREE, or 0 if the phrase denies the finding.

    A finding is left out if its level is missing or has no order, or if the phrase also denies the finding.
    """
    text = _spaced(phrase)
    named = {match["name"]: match["level"] for match in _DEGREE_OF_NAME.finditer(text)}
    if _DENIED.search(text):
        return {name: 0 for name, level in named.items() if level is None}
    return {name: _RANKS[level] for name, level in named.items() if level in _RANKS}


def sides_named(phrase: str) -> frozenset[str]:
    """The sides, left and right, that a phrase names."""
    words = set(re.findall(r"\w+", phrase.lower()))
    return frozenset(side for side in ("left", "right") if words & {side, *_BOTH_SIDES})


def difference(change: Change | None) -> str:
    """The change in one word: unchanged, new, resolved, increased, decreased or changed.

    A level is "changed" if its two words have no known order, or mean the same degree ("small" and "mild").
    """
    if change is None:
        return "unchanged"
    if change.kind != "level":
        return "new" if change.kind == "added" else "resolved"
    before, after = _RANKS.get(change.before or ""), _RANKS.get(change.after or "")
    if before is None or after is None or before == after:
        return "changed"
    return "increased" if after > before else "decreased"


def turn_round(answer: str) -> str | None:
    """The difference answer after prior and current image are exchanged; the findings keep their order.

    None for an answer that cannot be read, or that has several readings.
    """
    readings = read_changes(answer)
    if len(readings) != 1:
        return None
    changes = sorted(readings[0], key=lambda change: (answer.lower().find(change.finding), change))
    return write_changes(map(turn_change_round, changes))


def turn_change_round(change: Change) -> Change:
    """The change after prior and current image are exchanged."""
    opposite: dict[str, ChangeKind] = {"added": "missing", "missing": "added", "level": "level"}
    return Change(change.finding, opposite[change.kind], before=change.after, after=change.before)


def _enumerate(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + ", and " + names[-1]


_BOTH_SIDES = ("bilateral", "bilaterally", "bibasilar", "bibasal", "biapical", "both")
_DENIED = re.compile(r"\b(?:no(?!(?: \w+){0,2} changes?\b)|not|without|resolved|free of)\b", re.IGNORECASE)
_THAN = r"(?: (?:than|(?:as )?compared (?:to|with)) (?:the )?(?:reference|prior|previous) image)"
_NOTHING = re.compile(rf"{NOTHING_CHANGED.rstrip('.')}{_THAN}?")
_LEVEL = re.compile(r"the level of (?P<finding>.+?) has changed from (?P<levels>.+ to .+)")
_LISTS: tuple[tuple[ChangeKind, re.Pattern[str]], ...] = (
    ("added", re.compile(rf"the (?:main|current) image has (?:an )?additional findings? of (.+?){_THAN}")),
    ("missing", re.compile(rf"the (?:main|current) image is missing the findings? of (.+?){_THAN}")),
)
_DEGREES = (*LEVELS, "large")
_DEGREE_WORDS = {word for degree in _DEGREES for word in degree.split()} - {"to"}
_GRAMMAR_WORDS = {
    "and", "changed", "compared", "from", "has", "image", "is", "level", "main", "missing", "reference",
    "than", "to",
}  # fmt: skip
_NO_NAME = re.compile(rf"{_DENIED.pattern}|\b(?:none|nothing|yes|or|but)\b|^(?:the\b|an? )")
_WORDS = re.compile(r"[^\W_][\w'()/?-]*(?: \(?[^\W_][\w'()/?-]*)*")


def _spaced(text: str) -> str:
    """Small letters, one space between words, none before a full stop or comma, one behind it."""
    text = re.sub(r"\s+([.,])", r"\1", " ".join(text.lower().split()))
    return re.sub(r"([.,])(?=[^\s\d.,])", r"\1 ", text)


def _is_name(text: str) -> bool:
    """Whether words can be the name of one finding: a known name, or a few words without a degree or a denial."""
    words = set(text.split())
    if text in NAMES:
        return True
    # Brackets hold another word for the finding.
    known = _KNOWN_NAME.findall(re.sub(r"\(.*?\)", "", text))
    fits = _WORDS.fullmatch(text) and len(text.split()) <= LONGEST_NAME and not _NO_NAME.search(text)
    return bool(fits) and len(known) < 2 and not words & (_DEGREE_WORDS | _GRAMMAR_WORDS)


def _is_level(text: str) -> bool:
    """Whether words say a degree: known ones, one after the other, or up to three other words without a finding."""
    if _KNOWN_LEVEL.fullmatch(text):
        return True
    words = text.split()
    fits = _WORDS.fullmatch(text) and len(words) <= 3 and not {*words} & (_GRAMMAR_WORDS | _DEGREE_WORDS | {"of"})
    return bool(fits) and not _KNOWN_NAME.search(text)


_KNOWN_NAME = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(NAMES, key=len, reverse=True)))})\b")
_ONE_LEVEL = "|".join(map(re.escape, sorted(_DEGREES, key=len, reverse=True)))
_KNOWN_LEVEL = re.compile(rf"(?:{_ONE_LEVEL})(?: (?:{_ONE_LEVEL}))*")
# Between a level and the finding that it is of stand a few words on the place: "severe left upper lung consolidation".
_DEGREE_OF_NAME = re.compile(
    rf"(?:\b(?P<level>{_ONE_LEVEL})(?: (?!and\b|with\b|{_KNOWN_NAME.pattern})[\w-]+){{0,4}}? )?"
    rf"(?P<name>{_KNOWN_NAME.pattern[:-2]})(?:e?s)?\b"
)


def _read_sentence(sentence: str) -> list[tuple[Change, ...]]:
    """The readings of one sentence without its full stop, each a tuple of changes."""
    if match := _LEVEL.fullmatch(re.sub(rf"{_THAN}$", "", sentence)):
        if not _is_name(match["finding"]):
            return []
        finding = _canonical(match["finding"])
        words = match["levels"].split(" to ")
        splits = [(" to ".join(words[:cut]), " to ".join(words[cut:])) for cut in range(1, len(words))]
        return [(Change(finding, "level", *split),) for split in splits if all(map(_is_level, split))]
    for kind, pattern in _LISTS:
        if match := pattern.fullmatch(sentence):
            names = _names_in(match[1])
            read = bool(names) and all(map(_is_name, names))
            return [tuple(Change(_canonical(name), kind) for name in names)] if read else []
    return []


def _names_in(enumeration: str) -> list[str]:
    return [name for name in re.split(r", (?:and )?| and ", enumeration) if name]


def _canonical(finding: str) -> str:
    return SYNONYMS.get(finding, finding)
