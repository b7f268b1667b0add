"""The sizes of models as a configuration gives them: a mistake in them is the user's, and is said to the user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
def explain_sizes(arguments: str) -> Iterator[None]:
    """Inside it models are made: what the library says against their sizes becomes an InputError that names them."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise InputError(f"{arguments}: no model can be made of these sizes: {_brief(error)}") from error


@contextmanager
def explain_checkpoint(source: str) -> Iterator[None]:
    """Inside it a checkpoint is read: what is wrong with it becomes an InputError that names the argument `encoder`."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"`encoder`: no vision model can be read from {source!r} ({_brief(error)}); give a "
            "folder or hub name of a vision model, or the sizes of one to be made"
        ) from error


@contextmanager
def explain_language_model(source: str) -> Iterator[None]:
    """Inside it a language model is read: what is wrong with it becomes an InputError that names the argument."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"`language_model`: no causal language model with its tokenizer can be read from {source!r} "
            f"({_brief(error)}); give a local folder, a hub name, or the sizes of one to be made"
        ) from error


def _brief(error: Exception) -> str:
    """What a library says, in one line; some list every model that they know."""
    return " ".join(str(error).split())[:250]
