"""Models whose answers tell prior from current, place and grey value: made by hand, from folders of trained ones.

Training of a few steps leaves models that answer the same to everything, so that no test sees what they were shown.
Here the tokenizer, the processor, the encoder and the records are those of training; the other weights are drawn with a
seed, large, and scaled by what the encoder makes of a store's images. What is written is well formed: sentences of the
answer grammar, lists of findings, yes and no. Which of them, and how surely, depends on every image and the question.
"""

from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken
from transformers import GPT2LMHeadModel

from diffvqa.data.store import Store
from diffvqa.findings import ABNORMALITIES_QUESTION, DIFFERENCE_QUESTION
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceConfig, DifferenceModel
from diffvqa.models.folder import load_folder
from diffvqa.sealed_folder import seal
from diffvqa.tasks.text import SEPARATOR

# What an answer is put together from, each one token: which may follow which makes the grammar.
_ADDED, _MISSING = "the main image has an additional finding of", "the main image is missing the finding of"
_LEVEL = "the level of"
_OPENINGS = (_ADDED, _MISSING, _LEVEL)
_FIRST = ("edema", "nodule", "pneumonia", "atelectasis", "pleural effusion", "consolidation")
_SECOND = ("cardiomegaly", "pneumothorax", "lung opacity", "hernia")
_LEVELS = (("mild", "severe"), ("severe", "moderate"), ("small", "massive"), ("moderate", "mild"))
_NAMES = (
    "edema",
    "nodule, pneumonia",
    "atelectasis",
    "pleural effusion, cardiomegaly",
    "lung opacity",
    "hernia, edema",
)
_KINDS = {
    "changed": (*_OPENINGS, "nothing has changed."),
    "names": tuple(f"{names}." for names in _NAMES),
    "whether": ("yes.", "no."),
    "other": ("left side.", "right side.", "bilateral.", "moderate.", "PA view.", "AP view.", "both lungs."),
}
"""The first words of an answer, by the kind of its question."""

_WIDTH, _HEADS = 256, 4
# Which numbers of a token's vector mean what.
_WORD, _CONTENT, _PLACE = slice(0, 64), slice(64, 192), slice(192, 240)
_TEXT, _IMAGE, _SAID, _KIND = 240, 241, 242, slice(244, 248)
_PARTS = 24
"""In so many independent numbers the language model sums up the images, and in half as many the question."""

_SURENESS = 0.2
"""How far apart words are: further, and one is as good as certain; nearer, and little depends on what is shown."""


def make_difference_model_tell(folder: Path, store_folder: Path, seed: int = 0) -> None:
    """Draw the weights of the difference model in a folder anew, but for the encoder's.

    The store says what images look like and what may be asked.
    """
    store = Store.open(store_folder)
    questions = sorted({one.text for one in store.questions} | {DIFFERENCE_QUESTION, ABNORMALITIES_QUESTION})
    loaded = load_folder(DifferenceModel, folder, "MODEL")
    random = torch.Generator().manual_seed(seed)
    words = _following()
    loaded.tokenizer.add_tokens([AddedToken(word, normalized=False, special=False) for word in words if word])
    ids = {word: loaded.tokenizer.convert_tokens_to_ids(word) for word in words if word}
    ids[""] = loaded.tokenizer.encode("?\n", add_special_tokens=False)[-1]
    given = loaded.model.config
    config = DifferenceConfig(
        **{
            **given.to_dict(),
            "vision_config": given.vision_config,
            "language_config": {
                **given.language_config.to_dict(),
                "n_embd": _WIDTH,
                "n_head": _HEADS,
                "n_layer": 1,
                "vocab_size": len(loaded.tokenizer),
                "tie_word_embeddings": False,
            },
        }
    )
    model = DifferenceModel(config).eval()
    model.encoder.load_state_dict(loaded.model.encoder.state_dict())
    prompts = [
        [loaded.tokenizer.bos_token_id, *loaded.tokenizer.encode(f"{text}\n", add_special_tokens=False)]
        for text in questions
    ]
    with torch.no_grad():
        tokens = model.encode(_pixels(store, loaded.processor))
        _draw_projector(model, tokens, random)
        _draw_language_model(model.language_model, ids, random)
        _sum_up(model, tokens, prompts, [_kind_of(text) for text in questions], random)
        _answer_by(model.language_model, words, ids, loaded.tokenizer.eos_token_id, random)
    model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    seal(folder)


def _pixels(store: Store, processor) -> torch.Tensor:
    grey = torch.from_numpy(np.stack([store.pixels(place) for place in range(len(store.images))])).float()[:, None]
    return (grey / 255 - processor.image_mean[0]) / processor.image_std[0]


def _kind_of(question: str) -> str:
    begins = {"what has changed": "changed", "what abnormalities": "names", "is ": "whether"}
    return next((kind for start, kind in begins.items() if question.startswith(start)), "other")


def _following() -> dict[str, tuple[str, ...]]:
    """What may follow each word; "" stands for the end of the question before an answer, and for the answer's end."""
    found = [f" {name} than the reference image." for name in _FIRST]
    levels = [
        f" {name} has changed from {before} to {after}." for name, (before, after) in zip(_FIRST, _LEVELS, strict=False)
    ]
    also = [f" {name} than the reference image." for name in _SECOND]
    also_levels = [
        f" {name} has changed from {after} to {before}."
        for name, (before, after) in zip(_SECOND, _LEVELS, strict=False)
    ]
    second = tuple(f" {opening}" for opening in _OPENINGS)
    words: dict[str, tuple[str, ...]] = {"": tuple(word for first in _KINDS.values() for word in first)}
    words |= {_ADDED: tuple(found), _MISSING: tuple(found), _LEVEL: tuple(levels)}
    words |= dict.fromkeys([*found, *levels], ("", *second))
    words |= {second[0]: tuple(also), second[1]: tuple(also), second[2]: tuple(also_levels)}
    return words | {word: ("",) for word in [*also, *also_levels, *words[""]] if word not in words}


def _standard(tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What brings patch tokens (images, patches, width) to twelve independent numbers, and their mean.

    The numbers are those in which images differ most at the same place, of equal size.
    """
    content = (tokens - tokens.mean(0)).flatten(0, 1)
    variances, directions = torch.linalg.eigh(content.T @ content / len(content))
    return directions[:, -12:] / variances[-12:].sqrt(), tokens.mean((0, 1))


def _draw_projector(model: DifferenceModel, tokens: torch.Tensor, random: torch.Generator) -> None:
    """Features that differ between images, standardised, then layers that let each time through in a way of its own."""
    standard, mean = _standard(tokens)
    first, _, second = model.projector
    merged, parts = model.config.merge**2, standard.shape[1]
    mixed = torch.randn(first.out_features, merged, parts, generator=random) / (merged * parts) ** 0.5
    first.weight.copy_((mixed @ standard.T).flatten(1))
    first.bias.copy_(-(mixed @ standard.T @ mean).sum(1))
    # As large as what differs between images, so that a time opens some of the units and closes the others.
    drawn = torch.randn(len(model.time.weight), parts, generator=random)
    model.time.weight.copy_(2 * drawn @ torch.linalg.pinv(standard))
    second.weight.zero_()
    second.weight[_CONTENT] = torch.randn(128, second.in_features, generator=random) * 2 / second.in_features**0.5
    second.bias.zero_()
    second.bias[_IMAGE] = 4
    model.no_prior.weight.zero_()
    model.no_prior.weight[:, _CONTENT] = 2 * torch.randn(128, generator=random)
    model.no_prior.weight[:, _IMAGE] = 4


def _draw_language_model(language_model: GPT2LMHeadModel, ids: dict[str, int], random: torch.Generator) -> None:
    """One block: three heads look at the images, each at other places and contents, and one at the question's words."""
    for parameter in language_model.parameters():
        parameter.zero_()
    body = language_model.transformer
    for norm in (body.h[0].ln_1, body.h[0].ln_2, body.ln_f):
        norm.weight.fill_(1)
    body.wpe.weight[:, _PLACE] = torch.randn(len(body.wpe.weight), 48, generator=random)
    body.wte.weight[:, _CONTENT] = torch.randn(len(body.wte.weight), 128, generator=random)
    body.wte.weight[:, _TEXT] = 4
    for place, word in enumerate(ids.values()):
        body.wte.weight[word] = 0
        body.wte.weight[word, place] = 6
        body.wte.weight[word, _SAID] = 4
    _, keys, values = body.h[0].attn.c_attn.weight.split(_WIDTH, dim=1)
    size = _WIDTH // _HEADS
    for head in range(_HEADS):
        # All ask the same: how high the first number of a key is.
        body.h[0].attn.c_attn.bias[head * size] = size**0.5
        key = keys[:, head * size]
        if head:
            key[_PLACE] = torch.randn(48, generator=random) * 0.12
            key[_CONTENT] = torch.randn(128, generator=random) * 0.05
        key[_TEXT if head else _IMAGE] = -10
        key[_SAID] = -10
        values[_CONTENT, head * size : (head + 1) * size] = torch.randn(128, size, generator=random) / 128**0.5


def _sum_up(
    model: DifferenceModel, tokens: torch.Tensor, prompts: list[list[int]], kinds: list[str], random: torch.Generator
) -> None:
    """Let what the heads gather become independent numbers of equal size, and the kind of the question."""
    attention = model.language_model.transformer.h[0].attn
    gathered = []
    hook = attention.c_proj.register_forward_pre_hook(lambda _, given: gathered.append(given[0][:, -1]))
    images, priors, drawn = len(tokens), model.config.priors, 400
    for before in (True, False):
        for prompt in prompts:
            there = torch.full((1, priors), before)
            _run(model, tokens[:1, None].repeat(1, priors, 1, 1), tokens[1:2], there, [prompt])
    asked = torch.cat(gathered)[:, : _WIDTH // _HEADS]
    gathered.clear()
    places = torch.randint(images, (drawn, 1 + priors), generator=random)
    there = torch.arange(priors) < torch.randint(priors + 1, (drawn, 1), generator=random)
    _run(model, tokens[places[:, 1:]], tokens[places[:, 0]], there, [prompts[0]] * drawn)
    hook.remove()
    seen = torch.cat(gathered)[:, _WIDTH // _HEADS :]
    attention.c_proj.weight.zero_()
    attention.c_proj.bias.zero_()
    start = _CONTENT.start
    for found, rows, parts in (
        (seen, slice(_WIDTH // _HEADS, None), _PARTS),
        (asked, slice(0, _WIDTH // _HEADS), _PARTS // 2),
    ):
        mean = found.mean(0)
        variances, directions = torch.linalg.eigh((found - mean).T @ (found - mean) / len(found))
        standard = directions[:, -parts:] / variances[-parts:].sqrt()
        attention.c_proj.weight[rows, start : start + parts] = standard
        attention.c_proj.bias[start : start + parts] = -mean @ standard
        start += parts
    wanted = torch.tensor([[float(kind == one) for one in _KINDS] for kind in [*kinds, *kinds]])
    inputs = torch.cat([asked, torch.ones(len(asked), 1)], dim=1)
    ridge = torch.linalg.solve(inputs.T @ inputs + 0.03 * torch.eye(inputs.shape[1]), inputs.T @ wanted)
    attention.c_proj.weight[: _WIDTH // _HEADS, _KIND] = ridge[:-1] * 4
    attention.c_proj.bias[_KIND] = ridge[-1] * 4


def _run(model: DifferenceModel, prior, current, has_prior, prompts) -> torch.Tensor:
    ids = torch.tensor(prompts)
    return model(prior, current, has_prior, ids, torch.ones_like(ids)).logits


def _answer_by(
    language_model: GPT2LMHeadModel, words: dict, ids: dict[str, int], end: int, random: torch.Generator
) -> None:
    """The next word is one that may follow; which of them, the images and the question say."""
    head = language_model.lm_head.weight
    outputs = {**ids, "": end}
    for place, word in enumerate(ids):
        for other, token in outputs.items():
            head[token, place] = 9 if other in words[word] else -9
    for kind, first in enumerate(_KINDS.values()):
        for word in first:
            head[outputs[word], _KIND.start + kind] = 5
    for word in outputs.values():
        parts = torch.randn(_PARTS + _PARTS // 2, generator=random) * _SURENESS
        head[word, _CONTENT.start : _CONTENT.start + len(parts)] = parts


def make_captioner_tell(folder: Path, store_folder: Path, seed: int = 0) -> None:
    """Draw the weights of the captioning head in a folder anew: boxes then depend on the image and on the phrase."""
    store = Store.open(store_folder)
    loaded = load_folder(Captioner, folder, "MODEL")
    random = torch.Generator().manual_seed(seed)
    tokenizer, config = loaded.tokenizer, loaded.model.config
    config.decoder_config.tie_word_embeddings = False
    model = Captioner(config).eval()
    model.encoder.load_state_dict(loaded.model.encoder.state_dict())
    decoder, projector = model.head.decoder, model.head.projector
    with torch.no_grad():
        tokens = model.encode(_pixels(store, loaded.processor))
        standard, mean = _standard(tokens)
        projector.weight.copy_(torch.randn(len(projector.weight), standard.shape[1], generator=random) @ standard.T / 2)
        projector.bias.copy_(-projector.weight @ mean)
        for name, parameter in decoder.named_parameters():
            if parameter.dim() == 2:
                embeds = any(part in name for part in ("wte", "wpe", "lm_head"))
                size = 1.0 if embeds else 2 / parameter.shape[0] ** 0.5
                parameter.copy_(torch.randn(parameter.shape, generator=random) * size)
        decoder.transformer.wte.weight.mul_(0.5)
        # A phrase is made of letters, and the longer it is, the sooner it ends.
        words = [tokenizer.decode([token]) for token in range(len(tokenizer))]
        ends = torch.tensor([word == SEPARATOR for word in words])
        letters = torch.tensor([word.isascii() and word.replace(" ", "").isalpha() for word in words])
        places = torch.arange(len(decoder.transformer.wpe.weight))
        decoder.transformer.wte.weight[:, :2] = 0
        decoder.transformer.wpe.weight[:, :2] = torch.stack([torch.full(places.shape, 6.0), places / 3 - 6], dim=1)
        for name, parameter in decoder.named_parameters():
            if name.endswith("c_proj.weight"):
                parameter[:, :2] = 0
        decoder.lm_head.weight[:, 0] = torch.where(letters | ends, 20.0, 0.0)
        decoder.lm_head.weight[:, 1] = torch.where(ends, 20.0, 0.0)
    model.save_pretrained(folder)
    seal(folder)
