"""Low-rank adaptation: fine-tuning few weights of a large model."""

from collections.abc import Iterator

import keras

from nlp.gpt2 import GPT2


def add(model: GPT2, rank: int) -> None:
    """Freezes a model but for low-rank changes of the matrices of its blocks.

    Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models",
    section 4.1: to each matrix the product of two thin ones is added, the
    second of which starts at zero. Keras keeps them (`Dense.enable_lora`).

    Args:
        model: the model. It can be trained, but not saved as a preset, until
            `merged` gives it back as a plain one.
        rank: width of the thin matrices, at least 1.
    """
    model.build()
    for variable in model.trainable_variables:
        variable.trainable = False
    for dense in _matrices(model):
        dense.enable_lora(rank)


def merged(model: GPT2) -> GPT2:
    """Gives a plain model that computes the same as an adapted one.

    Args:
        model: what `add` has changed.
    """
    plain = GPT2.from_config(model.get_config())
    plain.tokenizer = model.tokenizer
    plain.build()
    for ours, theirs in zip(_matrices(plain), _matrices(model), strict=True):
        ours.kernel.assign(theirs.kernel)
        ours.bias.assign(theirs.bias)
    for ours, theirs in zip(_others(plain), _others(model), strict=True):
        ours.set_weights(theirs.get_weights())
    return plain


def _matrices(model: GPT2) -> Iterator[keras.layers.Dense]:
    for block in model.blocks:
        yield block.attention.qkv
        yield block.attention.output_dense
        yield block.expand
        yield block.contract


def _others(model: GPT2) -> Iterator[keras.layers.Layer]:
    yield from (model.tokens, model.positions, model.norm)
    for block in model.blocks:
        yield from (block.attention_norm, block.mlp_norm)
