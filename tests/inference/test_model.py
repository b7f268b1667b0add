"""A finetuned model: which tokens answer, and which the captioner sees."""

import json
import shutil

import numpy as np
import pytest

import reference
from diffvqa.data.store import Store
from diffvqa.images.intensities import AS_STORED
from diffvqa.images.radiograph import Radiograph
from diffvqa.inference.model import FinetunedModel
from diffvqa.sealed_folder import seal


def test_a_captioner_of_other_grey_values_is_shown_its_own(model_folder, store_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    settings = folder / "captioner" / "preprocessor_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "intensity": AS_STORED}))
    seal(folder)
    model = FinetunedModel.load(folder)
    grey = (20 + Store.open(store_folder).pixels(2) * 0.4).astype(np.uint8)
    (found,) = model.encode_radiographs([Radiograph(grey)])
    of_model, of_captioner = (
        reference.tokens_of(part, reference.square(grey, 64, equalised)).numpy()
        for part, equalised in ((model.difference, True), (model.captioner, False))
    )
    assert found.tokens == pytest.approx(of_model, abs=2e-2)
    assert found.captioner_tokens == pytest.approx(of_captioner, abs=2e-2)
    assert np.abs(of_model - of_captioner).max() > 0.1
