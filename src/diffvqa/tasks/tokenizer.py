"""The tokenizer: a small byte-level one made from the training texts, or an existing one made complete."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

PAD, START, END, MASK = "<pad>", "<bos>", "<eos>", "<mask>"


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most `vocabulary` tokens, made from texts; any text survives it and back.

    Digits stay single tokens, so that the numbers of a box share what is learnt of each place.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, START, END, MASK],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=START, eos_token=END, mask_token=MASK
    )


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The facts about a tokenizer in a model's configuration: size of the vocabulary, and ids of special tokens."""
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    return {"vocab_size": len(tokenizer), **ids}


def complete(tokenizer: PreTrainedTokenizerBase, mask: bool) -> PreTrainedTokenizerBase:
    """An existing tokenizer with the padding it lacks (the end token), and on demand a mask token.

    An added mask token makes the vocabulary larger: the model's embeddings must follow.
    """
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if mask and tokenizer.mask_token is None:
        tokenizer.add_special_tokens({"mask_token": MASK})
    return tokenizer
