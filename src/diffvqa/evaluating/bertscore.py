"""BERTScore: answers against references by the embeddings of their tokens, from weights in a local folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModel

from diffvqa.errors import InputError
from diffvqa.models.source import read_tokenizer
from diffvqa.models.weights import read_model

BATCH = 64
"""Texts that are embedded together."""


class BertScore:
    """The score of pairs of texts, by Zhang et al. 2020 (arXiv 1904.09675): F1 of greedy matching, idf off.

    folder: a text encoder with its tokenizer, as transformers saves it. layer: whose hidden states are the embeddings,
    1 to as many as there are; the last one if None. Not rescaled to a baseline.
    Raises InputError for a folder that cannot be read and for a layer that the model lacks.
    """

    def __init__(self, folder: Path, layer: int | None = None) -> None:
        if not folder.is_dir():
            raise InputError(
                "expected a folder with a text encoder's weights and tokenizer, found none", argument="bertscore"
            )
        try:
            self._tokenizer = read_tokenizer(folder, ends=False)
            self._model = read_model(AutoModel, folder, may_lack=("pooler.",)).eval()
        except Exception as error:  # damaged files make the libraries raise many kinds
            reason = " ".join(str(error).replace(str(folder), "the folder").split())[:200]
            raise InputError(
                f"the folder holds no text encoder with its tokenizer that can be read ({reason}); "
                "give one with config.json, model.safetensors and the tokenizer's files",
                argument="bertscore",
            ) from error
        layers = self._model.config.num_hidden_layers
        self._layer = layers if layer is None else layer
        if not 1 <= self._layer <= layers:
            raise InputError(
                f"expected 1 to {layers}, the layers of this model, found {layer}", argument="bertscore_layer"
            )
        # Some tokenizers have no limit of their own; the model has.
        self._max_length = min(
            self._tokenizer.model_max_length, getattr(self._model.config, "max_position_embeddings", 512)
        )

    @property
    def description(self) -> str:
        """The model and layer behind the score, for a note beside it."""
        kind, size = self._model.config.model_type, self._model.config.hidden_size
        return f"BERTScore: F1, layer {self._layer} of a {kind} model of width {size}, idf off, not rescaled."

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The score of each (answer, reference); 0 where one of them has no token."""
        texts = sorted({" ".join(text.split()) for pair in pairs for text in pair}, key=lambda text: (len(text), text))
        embedded: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            embedded.update(zip(batch, self._embed(batch), strict=True))
        return [greedy_f1(*embedded[" ".join(one.split())], *embedded[" ".join(two.split())]) for one, two in pairs]

    @torch.inference_mode()
    def _embed(self, texts: Sequence[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The unit vectors of each text's tokens, (tokens, width), and which of them are words, (tokens,)."""
        encoded = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._max_length, return_tensors="pt",
            return_special_tokens_mask=True,
        )  # fmt: skip
        special = encoded.pop("special_tokens_mask").bool()
        states = self._model(**encoded, output_hidden_states=True).hidden_states[self._layer]
        states = torch.nn.functional.normalize(states, dim=-1)
        masks = encoded["attention_mask"].bool()
        return [(one[mask], ~marks[mask]) for one, mask, marks in zip(states, masks, special, strict=True)]


def greedy_f1(one: torch.Tensor, words_one: torch.Tensor, two: torch.Tensor, words_two: torch.Tensor) -> float:
    """F1 of two texts: each word's best cosine with any token of the other, averaged over the words of either.

    one, two: unit vectors (tokens, width). words_one, words_two: False for the marks of begin and end, which may be
    matched but are not averaged over.
    """
    if not (words_one.any() and words_two.any()):
        return 0.0
    cosines = one @ two.T
    precision = cosines.max(dim=1).values[words_one].mean()
    recall = cosines.max(dim=0).values[words_two].mean()
    total = precision + recall
    return float(2 * precision * recall / total) if total > 0 else 0.0
