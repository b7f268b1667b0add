"""One tiny cohort, store, captioner and difference model, built once for all tests that need them.

`captioner_folder` and `model_folder` hold models whose answers tell what they were shown (telling_model);
`trained_captioner_folder` and `trained_model_folder` hold what a few steps of training leave.
"""

import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

# Names that are no folders are not looked for in the network. Before the libraries are imported, that read it then.
os.environ["HF_HUB_OFFLINE"] = "1"
# What the command line says to them before they are imported; here they are imported before it.
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

pytest_plugins = ["dicom_fixtures"]

MADE = "DIFFVQA_TESTS_MADE"
"""The environment variable that names a folder for what is made for all tests."""

TINY_PRETRAIN = {
    "tokenizer": 400,
    "box_bins": 100,
    "text_tokens": 64,
    "texts": {"Cap": 1, "AREF": 1, "GCAP": 1, "CAREF": 1},
    "parallel": {"Cap": 0.5},
    "augmentation": {"scale": 0.1, "shift": 0.05, "contrast": 0.1},
    "image_mean": [0.5],
    "image_std": [0.5],
    "encoder": {
        "model_type": "diffvqa_hybrid_vision",
        "stem_config": {"embedding_size": 8, "hidden_sizes": [8, 8, 16], "depths": [1, 1, 1], "layer_type": "basic"},
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "patch_size": 16,
    },
    "decoder": {"n_embd": 32, "n_layer": 1, "n_head": 2},
    "optimisation": {"steps": 6, "batch_size": 4, "learning_rate": 1e-3, "save_every": 2, "log_every": 1},
}
TINY_FINETUNE = {
    "text_tokens": 64,
    "questions": {"difference": 1.0, "presence": 0.5},
    "language_model": {"n_embd": 32, "n_layer": 1, "n_head": 2},
    "optimisation": {"steps": 6, "batch_size": 4, "learning_rate": 1e-3, "save_every": 2, "log_every": 1},
}


@pytest.fixture(autouse=True)
def without_java(request, monkeypatch):
    """Java takes seconds to start: in this process tests go without it, but for those that are marked `java`."""
    if "java" not in request.keywords:
        monkeypatch.setattr("diffvqa.evaluation.text_scores.run_java", lambda *_: None)


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """`build("store", make)` is the folder that `make(folder)` fills; where MADE names a folder, it is kept there.

    So the script of mutations makes everything once, by the code as it is.
    """

    def build(name, make):
        kept = os.environ.get(MADE)
        folder = Path(kept, name) if kept else tmp_path_factory.mktemp(name) / name
        if not folder.exists():
            make(folder)
        return folder

    return build


@pytest.fixture(scope="session")
def cohort_folder(build):
    from diffvqa.phantom.writing import write_cohort

    return build("cohort", lambda folder: write_cohort(folder, 12, seed=1, size=96, workers=1))


@pytest.fixture(scope="session")
def store_folder(cohort_folder, build):
    from diffvqa.data import read_sources
    from diffvqa.data.prepare import prepare

    return build("store", lambda folder: prepare(read_sources([f"mimic:{cohort_folder}"]), folder, 64))


@pytest.fixture(scope="session")
def write_config(tmp_path_factory):
    """Write settings to a YAML file, and give its path."""

    def write(settings):
        path = tmp_path_factory.mktemp("config") / "config.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path

    return write


@pytest.fixture(scope="session")
def pretrain_settings(store_folder):
    return {**TINY_PRETRAIN, "store": str(store_folder)}


@pytest.fixture(scope="session")
def trained_captioner_folder(pretrain_settings, write_config, build):
    from diffvqa.training.config import PretrainConfig, load_config
    from diffvqa.training.pretrain import pretrain

    def make(out):
        pretrain(load_config(PretrainConfig, write_config({**pretrain_settings, "out": str(out)}), []))

    return build("trained_captioner", make)


@pytest.fixture(scope="session")
def captioner_folder(trained_captioner_folder, store_folder, build):
    from telling_model import make_captioner_tell

    def make(out):
        make_captioner_tell(shutil.copytree(trained_captioner_folder, out), store_folder)

    return build("captioner", make)


@pytest.fixture(scope="module", autouse=True)
def few_readings():
    """A few phrases are read out of an image, where the program reads many: that would take a minute of the tests."""
    from diffvqa.inference import box_writing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(box_writing, "READINGS", 12)
        yield


@pytest.fixture(scope="module")
def letters_name_findings():
    """What the telling captioner reads out has letters, but no words: it names a finding by its first letter.

    It says nothing twice, so that whatever it says once is a place.
    """
    import reference
    from diffvqa.inference import finding_boxes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finding_boxes, "SELDOM", 0)
        for module in (finding_boxes, reference):
            patch.setattr(module, "names_finding", lambda phrase, finding: finding[0] in phrase)
        yield


@pytest.fixture(scope="session")
def finetune_settings(store_folder, captioner_folder):
    return {**TINY_FINETUNE, "store": str(store_folder), "encoder": str(captioner_folder)}


@pytest.fixture(scope="session")
def trained_model_folder(finetune_settings, write_config, build):
    from diffvqa.training.config import FinetuneConfig, load_config
    from diffvqa.training.finetune import finetune

    def make(out):
        finetune(load_config(FinetuneConfig, write_config({**finetune_settings, "out": str(out)}), []))

    return build("trained_model", make)


@pytest.fixture(scope="session")
def model_folder(trained_model_folder, store_folder, build):
    from telling_model import make_difference_model_tell

    def make(out):
        make_difference_model_tell(shutil.copytree(trained_model_folder, out), store_folder)

    return build("model", make)


@pytest.fixture(scope="session")
def model_of_two_priors_folder(finetune_settings, store_folder, write_config, build):
    """A model that tells, which takes two earlier images."""
    from diffvqa.training.config import FinetuneConfig, load_config
    from diffvqa.training.finetune import finetune
    from telling_model import make_difference_model_tell

    def make(out):
        settings = {**finetune_settings, "priors": 2, "out": str(out)}
        finetune(load_config(FinetuneConfig, write_config(settings), ["optimisation.steps=1"]))
        make_difference_model_tell(out, store_folder, seed=2)

    return build("model_of_two_priors", make)


@pytest.fixture
def stop_after(monkeypatch):
    """`with stop_after(3): pretrain(config)` lets training raise after a step, as a kill would."""
    from diffvqa.training import train as run

    class Stopped(Exception):
        pass

    @contextmanager
    def stop_after_step(step):
        step_end = run._Console.on_step_end

        def stop(self, args, state, control, **rest):
            step_end(self, args, state, control, **rest)
            if state.global_step == step:
                raise Stopped

        with monkeypatch.context() as patch:
            patch.setattr(run._Console, "on_step_end", stop)
            with pytest.raises(Stopped):
                yield

    return stop_after_step


@pytest.fixture
def run_command(capfd, monkeypatch):
    """`run_command(*arguments)`: the exit status of a command of the program, and all that it printed."""
    from diffvqa import cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["diffvqa", *map(os.fsdecode, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0, "".join(capfd.readouterr())

    return run
