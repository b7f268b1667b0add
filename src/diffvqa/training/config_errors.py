"""The sizes of models as a configuration gives them: a mistake in them is the user's, and is said to the user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from diffvqa.errors import InputError


def refuse_unknown_sizes(sizes: Mapping[str, Any], kind: type[PreTrainedConfig], argument: str) -> None:
    """Raises InputError if a key of `sizes`, given as `argument`, is no setting of that kind of model.

    The library would overlook it, and the model would have another size than was asked for.
    """
    for key in sizes:
        if not hasattr(kind, key):
            raise InputError(
                f"there is no configuration key `{argument}.{key}`; the settings of a {kind.model_type} are those of "
                f"{kind.__name__}"
            )


@contextmanager
def explain_sizes(*arguments: str) -> Iterator[None]:
    """A context that makes models: an error of the library about their sizes becomes an InputError that names them."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        named = ", ".join(f"{{{argument}}}" for argument in arguments)
        raise InputError(
            f"{named}: no model can be made of these sizes: {_brief(error)}", mentions=arguments
        ) from error


@contextmanager
def explain_source(argument: str, source: str) -> Iterator[None]:
    """A context that reads the source in `argument`: any error becomes an InputError that names the argument."""
    what, instead = _SOURCES[argument]
    if source.startswith(("/", "./", "../", "~")) and not Path(source).exists():
        raise InputError(
            f"there is no folder {source!r}; give that of a {what}, a hub name, or {instead}", argument=argument
        )
    try:
        yield
    except InputError:
        raise
    # The libraries raise what they like where they find no file, no network, or files of another kind or damaged.
    except Exception as error:
        raise InputError(
            f"no {what} can be read from {source!r} ({_brief(error)}); give a local folder, a hub name, or {instead}",
            argument=argument,
        ) from error


_SOURCES = {
    "encoder": ("vision model", "the sizes of one to be made"),
    "language_model": ("causal language model with its tokenizer", "the sizes of one to be made"),
    "tokenizer": ("tokenizer", "a number: how many tokens one made from the training texts has"),
}


def _brief(error: Exception) -> str:
    """A library's message in one line; some list every model that they know."""
    return " ".join(str(error).split())[:250]
