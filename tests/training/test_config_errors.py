"""Mistaken sizes of models are said to the user before anything is made."""

import pytest

from diffvqa.errors import InputError
from diffvqa.training.config import FinetuneConfig, PretrainConfig, load_config
from diffvqa.training.finetune import finetune
from diffvqa.training.pretrain import pretrain


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("encoder.hiden_size=3", "no configuration key `encoder.hiden_size`"),
        ("encoder.stem_config.dept=3", "no configuration key `encoder.stem_config.dept`"),
        ("decoder.n_hed=3", "no configuration key `decoder.n_hed`"),
        ("encoder.patch_size=8", "encoder, decoder: .*patches of 16 pixels, but patch_size is 8"),
        ("encoder={patch_size: 14}", "encoder.patch_size: 14 does not divide the store's 64 pixels: .* not see 8 at"),
        ("encoder={image_size: 32}", "encoder.image_size: 32, but the store holds 64-pixel images"),
        ("encoder.hidden_size=wide", "encoder, decoder: .*expected int"),
        ("decoder.n_head=7", "encoder, decoder: .*not a multiple"),
        ("encoder.model_type=resnet", "no encoder of model_type 'resnet'; there are siglip_vision_model, diffvqa"),
    ],
)
def test_the_sizes_of_stage_1(pretrain_settings, write_config, tmp_path, override, words):
    out = tmp_path / "out"
    config = load_config(PretrainConfig, write_config({**pretrain_settings, "out": str(out)}), [override])
    with pytest.raises(InputError, match=words):
        pretrain(config)
    assert not out.exists()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("language_model.n_hed=3", "no configuration key `language_model.n_hed`"),
        ("language_model.n_head=7", "language_model, merge, trainable_blocks: .*divisible"),
        ("language_model.model_type=gpt22", "language_model, merge, trainable_blocks: .*gpt22"),
        ("language_model.n_positions=80", "has 80 positions, but .* take 96; merge patches .merge=2 or merge=4."),
        ("language_model.n_positions=40", "has 40 positions, but .* take 96; give a model with more"),
        ("merge=3", "language_model, merge, trainable_blocks: .*patches, found 3"),
    ],
)
def test_the_sizes_of_stage_2(finetune_settings, write_config, tmp_path, override, words):
    out = tmp_path / "out"
    config = load_config(FinetuneConfig, write_config({**finetune_settings, "out": str(out)}), [override])
    with pytest.raises(InputError, match=words):
        finetune(config)
    assert not out.exists()
