"""An application with an answerer that says what it is told to, and files to send."""

import io
import threading
from dataclasses import replace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from diffvqa.answering.answer import Answer, FoundBox, ModelVersion
from diffvqa.boxes import Box
from diffvqa.findings import Change
from diffvqa.serving.app import create_app

MODEL = ModelVersion("model", "0123456789ab", "0.1.0")
ANSWER = Answer(
    question="what has changed compared to the reference image?",
    text="the main image has an additional finding of edema than the reference image.",
    reason=None,
    changes=(
        Change("cardiomegaly", "level", "mild", "severe"),
        Change("edema", "added"),
        Change("nodule", "missing"),
    ),
    confidence=0.75,
    calibrated=False,
    findings={"current": ("edema", "cardiomegaly"), "prior": ("nodule",)},
    findings_reason=None,
    boxes=(
        FoundBox("current", "edema", Box(20, 10, 60, 50)),
        FoundBox("current", "cardiomegaly", Box(40, 50, 90, 90)),
        FoundBox("prior", "nodule", Box(10, 20, 30, 40)),
    ),
    boxes_reason=None,
    out_of_distribution=None,
    warnings=("current and prior: a warning",),
    model=MODEL,
)


class Told:
    """An answerer that keeps what it was asked. answer: what it says, or raises; go_on: what it waits for."""

    version = MODEL

    def __init__(self):
        self.answer, self.asked, self.go_on = ANSWER, [], threading.Event()
        self.go_on.set()

    def __call__(self, **asked):
        self.asked.append(asked)
        assert self.go_on.wait(60)
        if isinstance(self.answer, Exception):
            raise self.answer
        return replace(self.answer, question=asked["question"] or self.answer.question)


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def client(told):
    with TestClient(create_app(told), base_url="http://127.0.0.1:8000") as client:
        yield client


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def to_png():
    return png


@pytest.fixture(scope="session")
def files():
    """Two pictures that differ, as files: {prior, current}."""
    random = np.random.default_rng(0)
    return {name: png(random.integers(0, 256, (100, 120), dtype=np.uint8)) for name in ("prior", "current")}
