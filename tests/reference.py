"""Answers and boxes worked out a second time, as plainly as can be: what every way to an answer must agree with.

Nothing here is shared with the ways that are tested but the networks themselves and the tokenizer: pictures are read
with Pillow, laid into squares, normalised and put together by hand; texts are written token by token without a cache.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from diffvqa.boxes import Box
from diffvqa.findings import names_finding
from diffvqa.inference.box_writing import read_out
from diffvqa.inference.finding_boxes import SEED, FindingBox, _places
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder
from diffvqa.tasks.box_grammar import is_box, may_begin_box

CLOSE = 2e-3
"""The greatest difference of log probabilities that batches, threads and half precision make."""


@dataclass(frozen=True)
class Reference:
    """An answer, the mean log probability of its tokens, and the log probabilities of its first token."""

    text: str
    log_confidence: float
    first: torch.Tensor


def square(picture: Path | np.ndarray, size: int, equalised: bool = False) -> np.ndarray:
    """A file or grey pixels in a black square of that size: uint8. Equalised only where the picture fills it."""
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else Image.open(picture).convert("L")
    width, height = image.size
    scale = size / max(width, height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    if inner != image.size:
        image = image.resize(inner, Image.Resampling.BILINEAR, reducing_gap=2.0)
    laid = np.zeros((size, size), np.uint8)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    laid[top : top + inner[1], left : left + inner[0]] = np.asarray(image)
    if not equalised:
        return laid
    assert inner == (size, size), "whether black borders count is not said here"
    darker = np.array([(laid < level).sum() for level in range(257)])
    lowest = darker[int(laid.min()) + 1]
    table = np.rint((darker[1:] - lowest) * (255 / max(laid.size - lowest, 1)))
    return table.clip(0, 255).astype(np.uint8)[laid]


def tokens_of(folder: ModelFolder, grey: np.ndarray) -> torch.Tensor:
    """The patch tokens of a grey square, as a model's folder has them: (patches, width)."""
    key = folder.path, grey.tobytes()
    if key not in _tokens:
        mean, deviation = folder.processor.image_mean[0], folder.processor.image_std[0]
        pixels = (torch.from_numpy(grey.astype(np.float32)) / 255 - mean) / deviation
        with torch.no_grad():
            _tokens[key] = folder.model.encode(pixels[None, None])[0].half().float()
    return _tokens[key]


_tokens: dict[tuple[Path, bytes], torch.Tensor] = {}


def answer(
    folder: ModelFolder[DifferenceModel], current: np.ndarray, priors: list[np.ndarray], question: str
) -> Reference:
    """What the model says of squares; priors: the nearest first."""
    model, tokenizer = folder.model, folder.tokenizer
    parts = []
    # The earliest image first; the time of the current one is 1, that of the prior one 0, then 2, 3 and so on.
    for number in reversed(range(model.config.priors)):
        if number < len(priors):
            time = model.time.weight[0 if number == 0 else number + 1]
            parts.append(model.projector(tokens_of(folder, priors[number]) + time))
        else:
            parts.append(model.no_prior.weight)
    parts.append(model.projector(tokens_of(folder, current) + model.time.weight[1]))
    images = torch.cat(parts)
    written = [tokenizer.bos_token_id, *tokenizer.encode(f"{question}\n", add_special_tokens=False)]
    prompt, chances = len(written), []
    with torch.no_grad():
        while len(written) < model.config.text_tokens:
            text = model.language_model.get_input_embeddings()(torch.tensor(written))
            logits = model.language_model(inputs_embeds=torch.cat([images, text])[None]).logits[0, -1]
            chances.append(logits.double().log_softmax(-1))
            written.append(int(logits.argmax()))
            if written[-1] == tokenizer.eos_token_id:
                break
    said = [float(chance[token]) for chance, token in zip(chances, written[prompt:], strict=True)]
    text = " ".join(tokenizer.decode(written[prompt:], skip_special_tokens=True).split())
    return Reference(text, sum(said) / len(said), chances[0])


def box(folder: ModelFolder[Captioner], grey: np.ndarray, phrase: str, width: int, height: int) -> Box | None:
    """The box of a phrase that the captioner finds in a square, in pixels of the picture of that width and height."""
    head, tokenizer, bins = folder.model.head, folder.tokenizer, folder.model.config.box_bins
    seen = head.projector(tokens_of(folder, grey))[None]
    written = [tokenizer.bos_token_id]
    for part in ("ARef:", f" {phrase.rstrip('.')}", " :"):
        written += tokenizer.encode(part, add_special_tokens=False)
    pieces = _figures(tokenizer)
    text = ""
    with torch.no_grad():
        while True:
            logits = head.decoder(input_ids=torch.tensor([written]), encoder_hidden_states=seen).logits[0, -1]
            may = [token for token, piece in pieces.items() if may_begin_box(text + piece, bins)]
            may += [tokenizer.eos_token_id] if is_box(text, bins) else []
            written.append(max(may, key=lambda token: float(logits[token])))
            if written[-1] == tokenizer.eos_token_id:
                break
            text += pieces[written[-1]]
    corners = [int(number) * len(grey) / bins for number in text.split()]
    return _in_picture(corners, len(grey), width, height)


def finding_boxes(
    folder: ModelFolder[Captioner], grey: np.ndarray, finding: str, width: int, height: int, kept: str = "float32"
) -> list[tuple[Box, str]]:
    """Where the captioner reads out a finding in a square, in pixels of the picture, each box with its phrase.

    kept: the precision that the patch tokens are kept in.
    """
    read = read_out(folder, tokens_of(folder, grey).numpy().astype(kept), SEED)
    places = _places([FindingBox(box, phrase) for phrase, box in read if names_finding(phrase, finding)])
    boxes = [(_in_picture(one.box.as_tuple(), len(grey), width, height), one.phrase) for one in places]
    return [(box, phrase) for box, phrase in boxes if box]


def _in_picture(corners, size: int, width: int, height: int) -> Box | None:
    """A box in a square, in pixels of the picture that was laid into it."""
    scale = size / max(width, height)
    left, top = ((size - max(1, round(side * scale))) // 2 for side in (width, height))
    x1, y1, x2, y2 = corners
    x1, x2 = (min(max((x - left) / scale, 0), width) for x in (x1, x2))
    y1, y2 = (min(max((y - top) / scale, 0), height) for y in (y1, y2))
    return Box(x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


@functools.cache
def _figures(tokenizer) -> dict[int, str]:
    """The tokens that can go on with a box: of figures and spaces."""
    pieces = {token: tokenizer.decode([token]) for token in range(len(tokenizer))}
    return {token: piece for token, piece in pieces.items() if piece and not piece.strip(" 0123456789")}
