"""Damaged files, questions and model folders: an answer or one line with the reason, always, and soon."""

import json
import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

import diffvqa.answering
from diffvqa.sealed_folder import RECORD, seal
from fuzz.mutations import QUESTIONS, damage, damage_json, png_of_any_size

pytestmark = pytest.mark.slow

FILES, PNGS, ASKED, FOLDERS = 250, 30, 20, 40
HANG = 5
"""Seconds after which an input counts as one that hangs; it is tried once more, as a busy machine may stand still."""

SCHEMA = json.loads((Path(diffvqa.answering.__file__).parent / "answer.schema.json").read_text())


class Process:
    """A process that answers one line with one line; started again after a crash or a hang."""

    def __init__(self, model, log):
        self.command = [sys.executable, str(Path(__file__).with_name("answer_one.py")), str(model)]
        self.log, self.process = log, None

    def start(self):
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, args=(self.process.stdout, self.lines), daemon=True).start()
        assert self.lines.get(timeout=120) == "ready"

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.put(line.strip())
        lines.put("CRASH the process has ended")

    def ask(self, asked):
        said = self._ask_once(asked)
        return self._ask_once(asked) if said.startswith("HANG") else said

    def _ask_once(self, asked):
        if self.process is None or self.process.poll() is not None:
            self.start()
        self.process.stdin.write(json.dumps({name: str(value) for name, value in asked.items()}) + "\n")
        self.process.stdin.flush()
        try:
            return self.lines.get(timeout=HANG)
        except queue.Empty:
            self.stop()
            return f"HANG no answer in {HANG} s"

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def process(model_folder, tmp_path):
    process = Process(model_folder, tmp_path / "stderr.log")
    yield process
    process.stop()


@pytest.fixture
def sound_files(write_dicom, phantom_pixels, tmp_path):
    """Files without fault in every form."""
    pixels = phantom_pixels["current"]
    files = [
        write_dicom(tmp_path / f"sound {form} {bits}.dcm", pixels, form=form, bits=bits)
        for form in ("plain", "run lengths", "jpeg 2000", "jpeg-ls")
        for bits in (8, 12)
    ]
    for name, picture in (("sound.png", pixels), ("sound.jpg", pixels), ("deep.png", pixels.astype(np.uint16) * 200)):
        Image.fromarray(picture).save(tmp_path / name)
        files.append(tmp_path / name)
    return files


@pytest.fixture
def prior(phantom_pixels, tmp_path):
    path = tmp_path / "prior.png"
    Image.fromarray(phantom_pixels["prior"]).save(path)
    return path


def fair(said, secrets):
    """Whether what was said is an answer by the schema, or one line with a reason, without a word of the header."""
    assert said.startswith(("answer ", "refused ", "loaded")), said
    assert not any(secret in said for secret in secrets)
    assert len(said) < 100_000
    if said.startswith("answer "):
        jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(said.removeprefix("answer ")))
    return said.split()[0]


def test_damaged_files_and_questions(process, sound_files, prior, secrets, tmp_path):
    counts = {"answer": 0, "refused": 0}
    for seed in range(FILES):
        sound = sound_files[seed % len(sound_files)]
        path = tmp_path / f"damaged{sound.suffix if seed % 3 else ''}"
        path.write_bytes(damage(sound.read_bytes(), seed))
        said = process.ask({"current": path, "prior": prior} if seed % 2 else {"current": prior, "prior": path})
        counts[fair(said, (*secrets, str(tmp_path)))] += 1
    for seed in range(PNGS):
        path = tmp_path / "announced.png"
        path.write_bytes(png_of_any_size(seed))
        counts[fair(process.ask({"current": path}), secrets)] += 1
    for number in range(ASKED):
        asked = {"current": sound_files[-1], "question": QUESTIONS[number % len(QUESTIONS)]}
        counts[fair(process.ask(asked), secrets)] += 1
    # Else the damage was too small, or too great, to try anything.
    assert min(counts.values()) > 20
    printed = (tmp_path / "stderr.log").read_text()
    assert not any(secret in printed for secret in secrets)


def test_damaged_model_folders(process, model_folder, tmp_path):
    texts = [
        path.relative_to(model_folder)
        for path in sorted(model_folder.rglob("*.json"))
        if path.name != "tokenizer.json" and "checkpoints" not in path.parts
    ]
    counts = {"loaded": 0, "refused": 0}
    for seed in range(FOLDERS):
        folder = tmp_path / f"model {seed}"
        shutil.copytree(model_folder, folder, copy_function=shutil.copyfile)
        path = folder / texts[seed % len(texts)]
        path.write_text(damage_json(path.read_text(), seed))
        if path.name != RECORD:  # else the digests tell of every damage
            seal(folder)
        counts[fair(process.ask({"model": folder}), (str(tmp_path),))] += 1
        shutil.rmtree(folder)
    assert min(counts.values()) > 3
