"""Contrast of images and of places with texts: losses against naive ones, negatives, pooling under boxes."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPTextConfig

from diffvqa.models.classifier import ClassificationHead
from diffvqa.models.contrastive import AttentionPooling, ContrastiveHead, pool_boxes

TEXT = CLIPTextConfig(
    vocab_size=30, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
    max_position_embeddings=8, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)  # fmt: skip
KINDS = {"clip": (False, False), "siglip": (True, False), "local": (False, True)}


@pytest.fixture(scope="module", params=KINDS)
def head(request):
    torch.manual_seed(0)
    sigmoid, local = KINDS[request.param]
    return ContrastiveHead(24, TEXT, sigmoid=sigmoid, local=local).eval()


def batch(texts=5, images=3):
    generator = torch.Generator().manual_seed(1)
    lengths = torch.arange(texts) % 3 + 3
    ids = torch.randint(4, 30, (texts, 6), generator=generator)
    mask = (torch.arange(6) < lengths[:, None]).long()
    ids[torch.arange(texts), lengths - 1] = 2
    low = torch.rand(texts, 2, generator=generator) * 0.5
    return {
        "tokens": torch.randn(images, 16, 24, generator=generator),
        "input_ids": ids * mask,
        "attention_mask": mask,
        "image_index": torch.arange(texts) % images,
        "boxes": torch.cat([low, low + 0.4], dim=1),
        "text_key": torch.arange(texts),
    }


def similarities(head, inputs):
    """Every image or place against every text, one pair at a time."""
    rows = []
    for number, image in enumerate(inputs["image_index"]):
        tokens = inputs["tokens"][image]
        pooled = (
            head.pooling(tokens[None])[0]
            if head.pooling
            else pool_boxes(tokens[None], torch.zeros(1, dtype=torch.long), inputs["boxes"][number, None])[0]
        )
        row = []
        for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True):
            text = head.text_encoder(input_ids=ids[None, : mask.sum()]).last_hidden_state[0, -1]
            row.append(functional.cosine_similarity(head.projection(pooled), text, dim=0))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def naive_loss(head, inputs):
    scores = similarities(head, inputs) * head.log_scale.exp()
    if head.sigmoid:
        scores = scores + head.bias
        terms = [
            -functional.logsigmoid(scores[i, j] if i == j else -scores[i, j])
            for i in range(len(scores))
            for j in range(len(scores))
        ]
        return sum(terms) / len(scores)
    own = torch.arange(len(scores))
    return (functional.cross_entropy(scores, own) + functional.cross_entropy(scores.T, own)) / 2


def test_the_loss_is_the_naive_one(head):
    inputs = batch()
    with torch.no_grad():
        assert torch.allclose(head(**inputs).loss, naive_loss(head, inputs), atol=1e-5)


def test_padding_changes_nothing(head):
    inputs = batch()
    padded = {
        **inputs,
        "input_ids": torch.cat([inputs["input_ids"], torch.full((5, 2), 7)], dim=1),
        "attention_mask": torch.cat([inputs["attention_mask"], torch.zeros(5, 2, dtype=torch.long)], dim=1),
    }
    with torch.no_grad():
        assert torch.allclose(head(**inputs).loss, head(**padded).loss, atol=1e-6)


def test_equal_texts_are_no_negatives_of_one_another(head):
    inputs = batch()
    for name in ("input_ids", "attention_mask", "text_key"):
        inputs[name][3] = inputs[name][0]
    with torch.no_grad():
        output = head(**inputs)
    assert output.negatives == pytest.approx((3 * 4 + 2 * 3) / 5)
    scores = similarities(head, inputs) * head.log_scale.exp() + (head.bias if head.sigmoid else 0)
    scores[0, 3] = scores[3, 0] = -torch.inf
    own = torch.arange(5)
    if head.sigmoid:
        signs = 2 * torch.eye(5) - 1
        terms = -functional.logsigmoid(signs * scores.nan_to_num(neginf=0))
        terms[0, 3] = terms[3, 0] = 0
        expected = terms.sum() / 5
    else:
        expected = (functional.cross_entropy(scores, own) + functional.cross_entropy(scores.T, own)) / 2
    assert torch.allclose(output.loss, expected, atol=1e-5)


def test_texts_of_one_place_are_no_negatives_of_one_another():
    """Two phrases of one box in one image; the same box in another image is another place."""
    torch.manual_seed(0)
    head = ContrastiveHead(24, TEXT, sigmoid=False, local=True).eval()
    inputs = batch(texts=2)
    inputs["image_index"][:] = 0
    inputs["boxes"][1] = inputs["boxes"][0]
    with torch.no_grad():
        output = head(**inputs)
        assert output.negatives == 0
        assert output.loss == pytest.approx(0, abs=1e-6)
        inputs["image_index"][1] = 1
        assert head(**inputs).negatives == 1
        inputs["image_index"][1] = 0
        inputs["boxes"][1, 2] += 0.1
        assert head(**inputs).negatives == 1


@pytest.mark.parametrize(("width", "heads"), [(24, 1), (192, 3), (200, 2), (224, 2), (336, 4), (1152, 18)])
def test_pooling_fits_any_width(width, heads):
    pooling = AttentionPooling(width)
    assert pooling.attention.num_heads == heads
    assert pooling(torch.randn(2, 4, width)).shape == (2, width)


def test_a_batch_without_texts_has_no_loss_and_gradients_of_zero(head):
    inputs = {name: value[:0] if name != "tokens" else value for name, value in batch().items()}
    loss = head(**inputs).loss
    assert loss == 0
    loss.backward()
    head.zero_grad()


def test_a_box_of_whole_patches_is_their_mean():
    tokens = torch.randn(2, 16, 3)
    pooled = pool_boxes(tokens, torch.tensor([1, 0]), torch.tensor([[0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 1.0, 1.0]]))
    assert torch.allclose(pooled[0], tokens[1].view(4, 4, 3)[2:, 1:3].mean((0, 1)), atol=1e-6)
    assert torch.allclose(pooled[1], tokens[0].mean(0), atol=1e-6)


def test_a_box_that_cuts_patches_weighs_them_by_area():
    tokens = torch.randn(1, 4, 3)
    fine = tokens.view(2, 2, 3).repeat_interleave(50, 0).repeat_interleave(50, 1)
    pooled = pool_boxes(tokens, torch.tensor([0]), torch.tensor([[0.3, 0.1, 0.9, 0.62]]))
    assert torch.allclose(pooled[0], fine[10:62, 30:90].mean((0, 1)), atol=1e-5)


def test_a_classifier_has_one_logit_a_finding():
    torch.manual_seed(0)
    head = ClassificationHead(24, 4)
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    tokens, findings = torch.randn(3, 16, 24), torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    queries, weight, bias = head.probe.pooling.query, head.probe.weight, head.probe.bias
    attention = torch.einsum("ipw,nw->inp", tokens, queries / 24**0.5).softmax(-1)
    logits = (torch.einsum("inp,ipw->inw", attention, tokens) * weight[:, 0]).sum(-1) + bias[:, 0]
    probabilities = logits.sigmoid()
    expected = -(findings * probabilities.log() + (1 - findings) * (1 - probabilities).log()).mean()
    assert torch.allclose(head(tokens, findings, torch.ones(3, dtype=torch.bool)).loss, expected, atol=1e-5)


def test_an_image_whose_findings_are_unknown_teaches_a_classifier_nothing():
    torch.manual_seed(0)
    head = ClassificationHead(24, 4)
    tokens, findings = torch.randn(3, 16, 24), torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    expected = head(tokens[[0, 2]], findings[[0, 2]], torch.tensor([True, True])).loss
    assert torch.allclose(head(tokens, findings, torch.tensor([True, False, True])).loss, expected)
    assert head(tokens, findings, torch.zeros(3, dtype=torch.bool)).loss == 0
