"""Answers written with the keys and values kept, without, and as the published code does.

    python benchmarks/generation.py            the laptop's size: configs/tiny
    python benchmarks/generation.py paper      the paper's widths, of fewer layers

Cached: both images are encoded once, and go through the language model once. Uncached: encoded once, but the language
model reads images and text anew for every token. Published: both encoders and the language model anew for every token.
All three write the same tokens. Ends with one JSON line: tokens a second (median of the repeats), ratios, geometry.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import torch

from diffvqa.models.difference import DifferenceConfig, DifferenceModel

SIZES = {
    "tiny": {
        "vision": {
            "model_type": "diffvqa_hybrid_vision",
            "stem_config": {
                "embedding_size": 32, "hidden_sizes": [48, 96, 192], "depths": [1, 1, 2], "layer_type": "basic",
            },
            "hidden_size": 192, "intermediate_size": 384, "num_hidden_layers": 1, "num_attention_heads": 4,
            "image_size": 128, "patch_size": 16, "num_channels": 1,
        },
        "language": {"n_embd": 128, "n_layer": 2, "n_head": 4, "vocab_size": 700},
        "merge": 2, "questions": 8, "tokens": 40, "repeats": 5,
    },
    "paper": {
        "vision": {
            "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 3, "num_attention_heads": 16,
            "image_size": 224, "patch_size": 14,
        },
        "language": {"n_embd": 1024, "n_layer": 3, "n_head": 16, "vocab_size": 50_257},
        "merge": 1, "questions": 2, "tokens": 24, "repeats": 3,
    },
}  # fmt: skip
PROMPT = 12


def cached(model: DifferenceModel, pixels: dict, text: dict, tokens: int) -> torch.Tensor:
    """Answer with the cache, as `diffvqa answer` does."""
    features = {"prior": model.encode(pixels["prior"])[:, None], "current": model.encode(pixels["current"])}
    return model.write(**features, **text, new_tokens=tokens, eos_token_id=-1).sequences


def uncached(model: DifferenceModel, pixels: dict, text: dict, tokens: int, encode_anew: bool) -> torch.Tensor:
    """The whole sequence through the language model for every token; the images through the encoder too, or once."""
    ids = text["input_ids"]
    features: dict = {}
    for _ in range(tokens):
        if encode_anew or not features:
            features = {"prior": model.encode(pixels["prior"])[:, None], "current": model.encode(pixels["current"])}
        step = {"has_prior": text["has_prior"], "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        ids = torch.cat([ids, model(**features, **step).logits[:, -1:].argmax(-1)], dim=1)
    return ids[:, PROMPT:]


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "tiny"
    size = SIZES[name]
    language = {"n_positions": 1024, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **size["language"]}
    torch.manual_seed(0)
    # Larger weights than usual, so that an untrained model has something to say.
    config = DifferenceConfig(size["vision"], {**language, "initializer_range": 0.1}, merge=size["merge"])
    model = DifferenceModel(config).eval()
    questions, tokens = size["questions"], size["tokens"]
    shape = (questions, config.vision_config.num_channels, *[config.vision_config.image_size] * 2)
    pixels = {"prior": torch.randn(shape), "current": torch.randn(shape)}
    ids = torch.randint(4, size["language"]["vocab_size"], (questions, PROMPT))
    text = {
        "has_prior": torch.ones(questions, 1, dtype=torch.bool),
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
    }
    ways = {
        "cached": lambda: cached(model, pixels, text, tokens),
        "uncached": lambda: uncached(model, pixels, text, tokens, encode_anew=False),
        "published": lambda: uncached(model, pixels, text, tokens, encode_anew=True),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    written = {}
    with torch.inference_mode():
        for repeat in range(size["repeats"] + 1):
            for way, write in ways.items():
                start = time.perf_counter()
                written[way] = write()
                if repeat:  # the first run warms up
                    times[way].append(time.perf_counter() - start)
    rates = {way: questions * tokens / statistics.median(found) for way, found in times.items()}
    result = {
        "benchmark": "generation",
        "geometry": {
            "config": name,
            "questions": questions,
            "prompt_tokens": PROMPT,
            "new_tokens": tokens,
            "image_tokens": 2
            * (config.vision_config.image_size // config.vision_config.patch_size // size["merge"]) ** 2,
            "encoder_layers": config.vision_config.num_hidden_layers,
            "encoder_width": config.vision_config.hidden_size,
            "language_layers": size["language"]["n_layer"],
            "language_width": size["language"]["n_embd"],
        },
        "device": f"CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "same_tokens": all(torch.equal(written["cached"], other) for other in written.values()),
        **{f"tokens_a_second_{way}": round(rate, 2) for way, rate in rates.items()},
        "ratio_to_uncached": round(rates["cached"] / rates["uncached"], 2),
        "ratio_to_published": round(rates["cached"] / rates["published"], 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
