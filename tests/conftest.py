"""One tiny cohort, store, captioner and difference model, built once for all tests that need them; DICOM files."""

import io
import os
from contextlib import contextmanager

import numpy as np
import pytest
import yaml
from PIL import Image

# Names that are no folders are not looked for in the network. Before the libraries are imported, that read it then.
os.environ["HF_HUB_OFFLINE"] = "1"

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


@pytest.fixture(scope="session")
def cohort_folder(tmp_path_factory):
    from diffvqa.phantom.writing import write_cohort

    folder = tmp_path_factory.mktemp("cohort") / "cohort"
    write_cohort(folder, 12, seed=1, size=96, workers=1)
    return folder


@pytest.fixture(scope="session")
def store_folder(cohort_folder, tmp_path_factory):
    from diffvqa.data import read_sources
    from diffvqa.data.prepare import prepare

    folder = tmp_path_factory.mktemp("store") / "store"
    prepare(read_sources([f"mimic:{cohort_folder}"]), folder, 64)
    return folder


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
def captioner_folder(pretrain_settings, write_config, tmp_path_factory):
    from diffvqa.training.config import PretrainConfig, load_config
    from diffvqa.training.pretrain import pretrain

    out = tmp_path_factory.mktemp("captioner") / "captioner"
    return pretrain(load_config(PretrainConfig, write_config({**pretrain_settings, "out": str(out)}), []))


@pytest.fixture(scope="session")
def finetune_settings(store_folder, captioner_folder):
    return {**TINY_FINETUNE, "store": str(store_folder), "encoder": str(captioner_folder)}


@pytest.fixture(scope="session")
def model_folder(finetune_settings, write_config, tmp_path_factory):
    from diffvqa.training.config import FinetuneConfig, load_config
    from diffvqa.training.finetune import finetune

    out = tmp_path_factory.mktemp("model") / "model"
    return finetune(load_config(FinetuneConfig, write_config({**finetune_settings, "out": str(out)}), []))


@pytest.fixture
def stop_after(monkeypatch):
    """`with stop_after(3): pretrain(config)` lets training raise after a step, as a kill would."""
    from diffvqa.training import run

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


# An identity that must never come out.
SECRETS = ("Nobody", "Known", "ID-4711", "19871231", "ACC-0815", "St. Elsewhere")
HEADER = {
    "PatientName": "Nobody^Known",
    "PatientID": "ID-4711",
    "PatientBirthDate": "19871231",
    "AccessionNumber": "ACC-0815",
    "InstitutionName": "St. Elsewhere",
    "Modality": "DX",
    "BodyPartExamined": "CHEST",
    "ViewPosition": "PA",
    "PatientOrientation": ["L", "F"],
    "StudyDate": "20240102",
    "StudyTime": "101500",
}


@pytest.fixture(scope="session")
def secrets():
    return SECRETS


@pytest.fixture(scope="session")
def write_dicom():
    """Write uint8 pixels to a path as DICOM, with 8 or 12 bits and elements laid over HEADER.

    pixels: None for a file without any. form: plain, run lengths, jpeg 2000 or jpeg-ls.
    """
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid

    def write(path, pixels, form="plain", bits=8, **elements):
        elements = {**HEADER, **elements}
        without = pixels is None
        pixels = np.zeros((40, 40), np.uint8) if without else pixels
        stored = pixels.astype(np.uint16) * 16 if bits == 12 else pixels
        if elements.get("PhotometricInterpretation") == "MONOCHROME1":
            stored = 255 * (16 if bits == 12 else 1) - stored
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid(entropy_srcs=["test"])
        dataset.Rows, dataset.Columns = stored.shape
        dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * stored.itemsize, bits, bits - 1
        for name, value in elements.items():
            if value is not None:
                setattr(dataset, name, value)
        stored = stored.astype(stored.dtype.newbyteorder("<"))
        dataset.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
        dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
        if without:
            del dataset.PixelData
        if form == "run lengths":
            dataset.compress(RLELossless, generate_instance_uid=False)
        elif form == "jpeg 2000":
            inside = io.BytesIO()
            Image.fromarray(stored).save(inside, format="JPEG2000", no_jp2=True)
            dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
            dataset.PixelData = encapsulate([inside.getvalue()])
            dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path, enforce_file_format=True)
        if form == "jpeg-ls":
            _compress_jpeg_ls(path)
        return path

    return write


def _compress_jpeg_ls(path):
    import gdcm

    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLSLossless))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()


@pytest.fixture(scope="session")
def phantom_pixels(cohort_folder):
    """The pixels of two radiographs of one synthetic patient: prior and current."""
    folder = min(path for path in cohort_folder.rglob("mimic-cxr-jpg/**/p*/p*") if path.is_dir())
    pictures = sorted(folder.rglob("*.jpg"))[:2]
    return {
        name: np.asarray(Image.open(path).convert("L"))
        for name, path in zip(("prior", "current"), pictures, strict=True)
    }
