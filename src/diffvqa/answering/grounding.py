"""Phrases to boxes by a captioner, on images that are encoded already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffvqa.answering.inference import Progress, batches, token_log_probabilities
from diffvqa.boxes import Box, intersection_over_union
from diffvqa.errors import InputError
from diffvqa.models.captioner import Captioner
from diffvqa.models.folder import ModelFolder, load_folder
from diffvqa.tasks.box_grammar import box_grammar
from diffvqa.tasks.box_text import Notation
from diffvqa.tasks.collate import collate_prompts
from diffvqa.tasks.text import encode_prompt, phrase_and_box

SAME_BOX = 0.5
"""Two boxes with at least this intersection over union are one box, written twice."""

WRITTEN_A_BOX = 8
"""Texts that are written for each of several boxes: beams and samples often differ in a figure only."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A box of several, in pixels of the model's square, and its share: of the samples, or of the probability."""

    box: Box
    share: float


def load_captioner(model: Path) -> tuple[ModelFolder[Captioner] | None, str | None]:
    """The captioner in a finetuned model's folder; None, with the reason, where there is none that writes boxes.

    Raises InputError if it is damaged.
    """
    if not (model / "captioner").is_dir():
        return None, "the model folder holds no captioner"
    captioner = load_folder(Captioner, model / "captioner", "MODEL/captioner")
    if "AREF" not in captioner.model.config.tasks:
        return None, f"the captioner has learnt no boxes of phrases, only {', '.join(captioner.model.config.tasks)}"
    return captioner, None


def notation_of(folder: ModelFolder[Captioner]) -> Notation:
    """How a captioner writes boxes."""
    config = folder.model.config
    return Notation(config.box_bins, config.location_tokens, config.region_box_first)


def write_boxes(
    folder: ModelFolder[Captioner],
    prompts: Sequence[tuple[str, tuple[str, ...]]],
    features: Mapping[str, np.ndarray],
    progress: Progress | None = None,
) -> list[tuple[str, Box | None]]:
    """For each (image identifier, prompt) the text that the captioner goes on with, and the box in it.

    The box is in pixels of the model's square; decoding is constrained so that it is always well formed. Raises
    InputError if a prompt is longer than the texts that the captioner was trained on.
    """
    found: list[tuple[str, Box | None]] = []
    for part in batches(prompts):
        written = _write_constrained(folder, part, features)
        for text in _texts(folder, written.sequences):
            found.append((" ".join(text.split()), _box_in(folder, text)))
        if progress:
            progress(len(found), len(prompts))
    return found


def propose_boxes(
    folder: ModelFolder[Captioner],
    prompt: tuple[str, ...],
    features: np.ndarray,
    count: int,
    sampled: bool = False,
    seed: int = 0,
) -> list[Proposal]:
    """Up to `count` different boxes for a prompt about an image, the likeliest first: by beam search, or sampled.

    Boxes that overlap by SAME_BOX are one, with the shares of all. One box that is not sampled is the greedy one, as
    `write_boxes` gives it. features: (patches, width). Raises InputError as `write_boxes` does.
    """
    if sampled:
        texts, shares = _sample(folder, prompt, features, WRITTEN_A_BOX * count, seed)
    elif count == 1:
        texts, shares = _write_greedily(folder, prompt, features)
    else:
        texts, shares = _search_beams(folder, prompt, features, WRITTEN_A_BOX * count)
    boxes = [_box_in(folder, text) for text in texts]
    proposals = [Proposal(box, share) for box, share in zip(boxes, shares, strict=True) if box is not None]
    return _different(proposals)[:count]


def _write_greedily(
    folder: ModelFolder[Captioner], prompt: tuple[str, ...], features: np.ndarray
) -> tuple[list[str], list[float]]:
    """The greedy text, and its probability."""
    written = _write_constrained(folder, [("image", prompt)], {"image": features}, output_logits=True)
    shares = [float(row.sum().exp()) for row in token_log_probabilities(written, folder.tokenizer)]
    return _texts(folder, written.sequences), shares


def _search_beams(
    folder: ModelFolder[Captioner], prompt: tuple[str, ...], features: np.ndarray, beams: int
) -> tuple[list[str], list[float]]:
    """The texts of all beams, and their probabilities."""
    written = _write_constrained(
        folder,
        [("image", prompt)],
        {"image": features},
        num_beams=beams,
        num_return_sequences=beams,
        # Scores are then sums of log probabilities, not means.
        length_penalty=0.0,
        output_scores=True,
    )
    return _texts(folder, written.sequences), written.sequences_scores.exp().tolist()


def _sample(
    folder: ModelFolder[Captioner], prompt: tuple[str, ...], features: np.ndarray, samples: int, seed: int
) -> tuple[list[str], list[float]]:
    """Sampled texts, each with an equal share."""
    devices = [folder.model.device] if folder.model.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        prompts = [("image", prompt)] * samples
        written = _write_constrained(folder, prompts, {"image": features}, do_sample=True, top_k=0)
    return _texts(folder, written.sequences), [1 / samples] * samples


def _different(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Without those that are a likelier one over again, whose share they are added to."""
    exact: dict[Box, float] = {}
    for proposal in proposals:
        exact[proposal.box] = exact.get(proposal.box, 0.0) + proposal.share
    kept: dict[Box, float] = {}
    for box, share in sorted(exact.items(), key=lambda item: -item[1]):
        same = next((other for other in kept if intersection_over_union(box, other) >= SAME_BOX), box)
        kept[same] = kept.get(same, 0.0) + share
    return [Proposal(box, share) for box, share in sorted(kept.items(), key=lambda item: -item[1])]


def _write_constrained(
    folder: ModelFolder[Captioner],
    prompts: Sequence[tuple[str, tuple[str, ...]]],
    features: Mapping[str, np.ndarray],
    **how: Any,
) -> Any:
    """What `generate` returns for (image identifier, prompt), its sequences new tokens only."""
    config, tokenizer = folder.model.config, folder.tokenizer
    encoded = [encode_prompt(tokenizer, prompt) for _, prompt in prompts]
    longest = max(len(prompt) for prompt in encoded)
    if longest > config.text_tokens:
        raise InputError(f"a phrase of {longest} tokens is too long: the model takes {config.text_tokens}")
    grammar = box_grammar(tokenizer, notation_of(folder))
    with torch.inference_mode():
        return folder.model.write(
            torch.from_numpy(np.stack([features[image] for image, _ in prompts]).astype(np.float32)),
            **collate_prompts(encoded, tokenizer.pad_token_id),
            new_tokens=config.text_tokens,
            prefix_allowed_tokens_fn=grammar.constraint([prompt for _, prompt in prompts], longest, config.text_tokens),
            **how,
        )


def _texts(folder: ModelFolder[Captioner], sequences: torch.Tensor) -> list[str]:
    return [folder.tokenizer.decode(row, skip_special_tokens=True) for row in sequences.tolist()]


def _box_in(folder: ModelFolder[Captioner], text: str) -> Box | None:
    size = folder.model.config.vision_config.image_size
    return phrase_and_box(text, size, notation_of(folder))[1]
