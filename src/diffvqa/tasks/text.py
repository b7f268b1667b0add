"""The one place where text is put together: prefixes, targets, boxes as text, token ids and loss masks.

Training and use both go through here, so that a prompt can never differ between them. A text is a tuple of
segments; each segment is tokenized by itself, so that a prompt which stops after any segment has exactly the token
ids with which a training text begins.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from diffvqa.boxes import Box

IGNORED = -100
"""The label of a position that the loss overlooks."""

SEPARATOR = " :"
"""Stands between a phrase and its box."""

_REGION_PREFIX = "ARef Region:"


@dataclass(frozen=True, slots=True)
class Text:
    """A training text: the loss covers the segments of `target` and the end token, never `prefix`."""

    prefix: tuple[str, ...]
    target: tuple[str, ...]


def caption(report: str) -> Text:
    """Cap: the report or caption of an image."""
    return Text(("Cap:",), (f" {_one_line(report)}",))


def referring(phrase: str, box: str) -> Text:
    """AREF: a phrase, then its box (arXiv 2403.19596)."""
    return Text(("ARef:",), (f" {_phrase(phrase)}", SEPARATOR, f" {box}"))


def grounded_captioning(box: str, phrase: str) -> Text:
    """GCAP: a box, then its phrase (arXiv 2403.19596)."""
    return Text(("GCap:",), (f" {box}", SEPARATOR, f" {_phrase(phrase)}"))


def region_referring(region: str, phrase: str, box: str) -> Text:
    """CAREF: for a named anatomical region, the phrase, then the box (arXiv 2603.04950)."""
    return Text((_REGION_PREFIX, f" {_one_line(region)}", SEPARATOR), (f" {_phrase(phrase)}", SEPARATOR, f" {box}"))


def question(text: str, answer: str) -> Text:
    """A question, then its answer."""
    return Text((f"{_one_line(text)}\n",), (_one_line(answer),))


def referring_prompt(phrase: str) -> tuple[str, ...]:
    """What is given to the captioner so that it answers with the box of a phrase."""
    text = referring(phrase, "")
    return text.prefix + text.target[:2]


def region_prompt(region: str) -> tuple[str, ...]:
    """What is given to the captioner so that it answers with a phrase and the box of a named region."""
    return region_referring(region, "", "").prefix


def phrase_is_next(prompt: tuple[str, ...]) -> bool:
    """Whether a phrase comes before the box that a referring or region prompt asks for."""
    return prompt[0] == _REGION_PREFIX


def question_prompt(text: str) -> tuple[str, ...]:
    """What is given to the language model so that it answers a question."""
    return question(text, "").prefix


def box_to_text(box: Box, size: float, bins: int) -> str:
    """A box in an image of size x size, as four integers 0..bins: `x1 y1 x2 y2`.

    A box narrower than a bin is widened to one, so that what is written can be read.
    """
    x1, y1, x2, y2 = (min(max(round(value / size * bins), 0), bins) for value in box.as_tuple())
    x1, y1 = min(x1, bins - 1), min(y1, bins - 1)
    return f"{x1} {y1} {max(x2, x1 + 1)} {max(y2, y1 + 1)}"


_BOX = re.compile(r"\s*(\d+) (\d+) (\d+) (\d+)\s*", re.ASCII)


def text_to_box(text: str, size: float, bins: int) -> Box | None:
    """The box that a text writes, in an image of size x size; None if the text is not four integers of a box."""
    match = _BOX.fullmatch(text)
    if not match:
        return None
    x1, y1, x2, y2 = (int(value) for value in match.groups())
    if max(x2, y2) > bins or x2 <= x1 or y2 <= y1:
        return None
    return Box(*(value * size / bins for value in (x1, y1, x2, y2)))


def phrase_and_box(generated: str, size: float, bins: int) -> tuple[str, Box | None]:
    """The phrase and the box in a generated ` {phrase} : {box}`; the phrase is empty where only a box was due."""
    phrase, _, box = generated.rpartition(f"{SEPARATOR} ")
    return phrase.strip(), text_to_box(box, size, bins)


def encode_prompt(tokenizer: Any, prompt: tuple[str, ...]) -> list[int]:
    """Token ids of a prompt, begun with the tokenizer's start token if it has one."""
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return start + [token for segment in prompt for token in encode_segment(tokenizer, segment)]


def encode(tokenizer: Any, text: Text, maximum: int) -> tuple[list[int], list[int]]:
    """Token ids of the prefix and of the target (with the end token) of a text, at most `maximum` together.

    Of a text that is too long the longest segment of the target is cut at its end: a caption then goes without the
    end token, a box stays whole.
    """
    prefix = encode_prompt(tokenizer, text.prefix)
    segments = [list(encode_segment(tokenizer, segment)) for segment in text.target]
    target = [token for segment in segments for token in segment] + [tokenizer.eos_token_id]
    excess = len(prefix) + len(target) - maximum
    if excess > 0:
        longest = max(segments, key=len)
        if len(longest) <= excess:
            raise ValueError(f"a text of {len(prefix) + len(target)} tokens cannot be cut to {maximum}")
        del longest[len(longest) - excess :]
        # A text of one segment was cut where it ends: its end must not be learnt.
        end = [tokenizer.eos_token_id] if len(segments) > 1 else []
        target = [token for segment in segments for token in segment] + end
    return prefix, target


# Prefixes, phrases and region names come again and again; calling the tokenizer took a tenth of a small run.
@functools.lru_cache(maxsize=1 << 16)
def encode_segment(tokenizer: Any, segment: str) -> tuple[int, ...]:
    """The token ids of one segment of a text, without a start or an end."""
    return tuple(tokenizer.encode(segment, add_special_tokens=False))


def _phrase(text: str) -> str:
    """Without a full stop: sentences of reports end with one, what a user looks for does not."""
    return _one_line(text).rstrip(" .")


def _one_line(text: str) -> str:
    return " ".join(text.split())
