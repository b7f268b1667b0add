"""The configurations at the papers' sizes train: two steps, of fewer layers, on small pictures blown up."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, Qwen3Config, Qwen3ForCausalLM

from diffvqa.training.config import FinetuneConfig, PretrainConfig, load_config
from diffvqa.training.finetune import finetune
from diffvqa.training.pretrain import pretrain

CONFIGS = Path(__file__).parents[2] / "configs"
SHORT = [
    "optimisation.epochs=null",
    "optimisation.steps=2",
    "optimisation.batch_size=2",
    "optimisation.loader_workers=0",
]
SIZES = {"paper": 224, "vitl384": 384}


def language_model(name, vocabulary):
    """One layer of the language model that the configuration names, with its width and its positions."""
    known = {"vocab_size": vocabulary, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if name == "paper":
        return GPT2LMHeadModel(GPT2Config(n_embd=1024, n_layer=1, n_head=16, **known))
    sizes = {"hidden_size": 1024, "num_hidden_layers": 1, "intermediate_size": 3072, "head_dim": 128}
    return Qwen3ForCausalLM(Qwen3Config(num_attention_heads=16, num_key_value_heads=8, **sizes, **known))


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_both_stages_take_two_steps(name, cohort_folder, tmp_path, monkeypatch):
    from diffvqa.data import read_sources
    from diffvqa.data.prepare import prepare
    from diffvqa.training import finetune as stage_2
    from diffvqa.training import pretrain as stage_1

    monkeypatch.setattr(stage_1, "VALIDATION_IMAGES", 2)
    monkeypatch.setattr(stage_2, "VALIDATION_QUESTIONS", 2)
    prepare(read_sources([f"mimic:{cohort_folder}"]), tmp_path / "store", SIZES[name])
    folders = [f"store={tmp_path / 'store'}", *SHORT]
    fewer = ["encoder.num_hidden_layers=1", "decoder.n_layer=1", "tokenizer=400", f"out={tmp_path / 'captioner'}"]
    captioner = pretrain(load_config(PretrainConfig, CONFIGS / name / "pretrain.yaml", [*folders, *fewer]))
    tokenizer = AutoTokenizer.from_pretrained(captioner)
    torch.manual_seed(0)
    for part in (language_model(name, len(tokenizer)), tokenizer):
        part.save_pretrained(tmp_path / "language")
    given = [f"encoder={captioner}", f"language_model={tmp_path / 'language'}", f"out={tmp_path / 'model'}"]
    model = finetune(load_config(FinetuneConfig, CONFIGS / name / "finetune.yaml", [*folders, *given]))
    for out in (captioner, model):
        record = json.loads((out / "run.json").read_text())
        assert record["finished"]
        assert sum(record["parameters"].values()) > 1e7
