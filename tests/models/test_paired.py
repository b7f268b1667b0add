"""The head of pairs: each pair's own images, the prior one first, each with its own embedding of time."""

import pytest
import torch
from transformers import GPT2Config

from diffvqa.models.paired import PairedHead


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
