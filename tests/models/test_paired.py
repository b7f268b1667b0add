"""The head of pairs: which image is the prior one, and that it matters."""

import pytest
import torch
from transformers import GPT2Config

from diffvqa.models.paired_head import PairedHead

DECODER = GPT2Config(
    n_embd=24, n_layer=2, n_head=2, vocab_size=60, n_positions=16, add_cross_attention=True,
    # Larger than usual, so that an untrained model tells its inputs apart.
    initializer_range=0.3,
)  # fmt: skip


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = PairedHead(16, DECODER).eval()
    torch.nn.init.normal_(head.time.weight)
    return head


def loss(head, tokens):
    """Of a text of six tokens about each of the pairs."""
    pairs = len(tokens) // 2
    ids = torch.randint(4, 60, (pairs, 6), generator=torch.Generator().manual_seed(1))
    texts = {
        "input_ids": ids,
        "position_ids": torch.arange(6).repeat(pairs, 1),
        "text_index": torch.zeros(pairs, 6, dtype=torch.long),
        "parallel": torch.zeros(pairs, 6, dtype=torch.bool),
    }
    with torch.no_grad():
        return float(head(tokens, labels=ids.roll(-1, 1), **texts).loss)


def images(count):
    return torch.randn(count, 4, 16, generator=torch.Generator().manual_seed(2))


def test_images_of_even_place_are_prior_ones_with_the_first_time_embedding(head):
    tokens = images(4)
    expected = loss(head, tokens)
    prior, current = head.time.weight.data.clone()
    head.time.weight.data.zero_()
    tokens[[0, 2]] += prior
    tokens[[1, 3]] += current
    assert loss(head, tokens) == pytest.approx(expected, abs=1e-5)


def test_prior_and_current_exchanged_are_another_pair(head):
    tokens = images(2)
    plain, exchanged_images = loss(head, tokens), loss(head, tokens.flip(0))
    head.time.weight.data = head.time.weight.data.flip(0)
    assert abs(exchanged_images - plain) > 0.01
    assert abs(loss(head, tokens) - plain) > 0.01


def test_a_text_looks_at_both_images_of_its_own_pair_alone(head):
    tokens = images(4)
    first, both = loss(head, tokens[:2]), loss(head, tokens)
    second = 2 * both - first
    for place, mine in enumerate((True, True, False, False)):
        changed = tokens.clone()
        changed[place] += 1
        parts = loss(head, changed[:2]), 2 * loss(head, changed) - loss(head, changed[:2])
        assert (abs(parts[0] - first) > 1e-3) == mine
        assert (abs(parts[1] - second) > 1e-3) != mine


def test_a_pair_is_looked_at_with_its_times():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=20, n_embd=8, n_layer=1, n_head=2, n_positions=16, add_cross_attention=True,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
    )  # fmt: skip
    head = PairedHead(6, config).eval()
    with torch.no_grad():
        head.time.weight.normal_()
        for parameter in head.captioning.parameters():
            parameter.normal_(std=0.5)
    tokens = torch.randn(6, 4, 6)
    input_ids = torch.randint(20, (3, 5))
    labels = torch.randint(20, (3, 5))
    labels[:, :2] = -100
    texts = {
        "input_ids": input_ids,
        "position_ids": torch.arange(5).repeat(3, 1),
        "text_index": torch.zeros(3, 5, dtype=torch.long),
        "parallel": torch.zeros(3, 5, dtype=torch.bool),
    }
    losses = []
    for pair in range(3):
        prior, current = tokens[2 * pair] + head.time.weight[0], tokens[2 * pair + 1] + head.time.weight[1]
        seen = head.captioning.projector(torch.cat([prior, current]))[None]
        logits = head.captioning.decoder(input_ids=input_ids[pair : pair + 1], encoder_hidden_states=seen).logits[0]
        losses.append(torch.nn.functional.cross_entropy(logits[2:], labels[pair, 2:]))
    found = head(tokens, labels=labels, **texts).loss
    assert float(found) == pytest.approx(float(torch.stack(losses).mean()), rel=1e-4)
