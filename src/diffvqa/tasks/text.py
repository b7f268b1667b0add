"""The one place where text is put together: prefixes, targets, boxes as text, token ids and loss masks.

Training and use both go through here, so that a prompt can never differ between them. A text is a tuple of
segments; each segment is tokenized by itself, so that a prompt which stops after any segment has exactly the token
ids with which a training text begins.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, replace
from typing import Any

from diffvqa.boxes import Box
from diffvqa.tasks.box_text import Notation, text_to_box, writes_box

IGNORED = -100
"""The label of a position that the loss overlooks."""

SEPARATOR = " :"
"""Stands between a phrase and its box."""

_REGION_PREFIX = "ARef Region:"


class DoesNotFit(ValueError):
    """A text that has more tokens than there may be, however it is cut."""


@dataclass(frozen=True, slots=True)
class Text:
    """A training text: the loss covers the segments of `target` and the end token, never `prefix`.

    parallel: whether the target is predicted at once, from mask tokens. weight: of each target token in the loss.
    """

    prefix: tuple[str, ...]
    target: tuple[str, ...]
    parallel: bool = False
    weight: float = 1.0


def caption(report: str) -> Text:
    """Cap: the report or caption of an image."""
    return Text(("Cap:",), (f" {one_line(report)}",))


def referring(phrase: str, box: str) -> Text:
    """AREF: a phrase, then its box (arXiv 2403.19596)."""
    return Text(("ARef:",), (f" {plain_phrase(phrase)}", SEPARATOR, f" {box}"))


def grounded_captioning(box: str, phrase: str) -> Text:
    """GCAP: a box, then its phrase (arXiv 2403.19596)."""
    return Text(("GCap:",), (f" {box}", SEPARATOR, f" {plain_phrase(phrase)}"))


def region_referring(region: str, phrase: str, box: str, box_first: bool = False) -> Text:
    """CAREF: for a named anatomical region, the phrase, then the box (arXiv 2603.04950), or the other way round."""
    parts = (f" {box}", f" {plain_phrase(phrase)}") if box_first else (f" {plain_phrase(phrase)}", f" {box}")
    return Text((_REGION_PREFIX, f" {one_line(region)}", SEPARATOR), (parts[0], SEPARATOR, parts[1]))


def last_part_only(text: Text) -> Text:
    """The same text with the loss on its last part alone: what stands before that is given."""
    return replace(text, prefix=text.prefix + text.target[:-1], target=text.target[-1:])


def question(text: str, answer: str) -> Text:
    """A question, then its answer."""
    return Text((f"{one_line(text)}\n",), (one_line(answer),))


def referring_prompt(phrase: str) -> tuple[str, ...]:
    """The prompt for the box of a phrase."""
    text = referring(phrase, "")
    return text.prefix + text.target[:2]


def reading_prompt() -> tuple[str, ...]:
    """The prompt for any phrase of an image and its box."""
    return referring("", "").prefix


def region_prompt(region: str) -> tuple[str, ...]:
    """The prompt for a phrase and the box of a named region."""
    return region_referring(region, "", "").prefix


def parts_due(prompt: tuple[str, ...], notation: Notation) -> tuple[str, ...]:
    """The parts that must follow a prompt of AREF or CAREF, in order: `phrase` and `box`, or `box` only."""
    if prompt[0] == _REGION_PREFIX:
        return ("box", "phrase") if notation.region_box_first else ("phrase", "box")
    return ("phrase", "box") if prompt == reading_prompt() else ("box",)


def question_prompt(text: str) -> tuple[str, ...]:
    """The prompt of the language model for a question."""
    return question(text, "").prefix


def phrase_and_box(generated: str, size: float, notation: Notation) -> tuple[str, Box | None]:
    """The phrase and the box in what a prompt was gone on with; the phrase is empty where only a box was due."""
    first, _, last = generated.rpartition(SEPARATOR)
    box = text_to_box(last, size, notation)
    if box is None and first:
        # The box came first; a phrase may have separators of its own.
        first, _, last = generated.partition(SEPARATOR)
        return last.strip(), text_to_box(first, size, notation)
    return first.strip(), box


def encode_prompt(tokenizer: Any, prompt: tuple[str, ...]) -> list[int]:
    """Token ids of a prompt, begun with the tokenizer's start token if it has one."""
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return start + [token for segment in prompt for token in encode_segment(tokenizer, segment)]


def encode(tokenizer: Any, text: Text, maximum: int) -> tuple[list[int], list[int]]:
    """Token ids of the prefix and of the target (with the end token) of a text, at most `maximum` together.

    A text that is too long has its longest phrase cut at its end: a caption then goes without the end token. Boxes,
    the task and the name of a region stay whole. Raises DoesNotFit where nothing would be left of the phrase.
    """
    start = encode_prompt(tokenizer, ())
    prefix, target = (
        [list(encode_segment(tokenizer, segment)) for segment in segments] for segments in (text.prefix, text.target)
    )
    end = [tokenizer.eos_token_id]
    length = sum(map(len, [start, *prefix, *target, end]))
    excess = length - maximum
    if excess > 0:
        longest = max(_phrases(text, prefix, target), key=len, default=[])
        if len(longest) <= excess:
            raise DoesNotFit(f"a text of {length} tokens cannot be cut to {maximum}")
        del longest[len(longest) - excess :]
        # A text that was cut where it ends: its end must not be learnt.
        end = [] if longest is target[-1] else end
    return [*start, *itertools.chain(*prefix)], [*itertools.chain(*target), *end]


def _phrases(text: Text, prefix: list[list[int]], target: list[list[int]]) -> list[list[int]]:
    """The encoded segments of a text that may be cut."""
    # The first part is the task, the second a region's name.
    given = 2 if text.prefix[0] == _REGION_PREFIX else 1
    segments = [*zip(text.target, target, strict=True), *zip(text.prefix[given:], prefix[given:], strict=True)]
    return [tokens for segment, tokens in segments if segment != SEPARATOR and not writes_box(segment)]


# Prefixes, phrases and region names come again and again; calling the tokenizer took a tenth of a small run.
@functools.lru_cache(maxsize=1 << 16)
def encode_segment(tokenizer: Any, segment: str) -> tuple[int, ...]:
    """The token ids of one segment of a text, without a start or an end."""
    return tuple(tokenizer.encode(segment, add_special_tokens=False))


def plain_phrase(text: str) -> str:
    """The phrase without a full stop. Sentences of reports end with one, and users' phrases do not."""
    return one_line(text).rstrip(" .")


def one_line(text: str) -> str:
    """The text with every white space made a single blank."""
    return " ".join(text.split())
