"""The captioner: what each position may see, parallel prediction, generation with a cache, folders."""

import pytest
import torch

from diffvqa.models.captioner import Captioner, CaptionerConfig
from diffvqa.models.encoder import build_encoder, vision_config
from diffvqa.tasks.collate import pack_texts
from diffvqa.tasks.text import Text

START, END, MASK, PADDING = 1, 2, 3, 0


class Numbers:
    """A tokenizer of texts that are their own token ids."""

    pad_token_id, bos_token_id, eos_token_id, mask_token_id = PADDING, START, END, MASK

    def encode(self, text, add_special_tokens):
        return [int(number) for number in text.split()]


def tiny_captioner() -> Captioner:
    torch.manual_seed(0)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
        "num_channels": 1,
    }
    decoder = {
        "n_embd": 24,
        "n_layer": 2,
        "n_head": 2,
        "vocab_size": 60,
        "n_positions": 64,
        "bos_token_id": START,
        "eos_token_id": END,
        "pad_token_id": PADDING,
        # Larger than usual, so that an untrained model still tells its inputs apart.
        "initializer_range": 0.3,
    }
    return Captioner(CaptionerConfig(vision, decoder, text_tokens=16)).eval()


@pytest.fixture(scope="module")
def captioner():
    return tiny_captioner()


def batch(images=3, length=7):
    """One text of `length` tokens for each image."""
    generator = torch.Generator().manual_seed(1)
    return {
        "pixel_values": torch.randn(images, 1, 32, 32, generator=generator),
        "input_ids": torch.randint(4, 60, (images, length), generator=generator),
        "position_ids": torch.arange(length).repeat(images, 1),
        "text_index": torch.zeros(images, length, dtype=torch.long),
        "parallel": torch.zeros(images, length, dtype=torch.bool),
    }


def logits(captioner, inputs):
    with torch.no_grad():
        return captioner(**inputs).logits


def loss(captioner, inputs, labels, **more):
    texts = {name: value for name, value in inputs.items() if name != "pixel_values"}
    with torch.no_grad():
        return captioner.head(captioner.encode(inputs["pixel_values"]), labels=labels, **texts, **more).loss


def test_a_causal_text_sees_no_future(captioner):
    inputs = batch()
    before = logits(captioner, inputs)
    inputs["input_ids"][:, 5] = 7
    after = logits(captioner, inputs)
    assert torch.allclose(before[:, :5], after[:, :5], atol=1e-5)
    assert not torch.allclose(before[:, 5:], after[:, 5:], atol=1e-3)


def test_a_parallel_text_sees_both_ways(captioner):
    inputs = batch()
    inputs["parallel"][:] = True
    before = logits(captioner, inputs)
    inputs["input_ids"][:, 5] = 7
    assert not torch.allclose(before[:, :5], logits(captioner, inputs)[:, :5], atol=1e-3)


def test_parallel_prediction_sees_no_text(captioner):
    """Two targets of different lengths and words, the same prefix: the same logits at their masks."""
    image = batch(images=1)["pixel_values"]
    found = []
    for target in ("20 21", "30 31 32 33"):
        packed = pack_texts([[Text(("10",), (target,), parallel=True)]], Numbers(), maximum=8)
        del packed["labels"], packed["weights"]
        found.append(logits(captioner, {"pixel_values": image, **packed}))
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("parallel", [False, True])
def test_texts_packed_into_one_row_do_not_see_each_other(captioner, parallel):
    inputs = batch(images=1)
    inputs["parallel"][:] = parallel
    alone = logits(captioner, inputs)
    other = batch(images=1, length=5)
    packed = {name: torch.cat([other[name], inputs[name]], 1) for name in inputs if name != "pixel_values"}
    packed["text_index"][:, 5:] = 1
    together = logits(captioner, {"pixel_values": inputs["pixel_values"], **packed})
    assert torch.allclose(alone, together[:, 5:], atol=1e-5)
    packed["text_index"][:, 5:] = 0
    assert not torch.allclose(alone, logits(captioner, {**inputs, **packed})[:, 5:], atol=1e-3)


def test_padding_changes_nothing(captioner):
    inputs = batch()
    fill = {"input_ids": 9, "position_ids": 0, "text_index": -1, "parallel": 0}
    padded = {
        name: torch.cat([inputs[name], torch.full((3, 4), value).to(inputs[name].dtype)], 1)
        for name, value in fill.items()
    }
    padded = {**inputs, **padded}
    assert torch.allclose(logits(captioner, inputs), logits(captioner, padded)[:, :7], atol=1e-5)


def test_a_text_looks_at_its_own_image(captioner):
    inputs = batch()
    before = logits(captioner, inputs)
    inputs["pixel_values"][2] += 1.0
    after = logits(captioner, inputs)
    assert torch.allclose(before[:2], after[:2], atol=1e-5)
    assert not torch.allclose(before[2], after[2], atol=1e-3)


def test_the_loss_is_the_mean_over_target_tokens_of_both_kinds(captioner):
    inputs = batch()
    inputs["parallel"][2] = True
    labels = torch.full((3, 7), -100)
    labels[0, 3:6] = torch.tensor([5, 6, END])
    labels[2, 2:4] = torch.tensor([8, END])
    expected = torch.nn.functional.cross_entropy(logits(captioner, inputs).flatten(0, 1), labels.flatten())
    assert torch.allclose(loss(captioner, inputs, labels), expected, atol=1e-5)
    halved = loss(captioner, inputs, labels, targets=10)
    weighed = loss(captioner, inputs, labels, weights=torch.full((3, 7), 3.0))
    assert torch.allclose(halved, expected / 2, atol=1e-5)
    assert torch.allclose(weighed, expected * 3, atol=1e-5)


def test_a_batch_without_a_text_has_no_loss(captioner):
    inputs = batch()
    inputs["text_index"][:] = -1
    assert loss(captioner, inputs, torch.full((3, 7), -100)) == 0


def test_writing_with_the_cache_equals_writing_without(captioner):
    """200 random prompts about random images."""
    inputs = batch(images=200)
    prompts = inputs["input_ids"][:, :3]
    tokens = captioner.encode(inputs["pixel_values"])
    fast = captioner.write(tokens, prompts, torch.ones_like(prompts), 8, eos_token_id=-1).sequences
    slow = prompts
    for _ in range(8):
        step = {**batch(images=200, length=slow.shape[1]), "pixel_values": inputs["pixel_values"], "input_ids": slow}
        slow = torch.cat([slow, logits(captioner, step)[:, -1:].argmax(-1)], 1)
    assert fast.tolist() == slow[:, 3:].tolist()


def test_a_batch_of_eight_equals_eight_batches_of_one(captioner):
    inputs = batch(images=8)
    tokens, prompts = captioner.encode(inputs["pixel_values"]), inputs["input_ids"][:, :3]
    together = captioner.write(tokens, prompts, torch.ones_like(prompts), 8, eos_token_id=-1).sequences.tolist()
    one_by_one = [
        captioner.write(tokens[[row]], prompts[[row]], torch.ones(1, 3), 8, eos_token_id=-1).sequences.tolist()[0]
        for row in range(8)
    ]
    assert together == one_by_one


def test_left_padding_changes_nothing_that_is_written(captioner):
    inputs = batch()
    tokens = captioner.encode(inputs["pixel_values"])
    prompts = inputs["input_ids"][:, :3]
    plain = captioner.write(tokens, prompts, torch.ones_like(prompts), 6).sequences
    padded = torch.cat([torch.full((3, 2), PADDING), prompts], 1)
    mask = torch.tensor([[0, 0, 1, 1, 1]] * 3)
    assert captioner.write(tokens, padded, mask, 6).sequences.tolist() == plain.tolist()


def test_a_folder_gives_the_same_model_back(captioner, tmp_path):
    captioner.save_pretrained(tmp_path)
    again = Captioner.from_pretrained(tmp_path).eval()
    assert torch.equal(logits(captioner, batch()), logits(again, batch()))
    assert again.config.box_bins == captioner.config.box_bins


def test_sine_positions_tell_every_patch_from_every_other(captioner):
    from diffvqa.models.encoder import set_sine_positions

    encoder = tiny_captioner().encoder
    set_sine_positions(encoder)
    positions = encoder.embeddings.position_embedding.weight
    assert positions.abs().max() <= 1
    assert torch.pdist(positions).min() > 0.5


def test_a_configuration_made_of_an_encoder_s_leaves_that_encoder_as_it_is():
    encoder = build_encoder(vision_config({"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}))
    attention = encoder.config._attn_implementation
    assert attention == "sdpa"
    CaptionerConfig(encoder.config)
    assert encoder.config._attn_implementation == attention
