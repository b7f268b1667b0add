"""Checks of a model's folder or hub files before the libraries read them; its code is never run.

The content of a folder is data: its code is not run, nothing is unpickled, and nothing outside is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase, SiglipImageProcessorPil

from diffvqa.parsing import parse_json

LARGEST_TEXT = 2**28
"""Bytes of a text file; the largest tokenizers have a tenth of that."""

DEEPEST = 50
"""How deep lists and mappings may lie in one another in a configuration."""

SLACK, TIMES = 2**25, 4
"""A model has so many numbers more than its checkpoint at the most: what it computes itself, or holds twice."""

_TEXTS = (".json", ".jsonl", ".txt", ".model", ".jinja")
_CONFIGURATIONS = ("config.json", "*_config.json", "special_tokens_map.json", "added_tokens.json")
_INDEX = "*.index.json"
_ADAPTER = "adapter_config.json"
_REFUSED_KEYS = {
    "transformers_weights": "names other weights than those of the folder",
    "init_inputs": "hands over what no configuration needs",
    "quantization_config": "has quantised weights, which are not read",
}
_ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal", "experts_implementation")
_CODE = "it needs code of its own (auto_map), which is never run; give a model of a kind that transformers has"


def require_harmless(folder: Path) -> None:
    """Raises ValueError, naming the file, where the libraries would read more than what is meant to lie in a folder.

    These are links out of it (except in the hub's cache), special files, texts too large or nested too deeply, weights
    that are no safetensors, adapters, which name another model, and configurations that name files.
    """
    inside = _root(folder)
    for path in sorted(folder.iterdir()):
        name = repr(path.name)
        if not path.resolve().is_relative_to(inside):
            raise ValueError(f"{name} is a link that leads out of the folder; put the file itself there")
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode):
            raise ValueError(f"{name} is no plain file")
        if path.suffix in _TEXTS and path.stat().st_size > LARGEST_TEXT:
            raise ValueError(f"{name} is larger than {LARGEST_TEXT // 2**20} MB, too large for what it is")
        if path.name == _ADAPTER:
            raise ValueError(f"{name} has another model read; merge the adapter into its model first")
        if path.match(_INDEX):
            _check_index(name, _read_json(path, name))
        elif any(path.match(pattern) for pattern in _CONFIGURATIONS):
            _check_configuration(name, _read_json(path, name))


def read_config(source: str | Path) -> PreTrainedConfig:
    """The configuration of the model in a folder or of a hub name. Raises ValueError, OSError where there is none."""
    with _looked_at(source) as local:
        return AutoConfig.from_pretrained(source, trust_remote_code=False, local_files_only=local)


def read_tokenizer(source: str | Path, ends: bool = True) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or a hub name; ends: it must have a token that ends a text.

    Raises ValueError if it has no words, or no such token, OSError if there is none.
    """
    with _looked_at(source) as local:
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, local_files_only=local)
        except (OSError, ValueError, ImportError):
            raise
        except Exception as error:  # of a damaged file the library raises plain Exceptions, and of others any kind
            raise ValueError(f"its tokenizer's files are damaged ({error})") from error
    # The library makes an empty tokenizer for a folder that has a model but no tokenizer's files.
    words = tokenizer.encode("nothing has changed", add_special_tokens=False)
    if not words or set(words) == {tokenizer.unk_token_id} or (ends and tokenizer.eos_token_id is None):
        raise ValueError("its tokenizer has no words, or no end token; are its files missing?")
    return tokenizer


def read_processor(source: str | Path) -> SiglipImageProcessorPil:
    """The image processor of a folder. Raises OSError where there is none, ValueError for one of no use."""
    with _looked_at(source) as local:
        processor = SiglipImageProcessorPil.from_pretrained(source, trust_remote_code=False, local_files_only=local)
    _statistics(processor.image_mean, processor.image_std)
    return processor


def read_processor_settings(source: str | Path) -> dict[str, Any]:
    """The settings of a checkpoint's pixels, above all `image_mean` and `image_std`.

    Raises ValueError where it does not say these, OSError where there is no preprocessor_config.json.
    """
    with _looked_at(source) as local:
        settings, _ = SiglipImageProcessorPil.get_image_processor_dict(source, local_files_only=local)
    if not (settings.get("image_mean") and settings.get("image_std")):
        raise ValueError("the checkpoint's preprocessor_config.json has no image_mean and image_std")
    _statistics(settings["image_mean"], settings["image_std"])
    return settings


@contextmanager
def reading_weights(source: str | Path) -> Iterator[bool]:
    """A context for reading a model, which says whether it lies in a folder. Raises ValueError as `require_harmless`
    does.

    It also refuses a configuration of many more weights than the checkpoint has, because the library would make the
    missing ones first, however large.
    """
    with _looked_at(source) as local:
        if not local:
            yield local
            return
        most = SLACK + TIMES * sum(path.stat().st_size for path in Path(source).glob("*.safetensors"))
        made = 0

        def count(module: torch.nn.Module, name: str, values: torch.Tensor | None) -> None:
            nonlocal made
            # Weights that are read are left out: models are first made without memory.
            if values is not None and values.is_meta:
                made += values.numel()
                if made > most:
                    raise ValueError("its config.json tells of many more weights than the checkpoint has")

        hooks = [
            register_module_parameter_registration_hook(count),
            register_module_buffer_registration_hook(count),
        ]
        try:
            yield local
        finally:
            for hook in hooks:
                hook.remove()


@contextmanager
def _looked_at(source: str | Path) -> Iterator[bool]:
    """Whether a source is a folder, which is looked at first; what the library says of code is said in our words."""
    local = os.path.isdir(source)
    if local:
        require_harmless(Path(source))
    try:
        yield local
    except ValueError as error:
        if "trust_remote_code" in str(error):
            raise ValueError(_CODE) from error
        raise
    except RecursionError as error:
        raise ValueError("its configuration is nested too deeply") from error


def _root(folder: Path) -> Path:
    """The folder that links may lead into: itself, or all that the hub's cache keeps of a model."""
    folder = folder.resolve()
    for parent in folder.parents:
        if parent.name == "snapshots" and parent.parent.name.startswith("models--"):
            return parent.parent
    return folder


def _read_json(path: Path, name: str) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{name} is no JSON") from error


def _check_index(name: str, found: Any) -> None:
    shards = found.get("weight_map") if isinstance(found, dict) else None
    files = set(map(str, shards.values())) if isinstance(shards, dict) else {""}
    if not all(file.endswith(".safetensors") and Path(file).name == file for file in files):
        raise ValueError(f"{name} names weights that are no safetensors of this folder")


def _check_configuration(name: str, found: Any) -> None:
    level, depth = [found], 0
    while level:
        if (depth := depth + 1) > DEEPEST:
            raise ValueError(f"{name} is nested too deeply")
        below: list[Any] = []
        for one in level:
            if isinstance(one, list):
                below += one
            elif isinstance(one, dict):
                below += one.values()
                for key in one.keys() & _REFUSED_KEYS.keys():
                    if one[key]:
                        raise ValueError(f"{name} {_REFUSED_KEYS[key]} ({key})")
                if any("/" in str(one.get(key) or "") for key in _ATTENTION):
                    raise ValueError(f"{name} asks for code of the hub (attn_implementation), which is never run")
        level = below


def _statistics(mean: Any, deviation: Any) -> None:
    """Raises ValueError for a mean and a deviation that no pixel can be normalised by."""
    try:
        values = torch.tensor([list(mean), list(deviation)], dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            "preprocessor_config.json: image_mean and image_std are no lists of as many numbers"
        ) from error
    if not values.isfinite().all() or (values[1] <= 0).any():
        raise ValueError("preprocessor_config.json: image_mean and image_std are no numbers to normalise by")
