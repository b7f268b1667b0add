"""The difference model: order of the images, the absent prior, the frozen encoder, generation with a cache."""

import pytest
import torch
from transformers import GPT2Config, Qwen2Config

from diffvqa.models.difference import DifferenceConfig, DifferenceModel, merge_neighbours

VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
    "num_channels": 1,
}
LANGUAGE = {
    "gpt2": GPT2Config(
        n_embd=24, n_layer=2, n_head=2, vocab_size=60, n_positions=64, initializer_range=0.3,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    ),
    "qwen2": Qwen2Config(
        hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        vocab_size=60, max_position_embeddings=64, initializer_range=0.3,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=[("gpt2", 1), ("qwen2", 1), ("gpt2", 2)], ids=str)
def model(request):
    torch.manual_seed(0)
    name, merge = request.param
    return DifferenceModel(DifferenceConfig(VISION, LANGUAGE[name], merge=merge)).eval()


def batch(pairs=3, length=6):
    generator = torch.Generator().manual_seed(1)
    return {
        "prior": torch.randn(pairs, 4, 32, generator=generator) * 3,
        "current": torch.randn(pairs, 4, 32, generator=generator) * 3,
        "has_prior": torch.tensor([True, True, False])[:pairs],
        "input_ids": torch.randint(4, 60, (pairs, length), generator=generator),
        "attention_mask": torch.ones(pairs, length, dtype=torch.long),
    }


def logits(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits


def test_prior_and_current_swapped_is_another_question(model):
    inputs = batch()
    swapped = {**inputs, "prior": inputs["current"], "current": inputs["prior"]}
    assert not torch.allclose(logits(model, inputs)[:2], logits(model, swapped)[:2], atol=1e-3)


def test_a_prior_counts_only_where_there_is_one(model):
    inputs = batch()
    changed = {**inputs, "prior": inputs["prior"] + 1}
    before, after = logits(model, inputs), logits(model, changed)
    assert not torch.allclose(before[:2], after[:2], atol=1e-3)
    assert torch.allclose(before[2], after[2], atol=1e-5)


def test_no_prior_is_said_by_an_embedding_of_its_own(model):
    inputs = batch()
    before = logits(model, inputs)
    with torch.no_grad():
        kept = model.no_prior.weight.clone()
        model.no_prior.weight.copy_(torch.randn_like(kept))
        after = logits(model, inputs)
        model.no_prior.weight.copy_(kept)
    assert torch.allclose(before[:2], after[:2], atol=1e-5)
    assert not torch.allclose(before[2], after[2], atol=1e-3)


def test_padding_changes_nothing(model):
    inputs = batch()
    padded = {
        **inputs,
        "input_ids": torch.cat([inputs["input_ids"], torch.full((3, 3), 9)], 1),
        "attention_mask": torch.cat([inputs["attention_mask"], torch.zeros(3, 3, dtype=torch.long)], 1),
    }
    assert torch.allclose(logits(model, inputs), logits(model, padded)[:, :6], atol=1e-5)


def test_the_text_sees_no_future(model):
    inputs = batch()
    before = logits(model, inputs)
    inputs["input_ids"][:, 4] = 5
    after = logits(model, inputs)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-5)
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-3)


def test_the_encoder_is_frozen_and_the_rest_learns():
    torch.manual_seed(0)
    model = DifferenceModel(DifferenceConfig(VISION, LANGUAGE["gpt2"])).train()
    inputs = batch()
    inputs["prior"], inputs["current"] = (model.encode(torch.randn(3, 1, 32, 32)) for _ in range(2))
    labels = torch.full((3, 6), -100)
    labels[:, 3:] = 7
    model(**inputs, labels=labels).loss.backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    rest = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert {"time.weight", "no_prior.weight", "projector.0.weight"} <= rest
    assert not model.encoder.training


def test_the_loss_is_the_mean_over_answer_tokens(model):
    inputs = batch()
    labels = torch.full((3, 6), -100)
    labels[0, 2:5] = torch.tensor([5, 6, 2])
    labels[2, 5] = 9
    expected = torch.nn.functional.cross_entropy(logits(model, inputs).flatten(0, 1), labels.flatten())
    with torch.no_grad():
        assert torch.allclose(model(**inputs, labels=labels).loss, expected, atol=1e-5)


def test_writing_with_the_cache_equals_writing_without(model):
    inputs = batch()
    with torch.no_grad():
        fast = model.write(**inputs, new_tokens=6, eos_token_id=-1)
        slow = inputs["input_ids"]
        for _ in range(6):
            step = {**inputs, "input_ids": slow, "attention_mask": torch.ones_like(slow)}
            slow = torch.cat([slow, model(**step).logits[:, -1:].argmax(-1)], 1)
    assert fast.tolist() == slow[:, 6:].tolist()


def test_left_padding_changes_nothing_that_is_written(model):
    inputs = batch()
    padded = {
        **inputs,
        "input_ids": torch.cat([torch.zeros(3, 2, dtype=torch.long), inputs["input_ids"]], 1),
        "attention_mask": torch.cat([torch.zeros(3, 2, dtype=torch.long), inputs["attention_mask"]], 1),
    }
    assert model.write(**inputs, new_tokens=6).tolist() == model.write(**padded, new_tokens=6).tolist()


def test_neighbours_that_are_merged_stand_side_by_side_in_one_token():
    tokens = torch.arange(2 * 36 * 5).reshape(2, 36, 5)
    grid = tokens.view(2, 6, 6, 5)
    expected = [
        torch.cat([grid[:, 3 * row + i, 3 * column + j] for i in range(3) for j in range(3)], dim=-1)
        for row in range(2)
        for column in range(2)
    ]
    assert torch.equal(merge_neighbours(tokens, 3), torch.stack(expected, dim=1))
    assert torch.equal(merge_neighbours(tokens, 1), tokens)


@pytest.mark.parametrize("merge", [0, 3])
def test_a_merge_that_does_not_tile_the_patches_is_refused(merge):
    with pytest.raises(ValueError, match="2 x 2 patches"):
        DifferenceConfig(VISION, LANGUAGE["gpt2"], merge=merge)


def test_a_folder_gives_the_same_model_back(model, tmp_path):
    model.save_pretrained(tmp_path)
    again = DifferenceModel.from_pretrained(tmp_path).eval()
    assert torch.equal(logits(model, batch()), logits(again, batch()))
