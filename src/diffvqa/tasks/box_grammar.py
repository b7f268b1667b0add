"""Boxes that cannot come out malformed: which tokens may follow while a captioner writes ` x1 y1 x2 y2`."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch

from diffvqa.tasks.text import SEPARATOR, encode_segment, phrase_is_next

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


@functools.lru_cache(maxsize=4)
def box_grammar(tokenizer: Any, bins: int) -> BoxGrammar:
    """The grammar of a tokenizer's boxes; made once, for that looks at every token of the vocabulary."""
    return BoxGrammar(tokenizer, bins)


class BoxGrammar:
    """The tokens of one tokenizer of which boxes 0..bins are written."""

    def __init__(self, tokenizer: Any, bins: int) -> None:
        self.tokenizer, self.bins = tokenizer, bins
        # What a token adds to a text: some tokenizers drop the space of a first token, so none is decoded alone.
        before = encode_segment(tokenizer, ":")[-1]
        start = len(tokenizer.decode([before]))
        added = (tokenizer.decode([before, token])[start:] for token in range(len(tokenizer)))
        self.pieces = {token: text for token, text in enumerate(added) if re.fullmatch(r"[ \d]+", text, re.ASCII)}
        self.words = torch.tensor([token for token in range(len(tokenizer)) if token not in tokenizer.all_special_ids])
        self.longest = 4 * (1 + len(str(bins))) + 1
        # Beginnings come again and again. Not all are kept: a large vocabulary has a thousand tokens for each.
        self.after = functools.lru_cache(maxsize=4096)(self._after)

    def _after(self, text: str) -> list[int]:
        """The tokens that may follow the text of a box so far; the end token where it is whole."""
        allowed = [token for token, piece in self.pieces.items() if may_begin_box(text + piece, self.bins)]
        return allowed + ([self.tokenizer.eos_token_id] if is_box(text, self.bins) else [])

    def constraint(
        self, prompts: Sequence[tuple[str, ...]], prompt_length: int, new_tokens: int
    ) -> Callable[[int, torch.Tensor], Any]:
        """The `prefix_allowed_tokens_fn` of `generate` for these prompts, padded on the left to `prompt_length`.

        Where a phrase comes first, any word may stand in it; it ends in time for a box to fit into `new_tokens`.
        """
        separator = list(encode_segment(self.tokenizer, SEPARATOR))
        width = len(separator)

        def allowed(row: int, ids: torch.Tensor) -> Any:
            written = ids[prompt_length:].tolist()
            start = 0
            if phrase_is_next(prompts[row]):
                start = next((p + width for p in range(len(written)) if written[p : p + width] == separator), None)
            if self.tokenizer.eos_token_id in written:
                return [self.tokenizer.pad_token_id]
            if start is not None:
                return self.after("".join(self.pieces[token] for token in written[start:]))
            spare = new_tokens - len(written) - width - self.longest
            return self.words if spare > 0 else [separator[-spare]]

        return allowed
