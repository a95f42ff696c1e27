"""The recipe of a training run: what people tune, with its defaults."""

from dataclasses import dataclass
from typing import Any

from keras_multi.backend import AUTO, PRECISIONS
from keras_multi.fields import checked, choose, require


@dataclass(frozen=True)
class Recipe:
    """Everything a training run depends on, but for the backend.

    Make it with `Recipe.of`, which checks names and types.

    Attributes:
        data: `"pydoc"` (the help texts of Python), or the path of a text file
            in UTF-8.
        preset: a GPT-2 to fine-tune (see `nlp.load`), with its tokenizer; the
            four fields that follow are its own then. `None` trains one from
            nothing.
        vocabulary_size: number of tokens; byte-pair encoding is learned from
            the training text. At least 257: each byte and the end of a text.
        num_layers: number of blocks.
        num_heads: attention heads per block; it must divide `hidden_dim`.
        hidden_dim: width of the stream.
        length: number of tokens that the model sees at a time.
        dropout: share of values set to zero in training.
        epochs: passes over the text.
        batch_size: sequences per step.
        learning_rate: highest step size of AdamW; a tenth of the steps lead
            up to it, and a cosine down to a tenth of it.
        accumulation: number of steps whose gradients are averaged for one
            update.
        gradient_checkpointing: whether the blocks keep little and compute it
            anew on the way back: slower, with less memory.
        lora_rank: with a preset, width of the thin matrices that are trained
            in place of the large ones; all weights are trained if 0.
        weight_decay: of the matrices and embeddings.
        clip: largest norm of all gradients together.
        precision: Keras dtype policy, or `"auto"` for the faster of float32
            and mixed_bfloat16: see `keras_multi.choose_precision`.
        seed: seed of the weights, the dropout and the order of the text.
    """

    data: str = "pydoc"
    preset: str | None = None
    vocabulary_size: int = 1024
    num_layers: int = 4
    num_heads: int = 4
    hidden_dim: int = 128
    length: int = 128
    dropout: float = 0.1
    epochs: int = 20
    batch_size: int = 8
    learning_rate: float = 4e-3
    accumulation: int = 1
    gradient_checkpointing: bool = False
    lora_rank: int = 0
    weight_decay: float = 0.1
    clip: float = 1.0
    precision: str = "float32"
    seed: int = 42

    def __post_init__(self) -> None:
        choose("precision", self.precision, (*PRECISIONS, AUTO))
        for name in (
            "num_layers",
            "num_heads",
            "hidden_dim",
            "length",
            "epochs",
            "batch_size",
            "accumulation",
        ):
            require(self, name, getattr(self, name) >= 1, "be at least 1")
        for name in ("learning_rate", "clip"):
            require(self, name, getattr(self, name) > 0, "be more than 0")
        require(self, "weight_decay", self.weight_decay >= 0, "not be negative")
        require(self, "dropout", 0 <= self.dropout < 1, "lie in [0, 1)")
        require(self, "seed", 0 <= self.seed < 2**32, "lie in [0, 2**32)")
        require(self, "lora_rank", self.lora_rank >= 0, "not be negative")
        possible = self.preset is not None or self.lora_rank == 0
        require(self, "lora_rank", possible, "be 0 without a preset")
        enough = self.vocabulary_size >= 257
        require(self, "vocabulary_size", enough, "be at least 257")
        require(
            self,
            "num_heads",
            self.hidden_dim % self.num_heads == 0,
            f"divide hidden_dim={self.hidden_dim}",
        )

    @classmethod
    def of(cls, **fields: Any) -> "Recipe":
        """Makes a recipe of the defaults and what differs from them.

        Raises:
            UsageError: if a name is unknown, or a value has the wrong type or
                is out of range.

        Example:
            >>> Recipe.of(epochs=3).epochs
            3
        """
        return cls(**checked(cls, fields))
