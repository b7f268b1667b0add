"""What may follow, asked for all texts at once, is what transformers asks for one after the other."""

import numpy as np
import pytest
import torch
from transformers import PrefixConstrainedLogitsProcessor

from diffvqa.inference.box_writing import AllowedTokens

PROMPT, VOCABULARY = 3, 11


def allowed(number, written):
    found = [(number + len(written)) % VOCABULARY, *written]
    return np.array(found) if number % 2 else found


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("length", [PROMPT, PROMPT + 4])
def test_scores_are_those_of_the_slow_way(beams, length):
    random = torch.Generator().manual_seed(beams)
    ids = torch.randint(VOCABULARY, (6, length), generator=random)
    scores = torch.randn(6, VOCABULARY, generator=random)
    slow = PrefixConstrainedLogitsProcessor(
        lambda number, text: torch.as_tensor(allowed(number, text[PROMPT:].tolist())), beams
    )
    assert torch.equal(AllowedTokens(allowed, PROMPT, beams)(ids, scores), slow(ids, scores))
