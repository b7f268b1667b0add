"""Boxes that cannot come out malformed: which tokens may follow while a captioner writes ` x1 y1 x2 y2`."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffvqa.tasks.box_text import Notation, number_pieces
from diffvqa.tasks.text import SEPARATOR, encode_segment, parts_due

Allowed = Callable[[int, list[int]], Sequence[int] | np.ndarray]
"""(number of the prompt, tokens written after it) -> the tokens that may follow."""

_BEGUN = re.compile(r"(?: \d+){0,3}(?: \d*)?", re.ASCII)


def may_begin_box(text: str, bins: int) -> bool:
    """Whether a text is the beginning of a box as `box_to_text` writes it, with a space before each number."""
    return bool(_BEGUN.fullmatch(text)) and _numbers_fit(text.split(" ")[1:], bins, unfinished=True)


def is_box(text: str, bins: int) -> bool:
    """Whether a text is a whole box: four integers 0..bins, x1 < x2, y1 < y2, a space before each."""
    return may_begin_box(text, bins) and len(text.split()) == 4 and _numbers_fit(text.split(), bins, unfinished=False)


def _numbers_fit(numbers: Sequence[str], bins: int, unfinished: bool) -> bool:
    for place, digits in enumerate(numbers):
        last = unfinished and place == len(numbers) - 1
        low, high = (0, bins - 1) if place < 2 else (int(numbers[place - 2]) + 1, bins)
        if not any(_range_meets(digits, more, low, high) for more in range(len(str(bins)) if last else 1)):
            return False
    return True


def _range_meets(digits: str, more: int, low: int, high: int) -> bool:
    """Whether these digits and `more` others can be a number from low to high, without a needless zero in front."""
    if not digits:
        return more > 0
    if digits[0] == "0" and (len(digits) > 1 or more):
        return False
    smallest = int(digits) * 10**more
    return smallest <= high and smallest + 10**more - 1 >= low


class BoxGrammar:
    """The tokens of one tokenizer of which boxes in one notation are written."""

    def __init__(self, tokenizer: Any, notation: Notation) -> None:
        self.notation = notation
        self.pieces = number_pieces(tokenizer, notation)
        self.separator = list(encode_segment(tokenizer, SEPARATOR))
        nothing_written = {*tokenizer.all_special_ids, *(self.pieces if notation.location_tokens else ())}
        self.words = np.array([token for token in range(len(tokenizer)) if token not in nothing_written])
        self.end, self.padding = tokenizer.eos_token_id, tokenizer.pad_token_id
        self.words_or_end = np.append(self.words, self.end)
        self.longest = 4 * (1 + len(str(notation.bins))) + 1
        # Beginnings come again and again. Not all are kept: a large vocabulary has a thousand tokens for each.
        self.after = functools.lru_cache(maxsize=4096)(self._after)

    def _after(self, text: str) -> list[int]:
        """The tokens that may follow the figures of a box so far, none where it is whole and cannot be longer."""
        return [token for token, piece in self.pieces.items() if self._goes_on(text + piece)]

    def _goes_on(self, text: str) -> bool:
        bins = self.notation.bins
        if self.notation.location_tokens:
            # A location is a whole number: no figure can follow.
            return may_begin_box(text + " ", bins) or is_box(text, bins)
        return may_begin_box(text, bins)

    def constraint(self, prompts: Sequence[tuple[str, ...]], new_tokens: int) -> Allowed:
        """Which tokens may follow what has been written after each of these prompts.

        If a phrase comes first, any word may stand in it; it ends in time for a box to fit into `new_tokens`.
        """
        due = [parts_due(prompt, self.notation) for prompt in prompts]

        def allowed(number: int, written: list[int]) -> Sequence[int] | np.ndarray:
            if self.end in written:
                return [self.padding]
            if due[number][0] == "box":
                return self._box_then_phrase(written, phrase_follows=len(due[number]) > 1)
            return self._phrase_then_box(written, new_tokens)

        return allowed

    def _phrase_then_box(self, written: list[int], new_tokens: int) -> Sequence[int] | np.ndarray:
        start = self._after_separator(written)
        if start is not None:
            return self._box(written[start:], [self.end])
        spare = new_tokens - len(written) - len(self.separator) - self.longest
        return self.words if spare > 0 else [self.separator[-spare]]

    def _box_then_phrase(self, written: list[int], phrase_follows: bool) -> Sequence[int] | np.ndarray:
        if not phrase_follows:
            return self._box(written, [self.end])
        box = next((place for place, token in enumerate(written) if token not in self.pieces), len(written))
        done = len(written) - box
        if done >= len(self.separator):
            return self.words_or_end
        return [self.separator[done]] if done else self._box(written, self.separator[:1])

    def _box(self, written: list[int], then: list[int]) -> list[int]:
        """The tokens that may follow the tokens of a box so far, and after a whole one."""
        text = "".join(self.pieces[token] for token in written)
        return self.after(text) + (then if is_box(text, self.notation.bins) else [])

    def _after_separator(self, written: list[int]) -> int | None:
        width = len(self.separator)
        starts = (p + width for p in range(len(written)) if written[p : p + width] == self.separator)
        return next(starts, None)


box_grammar = functools.lru_cache(maxsize=4)(BoxGrammar)
"""The grammar of a tokenizer's boxes; made once, for that looks at every token of the vocabulary."""
