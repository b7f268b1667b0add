"""Weight decay: of matrices, and of nothing else."""

import pytest

from diffvqa.training.config import PretrainConfig, load_config
from diffvqa.training.pretrain import pretrain
from diffvqa.training.stage_trainer import StageTrainer


@pytest.fixture
def decayed(pretrain_settings, write_config, tmp_path, monkeypatch):
    """The parameters of a run, by name, and which of them are decayed."""
    found = {}
    choose = StageTrainer.get_decay_parameter_names

    def watched(self, model):
        found["names"] = set(choose(self, model))
        found["parameters"] = dict(model.named_parameters())
        return list(found["names"])

    monkeypatch.setattr(StageTrainer, "get_decay_parameter_names", watched)
    settings = {**pretrain_settings, "out": str(tmp_path / "out"), "objective": "cap+siglip"}
    pretrain(load_config(PretrainConfig, write_config(settings), ["optimisation.steps=1"]))
    return found["parameters"], found["names"]


def test_gains_scales_and_biases_are_not_decayed(decayed):
    parameters, names = decayed
    assert {"heads.siglip.log_scale", "heads.siglip.bias"} <= parameters.keys() - names
    gains = {name for name in parameters if name.endswith("normalization.weight")}
    assert gains
    assert not gains & names
    assert all(parameters[name].dim() > 1 for name in names)


def test_matrices_embeddings_and_kernels_are_decayed(decayed):
    parameters, names = decayed
    matrices = {name for name, parameter in parameters.items() if parameter.dim() > 1}
    assert matrices == names
    assert {"heads.captioning.decoder.transformer.wte.weight", "encoder.embeddings.position_embedding.weight"} <= names
