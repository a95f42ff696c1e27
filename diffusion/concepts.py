"""New words for a text encoder, learned from pictures.

Gal et al. 2022, "An Image is Worth One Word: Personalizing Text-to-Image
Generation using Textual Inversion", section 4.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from diffusion.clip import CLIPTextEncoder
from diffusion.denoising import Denoising
from diffusion.slots import to_numpy
from diffusion.tokenizer import CLIPTokenizer
from keras_multi.errors import DataError, UsageError
from keras_multi.presets import read_safetensors, write_safetensors

Concepts = Mapping[str, np.ndarray]  # word to its vector, float32 `(D,)`


class Inversion(Denoising):
    """Learns the vector of one word; all else stays as it is.

    Args:
        *args: of `Denoising`.
        vector: what it starts from, float32 `(D,)`. Its token id is the
            first that the text encoder does not have.
        **kwargs: arguments of `Denoising`.

    Call arguments:
        inputs: see `Denoising`.

    Returns:
        See `Denoising`.
    """

    def __init__(self, *args: Any, vector: np.ndarray, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unet.trainable = False
        self.text_encoder.trainable = False
        self.vector = self.add_weight(shape=vector.shape, name="vector")
        self.vector.assign(vector)

    def encode(self, tokens: Any) -> Any:
        """Encodes tokens, the new word among them."""
        encoder = self.text_encoder
        last = encoder.vocabulary_size - 1
        is_new = (tokens > last)[..., None]
        known = encoder.tokens(ops.minimum(tokens, last))
        new = ops.cast(ops.convert_to_tensor(self.vector), known.dtype)
        return encoder.encode(ops.where(is_new, new, known))


def read(path: str | os.PathLike[str]) -> Concepts:
    """Reads a safetensors file of vectors, as `diffusers` has them.

    Args:
        path: the file: each tensor is named as its word.

    Raises:
        DataError: if it is missing or damaged, or a word has more than one
            vector.
    """
    concepts = {}
    for word, array in read_safetensors(path).items():
        vector = array.astype("float32")
        if vector.ndim == 2 and len(vector) == 1:
            vector = vector[0]
        if vector.ndim != 1:
            raise DataError(
                f"{path}: a word must have one vector. "
                f"Received: {word} of shape {array.shape}"
            )
        concepts[word] = vector
    return concepts


def write(path: str | os.PathLike[str], concepts: Concepts) -> None:
    """Writes what `read` and diffusers read."""
    rows = {word: vector[None] for word, vector in concepts.items()}
    write_safetensors(path, rows, {"format": "pt"})


def vector_of(
    encoder: CLIPTextEncoder, tokenizer: CLIPTokenizer, word: str
) -> np.ndarray:
    """Gives the vector of a word, float32 `(D,)`.

    Raises:
        UsageError: if the tokenizer parts the word, or does not know it.
    """
    ids = tokenizer.encode(word)
    if len(ids) != 1:
        raise UsageError(
            f"the word must be one token of the preset. Received: {word!r}, "
            f"which are {len(ids)}"
        )
    vector: np.ndarray = to_numpy(encoder.tokens.embeddings)[ids[0]]
    return vector


def extended(
    encoder: CLIPTextEncoder, concepts: Concepts, first: int
) -> CLIPTextEncoder:
    """Gives a text encoder that has more words at the end of its table.

    Args:
        encoder: the text encoder.
        concepts: the words, in the order of their tokens.
        first: token of the first of them.

    Raises:
        DataError: if a vector has another width than those of the encoder,
            or the encoder another number of words than its tokenizer.
    """
    dim = encoder.hidden_dim
    if encoder.vocabulary_size != first:
        raise DataError(
            f"the tokenizer has {first} tokens and the text encoder "
            f"{encoder.vocabulary_size}: there is no place for new words"
        )
    for word, vector in concepts.items():
        if vector.shape != (dim,):
            raise DataError(
                f"the vector of {word} has the shape {vector.shape} and those "
                f"of the text encoder ({dim},)"
            )
    size = encoder.vocabulary_size + len(concepts)
    config = encoder.get_config() | {"vocabulary_size": size}
    larger = CLIPTextEncoder.from_config(config)
    larger.build()
    table, *rest = encoder.get_weights()
    rows = np.stack(list(concepts.values())).astype(table.dtype)
    larger.set_weights([np.concatenate([table, rows]), *rest])
    return larger
