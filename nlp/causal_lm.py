"""What all causal language models have in common."""

import os
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import keras
from keras import ops

from keras_multi.errors import UsageError

if TYPE_CHECKING:
    from nlp.generation.decoder import Decoder, Weights
    from nlp.tokenizer import Tokenizer


class CausalLM(keras.Model):
    """A decoder that predicts the next token, and can write.

    Attributes:
        vocabulary_size: number of tokens.
        max_length: number of tokens that it can look at.
        tokenizer: turns texts into tokens and back; may be `None`.
    """

    vocabulary_size: int
    max_length: int
    tokenizer: "Tokenizer | None"

    @abstractmethod
    def decoder(self) -> "tuple[Decoder, Weights]":
        """Gives the model as generation wants it, with the weights of now."""

    def compute_output_shape(self, token_ids_shape: Any, *_: Any) -> Any:
        """Gives `(batch, tokens, vocabulary_size)`."""
        return (*token_ids_shape, self.vocabulary_size)

    @classmethod
    def from_preset(cls, preset: str | os.PathLike[str], **kwargs: Any) -> Self:
        """Loads a pretrained model with its tokenizer.

        Args:
            preset: see `nlp.load`.
            **kwargs: arguments of the constructor to change, such as
                `dtype="bfloat16"`.

        Returns:
            The model.

        Raises:
            UsageError: if there is no such preset, it is a model of another
                class, or a package that it needs is not installed.
            DataError: if its files cannot be fetched, are damaged or do not
                fit together.
        """
        from nlp.weights import load

        model = load(preset, **kwargs)
        if not isinstance(model, cls):
            raise UsageError(
                f"{preset} is a {type(model).__name__}, not a {cls.__name__}; "
                "nlp.load takes both"
            )
        return model

    def generate(self, prompts: Any, **options: Any) -> Any:
        """Continues texts or token ids.

        For many calls on unchanged weights make a `Generator` once: it keeps
        the weights in the layout for generation.

        Args:
            prompts: see `Generator.generate`.
            **options: see `Generator.generate`.

        Returns:
            Prompts and continuations, of the type of the prompts.
        """
        from nlp.generation import Generator

        return Generator(self).generate(prompts, **options)

    def score(self, texts: Any) -> Any:
        """Tells how probable the model finds texts or token ids.

        Args:
            texts: see `Generator.score`.

        Returns:
            A list of `Score`, one for each text.
        """
        from nlp.generation import Generator

        return Generator(self).score(texts)


def check_sizes(**sizes: int) -> None:
    """Raises a ValueError unless all numbers are positive."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(
                f"`{name}` must be a positive integer. Received: {name}={size}"
            )


def tied_logits(x: Any, embeddings: Any) -> Any:
    """Gives the products of the stream with the embedding of each token.

    Args:
        x: `(batch, tokens, dim)`.
        embeddings: `(vocabulary, dim)`.

    Returns:
        Float32 `(batch, tokens, vocabulary)`.
    """
    table = ops.cast(embeddings, x.dtype)
    return ops.cast(ops.matmul(x, ops.transpose(table)), "float32")
