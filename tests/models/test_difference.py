"""The difference model: order of the images, absent priors, what is trained, attention, generation with a cache."""

import pytest
import torch
from transformers import GPT2Config, Qwen3Config

from diffvqa.models.difference import DifferenceConfig, DifferenceModel, merge_neighbours

VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
    "num_channels": 1,
}
HYBRID = {
    **VISION,
    "model_type": "diffvqa_hybrid_vision",
    "stem_config": {"embedding_size": 8, "hidden_sizes": [8, 8, 16], "depths": [1, 1, 1], "layer_type": "basic"},
}
LANGUAGE = {
    "gpt2": GPT2Config(
        n_embd=24, n_layer=2, n_head=2, vocab_size=60, n_positions=64, initializer_range=0.3,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    ),
    "qwen3": Qwen3Config(
        hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=12, vocab_size=60, max_position_embeddings=64, initializer_range=0.3,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    ),
}  # fmt: skip
KINDS = {
    "gpt2": ("gpt2", {}),
    "qwen3": ("qwen3", {}),
    "merged": ("gpt2", {"merge": 2}),
    "gpt2 prefix": ("gpt2", {"attention": "prefix"}),
    "qwen3 prefix": ("qwen3", {"attention": "prefix"}),
    "two priors": ("gpt2", {"priors": 2}),
    "two priors, prefix": ("qwen3", {"priors": 2, "attention": "prefix"}),
}


def made(kind):
    torch.manual_seed(0)
    language, settings = KINDS[kind]
    return DifferenceModel(DifferenceConfig(VISION, LANGUAGE[language], **settings)).eval()


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return made(request.param)


def batch(model, pairs=3, length=6):
    """Pairs of which the last has no prior; where the model takes two, the second has one only."""
    generator = torch.Generator().manual_seed(1)
    priors = model.config.priors
    return {
        "prior": torch.randn(pairs, priors, 4, 32, generator=generator) * 3,
        "current": torch.randn(pairs, 4, 32, generator=generator) * 3,
        "has_prior": (torch.arange(priors) < torch.tensor([[priors], [1], [0]]))[torch.arange(pairs) % 3],
        "input_ids": torch.randint(4, 60, (pairs, length), generator=generator),
        "attention_mask": torch.ones(pairs, length, dtype=torch.long),
    }


def logits(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits


def test_prior_and_current_swapped_is_another_question(model):
    inputs = batch(model)
    swapped = {**inputs, "prior": inputs["prior"].clone(), "current": inputs["prior"][:, 0]}
    swapped["prior"][:, 0] = inputs["current"]
    assert not torch.allclose(logits(model, inputs)[:2], logits(model, swapped)[:2], atol=1e-3)


def test_a_prior_counts_only_where_there_is_one(model):
    inputs = batch(model)
    changed = {**inputs, "prior": inputs["prior"] + 1}
    before, after = logits(model, inputs), logits(model, changed)
    assert not torch.allclose(before[:2], after[:2], atol=1e-3)
    assert torch.allclose(before[2], after[2], atol=1e-5)


def test_priors_are_told_apart():
    model = made("two priors")
    inputs = batch(model)
    inputs["has_prior"][:] = True
    swapped = {**inputs, "prior": inputs["prior"].flip(1)}
    assert not torch.allclose(logits(model, inputs), logits(model, swapped), atol=1e-3)


def test_no_prior_is_said_by_an_embedding_of_its_own(model):
    inputs = batch(model)
    inputs["has_prior"][:2] = True
    before = logits(model, inputs)
    with torch.no_grad():
        kept = model.no_prior.weight.clone()
        model.no_prior.weight.copy_(torch.randn_like(kept))
        after = logits(model, inputs)
        model.no_prior.weight.copy_(kept)
    assert torch.allclose(before[:2], after[:2], atol=1e-5)
    assert not torch.allclose(before[2], after[2], atol=1e-3)


def test_padding_changes_nothing(model):
    inputs = batch(model)
    padded = {
        **inputs,
        "input_ids": torch.cat([inputs["input_ids"], torch.full((3, 3), 9)], 1),
        "attention_mask": torch.cat([inputs["attention_mask"], torch.zeros(3, 3, dtype=torch.long)], 1),
    }
    assert torch.allclose(logits(model, inputs), logits(model, padded)[:, :6], atol=1e-5)


def test_the_text_sees_no_future(model):
    inputs = batch(model)
    before = logits(model, inputs)
    inputs["input_ids"][:, 4] = 5
    after = logits(model, inputs)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-5)
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-3)


@pytest.mark.parametrize("kind", ["qwen3", "qwen3 prefix"])
def test_the_prior_sees_the_current_image_only_where_attention_is_free(kind):
    """What the language model holds of the prior's places, with the current image changed."""
    model = made(kind)
    held = []
    hook = model.language_model.base_model.register_forward_hook(
        lambda module, given, outputs: held.append(outputs.last_hidden_state[:, :4])
    )
    inputs = batch(model)
    logits(model, inputs)
    logits(model, {**inputs, "current": inputs["current"] + 1})
    hook.remove()
    assert torch.allclose(held[0], held[1], atol=1e-5) == (kind == "qwen3")


def trained(model):
    """The names of the parameters that get a gradient, the encoder given pixels."""
    inputs = batch(model)
    inputs["prior"], inputs["current"] = torch.randn(3, 1, 1, 32, 32), torch.randn(3, 1, 32, 32)
    labels = torch.full((3, 6), -100)
    labels[:, 3:] = 7
    model.train()(**inputs, labels=labels).loss.backward()
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_the_encoder_is_frozen_and_the_rest_learns():
    model = made("gpt2")
    names = trained(model)
    assert not any(name.startswith("encoder.") for name in names)
    assert {"time.weight", "no_prior.weight", "projector.0.weight"} <= names
    assert not model.encoder.training


@pytest.mark.parametrize(("blocks", "learnt"), [(1, {"1"}), (2, {"0", "1"}), ("all", {"0", "1"})])
def test_the_last_blocks_of_the_encoder_learn_where_they_are_asked_to(blocks, learnt):
    torch.manual_seed(0)
    model = DifferenceModel(DifferenceConfig(VISION, LANGUAGE["gpt2"], trainable_blocks=blocks))
    names = {name.removeprefix("encoder.") for name in trained(model) if name.startswith("encoder.")}
    assert {name.split(".")[2] for name in names if name.startswith("encoder.layers.")} == learnt
    assert any(name.startswith("post_layernorm") for name in names)
    assert any(name.startswith("embeddings") for name in names) == (blocks == "all")


def test_what_stands_in_the_place_of_an_absent_prior_does_not_enter_an_encoder_that_learns():
    """Neither the loss, nor gradients, nor the running statistics of the encoder's batch normalisation."""
    outcomes = []
    for absent in (0.0, 50.0):
        torch.manual_seed(0)
        model = DifferenceModel(DifferenceConfig(HYBRID, LANGUAGE["gpt2"], trainable_blocks="all", priors=2)).train()
        inputs = batch(model)
        inputs["prior"], inputs["current"] = torch.randn(3, 2, 1, 32, 32), torch.randn(3, 1, 32, 32)
        inputs["prior"][~inputs["has_prior"]] = absent
        loss = model(**inputs, labels=inputs["input_ids"]).loss
        loss.backward()
        statistics = {name: value for name, value in model.encoder.state_dict().items() if "running" in name}
        gradients = {name: one.grad for name, one in model.encoder.named_parameters() if one.grad is not None}
        outcomes.append((loss, statistics, gradients))
    assert outcomes[0][0] == outcomes[1][0]
    for first, second in zip(outcomes[0][1:], outcomes[1][1:], strict=True):
        assert first
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("there", [True, False])
def test_all_priors_or_none_can_be_there(there):
    model = made("two priors")
    inputs = batch(model)
    inputs["has_prior"][:] = there
    prior, current = torch.randn(3, 2, 1, 32, 32), torch.randn(3, 1, 32, 32)
    features = {"prior": model.encode(prior.flatten(0, 1)).unflatten(0, (3, 2)), "current": model.encode(current)}
    of_pixels = logits(model, {**inputs, "prior": prior, "current": current})
    assert torch.allclose(of_pixels, logits(model, {**inputs, **features}), atol=1e-5)


def test_more_blocks_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="has 2 blocks, but 3"):
        DifferenceModel(DifferenceConfig(VISION, LANGUAGE["gpt2"], trainable_blocks=3))


def test_pixels_and_their_features_are_the_same_question():
    model = made("gpt2")
    inputs = batch(model)
    prior, current = torch.randn(3, 1, 1, 32, 32), torch.randn(3, 1, 32, 32)
    features = {"prior": model.encode(prior[:, 0])[:, None], "current": model.encode(current)}
    of_pixels = logits(model, {**inputs, "prior": prior, "current": current})
    assert torch.allclose(of_pixels, logits(model, {**inputs, **features}), atol=1e-5)


def test_the_loss_is_the_mean_over_answer_tokens(model):
    inputs = batch(model)
    labels = torch.full((3, 6), -100)
    labels[0, 2:5] = torch.tensor([5, 6, 2])
    labels[2, 5] = 9
    expected = torch.nn.functional.cross_entropy(logits(model, inputs).flatten(0, 1), labels.flatten())
    with torch.no_grad():
        assert torch.allclose(model(**inputs, labels=labels).loss, expected, atol=1e-5)


def test_writing_with_the_cache_equals_writing_without(model):
    """200 random prompts about random images."""
    inputs = batch(model, pairs=200)
    fast = model.write(**inputs, new_tokens=6, eos_token_id=-1).sequences
    slow = inputs["input_ids"]
    for _ in range(6):
        step = {**inputs, "input_ids": slow, "attention_mask": torch.ones_like(slow)}
        slow = torch.cat([slow, logits(model, step)[:, -1:].argmax(-1)], 1)
    assert fast.tolist() == slow[:, 6:].tolist()
    assert len({tuple(row) for row in fast.tolist()}) > 100


@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_of_eight_equals_eight_batches_of_one(model, beams):
    inputs = batch(model, pairs=8)
    how = {"new_tokens": 6, "eos_token_id": -1, "num_beams": beams}
    together = model.write(**inputs, **how).sequences.tolist()
    one_by_one = [
        model.write(**{name: value[row : row + 1] for name, value in inputs.items()}, **how).sequences.tolist()[0]
        for row in range(8)
    ]
    assert together == one_by_one


def test_beams_write_what_is_at_least_as_likely(model):
    inputs = batch(model)
    new = inputs["input_ids"].shape[1]

    def log_probability(written):
        text = torch.cat([inputs["input_ids"], written], 1)
        scores = logits(model, {**inputs, "input_ids": text, "attention_mask": torch.ones_like(text)}).log_softmax(-1)
        return scores[:, new - 1 : -1].gather(-1, written[:, :, None]).sum((1, 2))

    greedy, beams = (
        log_probability(model.write(**inputs, new_tokens=3, eos_token_id=-1, num_beams=beams).sequences)
        for beams in (1, 60)
    )
    assert (beams >= greedy - 1e-4).all()


def test_left_padding_changes_nothing_that_is_written(model):
    inputs = batch(model)
    padded = {
        **inputs,
        "input_ids": torch.cat([torch.zeros(3, 2, dtype=torch.long), inputs["input_ids"]], 1),
        "attention_mask": torch.cat([torch.zeros(3, 2, dtype=torch.long), inputs["attention_mask"]], 1),
    }
    written = [model.write(**given, new_tokens=6).sequences.tolist() for given in (inputs, padded)]
    assert written[0] == written[1]


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
    assert torch.equal(logits(model, batch(model)), logits(again, batch(model)))
