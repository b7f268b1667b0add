"""How often a model's input check flags, and refuses, radiographs of its own kind and pictures that are none.

python benchmarks/input_check.py MODEL STORE [--others FOLDER]

The photographs and slices come with scikit-learn, matplotlib and pydicom. FOLDER holds other radiographs (PNG, JPEG or
DICOM), of which only the shares are printed.
"""

import argparse
import datetime
import io
import json
from collections.abc import Iterator
from pathlib import Path

import matplotlib.cbook
import numpy as np
from index import device
from PIL import Image, ImageDraw
from pydicom.data import get_testdata_file
from sklearn.datasets import load_sample_images

from diffvqa.answering.answerer import Answerer
from diffvqa.data.store import Store
from diffvqa.images import UnreadableImage, read_image
from diffvqa.images.radiograph import Radiograph
from diffvqa.inference.input_check import OOD_REFUSAL, OOD_WARNING

SLICES = ("CT_small.dcm", "MR_small.dcm", "liver_1frame.dcm", "JPEG2000.dcm", "693_J2KI.dcm", "examples_jpeg2k.dcm")
CROPS, IMAGES, BATCH = 20, 500, 32


def photographs(random: np.random.Generator) -> Iterator[np.ndarray]:
    """Square pieces of three photographs."""
    pictures = [Image.fromarray(picture) for picture in load_sample_images().images]
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        pictures.append(Image.open(io.BytesIO(file.read())))
    for picture in pictures:
        grey = np.asarray(picture.convert("L"))
        for _ in range(CROPS):
            side = random.integers(min(grey.shape) // 3, min(grey.shape))
            top, left = (random.integers(0, length - side + 1) for length in grey.shape)
            yield grey[top : top + side, left : left + side]


def pages(random: np.random.Generator) -> Iterator[np.ndarray]:
    """Black letters on white, as of a scanned report."""
    for _ in range(CROPS):
        page = Image.new("L", (400, 500), 255)
        for line in range(30):
            text = "".join(chr(letter) for letter in random.integers(97, 123, 45))
            ImageDraw.Draw(page).text((20, 15 * line), text, fill=0)
        yield np.asarray(page)


def folder(path: Path) -> Iterator[np.ndarray]:
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in (".png", ".jpg", ".jpeg", ".dcm"):
            try:
                yield read_image(file)
            except UnreadableImage:
                continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--others", type=Path)
    options = parser.parse_args()
    answerer, store, random = (
        Answerer.from_pretrained(options.model),
        Store.open(options.store),
        np.random.default_rng(0),
    )
    tested = [image for image in store.images if image.split == "test"]
    chosen = [tested[index] for index in random.permutation(len(tested))[:IMAGES]]
    own = [store.pixels(store.index[image.image_id]) for image in chosen]
    kinds = {
        "test split": own,
        "test split, left and right exchanged": [square[:, ::-1] for square in own],
        "test split, on its side": [np.rot90(square) for square in own],
        "test split, upside down": [square[::-1] for square in own],
        "test split, black for white": [255 - square for square in own],
        "photographs": photographs(random),
        "slices of CT and MR": (read_image(get_testdata_file(name)) for name in SLICES),
        "pages of text": pages(random),
        "noise": (random.integers(0, 256, (300, 300), dtype=np.uint8) for _ in range(CROPS)),
        "blank": (np.full((200, 200), level, np.uint8) for level in (0, 1, 128, 255)),
    }
    if options.others:
        kinds["other radiographs"] = folder(options.others)
    found = {}
    for kind, pictures in kinds.items():
        radiographs = [Radiograph(np.ascontiguousarray(picture)) for picture in pictures]
        parts = (
            answerer.model.encode_radiographs(radiographs[start : start + BATCH])
            for start in range(0, len(radiographs), BATCH)
        )
        values = np.array([one.out_of_distribution for part in parts for one in part])
        found[kind] = {
            "n": len(values),
            "flagged": round(float((values > OOD_WARNING).mean()), 3),
            "refused": round(float((values > OOD_REFUSAL).mean()), 3),
            "median": round(float(np.median(values)), 2),
        }
        print(kind, found[kind])
    about = {"date": datetime.date.today().isoformat(), "device": device(), "model": answerer.version.version}
    print(json.dumps({"benchmark": "input_check", **about, "kinds": found}))


if __name__ == "__main__":
    main()
