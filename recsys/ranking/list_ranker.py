"""A model of single rows, applied to lists of rows."""

from collections.abc import Mapping
from typing import Any, Self

import keras
from keras import ops


@keras.saving.register_keras_serializable("recsys")
class ListRanker(keras.Model):
    """Scores all items of a list with one model, so that a loss sees them.

    Args:
        scorer: a model that gives one number a row, such as `recsys.DCN`.
        **kwargs: arguments of `keras.Model` (`name`, `dtype`).

    Call arguments:
        inputs: the inputs of the scorer with an axis for the list after the
            batch axis: a mapping of tensors `(batch, list, ...)`.
        training: whether dropout is active.

    Returns:
        Scores, `(batch, list)`.

    Example:
        >>> import numpy as np
        >>> from recsys import DCN, ListRanker
        >>> ranker = ListRanker(DCN(vocabulary_sizes=(10, 5), num_dense=0))
        >>> ranker({"categorical": np.ones((4, 3, 2), "int32")}).shape
        (4, 3)
    """

    def __init__(self, scorer: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scorer = scorer

    def build(self, input_shape: Mapping[str, tuple[int | None, ...]]) -> None:
        """Makes the weights of the scorer, if it has none yet."""
        if not self.scorer.built:
            self.scorer.build(
                {name: (s[0], *s[2:]) for name, s in input_shape.items()}
            )

    def call(
        self, inputs: Mapping[str, Any], training: bool | None = None
    ) -> Any:
        """Scores lists; see the class."""
        first = next(iter(inputs.values()))
        rows = {
            name: ops.reshape(part, (-1, *part.shape[2:]))  # (B * L, ...)
            for name, part in inputs.items()
            if 0 not in part.shape  # Nothing to reshape, nothing to see.
        }
        scores = self.scorer(rows, training=training)
        return ops.reshape(scores, (-1, first.shape[1]))

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        return {
            **super().get_config(),
            "scorer": keras.saving.serialize_keras_object(self.scorer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Makes the model again, its scorer included."""
        scorer = keras.saving.deserialize_keras_object(config["scorer"])
        return cls(**{**config, "scorer": scorer})
