"""What `generate` may write next, asked for all texts of a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from transformers import LogitsProcessor


class AllowedTokens(LogitsProcessor):
    """Gives the tokens that may not follow a score of minus infinity.

    allowed: (number of the prompt, tokens written after it) -> the tokens that may follow. prompt_length: that all
    prompts are padded to. beams: of each prompt. transformers' own (`prefix_allowed_tokens_fn`) goes to the device and
    back for every text, which on a GPU takes longer than all else.
    """

    def __init__(
        self, allowed: Callable[[int, list[int]], Sequence[int] | np.ndarray], prompt_length: int, beams: int
    ) -> None:
        self.allowed, self.prompt_length, self.beams = allowed, prompt_length, beams

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Scores (texts, vocabulary), of texts (texts, length)."""
        forbidden = np.ones(tuple(scores.shape), dtype=bool)
        for row, written in enumerate(input_ids[:, self.prompt_length :].tolist()):
            forbidden[row, self.allowed(row // self.beams, written)] = False
        kept = scores.masked_fill(torch.from_numpy(forbidden).to(scores.device), -torch.inf)
        return cast(torch.FloatTensor, kept)
