"""DICOM files made of given pixels, with an identity that must never come out."""

import io

import gdcm
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid

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
