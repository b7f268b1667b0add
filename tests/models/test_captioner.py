"""The captioner: what each position may see, parallel prediction, generation with a cache, folders."""

import pytest
import torch

from diffvqa.models.captioner import Captioner, CaptionerConfig

START, END, MASK, PADDING = 1, 2, 3, 0


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


def batch(texts=3, length=7, images=2):
    generator = torch.Generator().manual_seed(1)
    return {
        "pixel_values": torch.randn(images, 1, 32, 32, generator=generator),
        "input_ids": torch.randint(4, 60, (texts, length), generator=generator),
        "attention_mask": torch.ones(texts, length, dtype=torch.long),
        "image_index": torch.tensor([0, 0, 1])[:texts],
        "parallel": torch.zeros(texts, dtype=torch.bool),
    }


def test_a_causal_text_sees_no_future(captioner):
    inputs = batch()
    with torch.no_grad():
        before = captioner(**inputs).logits
        inputs["input_ids"][:, 5] = 7
        after = captioner(**inputs).logits
    assert torch.allclose(before[:, :5], after[:, :5], atol=1e-5)
    assert not torch.allclose(before[:, 5:], after[:, 5:], atol=1e-3)


def test_a_parallel_text_sees_both_ways(captioner):
    inputs = batch()
    inputs["parallel"][:] = True
    with torch.no_grad():
        before = captioner(**inputs).logits
        inputs["input_ids"][:, 5] = 7
        after = captioner(**inputs).logits
    assert not torch.allclose(before[:, :5], after[:, :5], atol=1e-3)


def test_padding_changes_nothing(captioner):
    inputs = batch()
    inputs["parallel"][1] = True
    padded = {**inputs}
    padded["input_ids"] = torch.cat([inputs["input_ids"], torch.full((3, 4), 9)], 1)
    padded["attention_mask"] = torch.cat([inputs["attention_mask"], torch.zeros(3, 4, dtype=torch.long)], 1)
    # One text keeps the padding of the others in its part of the batch.
    padded["attention_mask"][2, 7:9] = 1
    with torch.no_grad():
        assert torch.allclose(captioner(**inputs).logits[:2], captioner(**padded).logits[:2, :7], atol=1e-5)


def test_a_text_looks_at_its_own_image(captioner):
    inputs = batch()
    with torch.no_grad():
        before = captioner(**inputs).logits
        inputs["pixel_values"][1] += 1.0
        after = captioner(**inputs).logits
    assert torch.allclose(before[:2], after[:2], atol=1e-5)
    assert not torch.allclose(before[2], after[2], atol=1e-3)


def test_the_loss_is_the_mean_over_target_tokens_of_both_kinds(captioner):
    inputs = batch()
    inputs["parallel"][2] = True
    labels = torch.full((3, 7), -100)
    labels[0, 3:6] = torch.tensor([5, 6, END])
    labels[2, 2:4] = torch.tensor([8, END])
    with torch.no_grad():
        logits = captioner(**inputs).logits
        expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        assert torch.allclose(captioner(**inputs, labels=labels).loss, expected, atol=1e-5)
        halved = captioner(**inputs, labels=labels, num_items_in_batch=10).loss
        assert torch.allclose(halved, expected / 2, atol=1e-5)


def test_writing_with_the_cache_equals_writing_without(captioner):
    inputs = batch()
    prompts = inputs["input_ids"][:, :3]
    with torch.no_grad():
        tokens = captioner.encode(inputs["pixel_values"])[inputs["image_index"]]
        fast = captioner.write(tokens, prompts, torch.ones_like(prompts), 8, eos_token_id=-1)
        slow = prompts
        for _ in range(8):
            step = {**inputs, "input_ids": slow, "attention_mask": torch.ones_like(slow)}
            slow = torch.cat([slow, captioner(**step).logits[:, -1:].argmax(-1)], 1)
    assert fast.tolist() == slow[:, 3:].tolist()


def test_left_padding_changes_nothing_that_is_written(captioner):
    inputs = batch()
    with torch.no_grad():
        tokens = captioner.encode(inputs["pixel_values"])[inputs["image_index"]]
        prompts = inputs["input_ids"][:, :3]
        plain = captioner.write(tokens, prompts, torch.ones_like(prompts), 6)
        padded = torch.cat([torch.full((3, 2), PADDING), prompts], 1)
        mask = torch.tensor([[0, 0, 1, 1, 1]] * 3)
        assert captioner.write(tokens, padded, mask, 6).tolist() == plain.tolist()


def test_a_folder_gives_the_same_model_back(captioner, tmp_path):
    captioner.save_pretrained(tmp_path)
    again = Captioner.from_pretrained(tmp_path).eval()
    inputs = batch()
    with torch.no_grad():
        assert torch.equal(captioner(**inputs).logits, again(**inputs).logits)
    assert again.config.box_bins == captioner.config.box_bins
