"""An embedding whose training costs by the batch, not by the table."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_multi import backend
from keras_multi.layers.feature_cross import Shape


@keras.saving.register_keras_serializable("keras_multi")
class SparseEmbedding(keras.layers.Layer):
    """Embedding that trains the rows of a batch, and touches no others.

    The gradient of `keras_multi.layers.Embedding` has the size of the table,
    and an optimizer works through all of it: with a million rows that is
    nearly all of a step. Here the rows are updated on the way back, by
    Adagrad (Duchi et al. 2011, "Adaptive subgradient methods for online
    learning and stochastic optimization", section 1.1): with the gradient g
    of a row, summed over the places where it occurs, `a += g^2` and
    `row -= learning_rate * g / sqrt(a + epsilon)`. As a row without gradient
    does not change under Adagrad, the result is that of
    `keras.optimizers.Adagrad` on the whole table.

    The model's optimizer, its clipping and its schedule do not reach this
    table, and it must not accumulate gradients over steps. Each training step
    must call the layer once (on JAX the table comes back as its own gradient,
    so that a step without it would lose it); join the ids of several lookups.

    Args:
        input_dim: number of rows.
        output_dim: width of an embedding.
        learning_rate: step size of Adagrad.
        initial_accumulator_value: where `a` starts.
        epsilon: what is added to `a`.
        embeddings_initializer: initializer of the table.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: integer tensor of any shape, in `[0, input_dim)`.
        training: whether a gradient that comes back trains the rows. On JAX
            it does unless this is False: to a layer inside of a model whose
            `call` takes `training`, Keras does not hand it on there.

    Returns:
        Float tensor of shape `(*inputs.shape, output_dim)`.

    Raises:
        ValueError: if a size, the learning rate or `epsilon` is not positive,
            or on JAX if one training step calls the layer twice.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import SparseEmbedding
        >>> SparseEmbedding(10, 4)(np.array([[1, 2, 2]])).shape
        (1, 3, 4)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        learning_rate: float = 0.05,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        embeddings_initializer: Any = "uniform",
        **kwargs: Any,
    ) -> None:
        # Half precision would round ids.
        super().__init__(autocast=False, **kwargs)
        for name, value in (
            ("input_dim", input_dim),
            ("output_dim", output_dim),
            ("learning_rate", learning_rate),
            ("epsilon", epsilon),
        ):
            if not value > 0:
                raise ValueError(
                    f"`{name}` must be positive. Received: {name}={value}"
                )
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.learning_rate = learning_rate
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer
        )

    def build(self, input_shape: Shape) -> None:
        shape = (self.input_dim, self.output_dim)
        framework = backend.framework()
        # A scalar that a gradient passes on its way to the rows, where they
        # are changed in place and are no trainable weights themselves.
        self.anchor = self.add_weight(
            shape=(), initializer="zeros", name="anchor"
        )
        replaced = framework.GRADIENTS_REPLACE
        self.embeddings = self.add_weight(
            shape=shape,
            initializer=self.embeddings_initializer,
            trainable=replaced,
            overwrite_with_gradient=replaced,
            name="embeddings",
        )
        self.accumulator = self.add_weight(
            shape=shape,
            initializer=keras.initializers.Constant(
                self.initial_accumulator_value
            ),
            trainable=replaced,
            overwrite_with_gradient=replaced,
            name="accumulator",
        )
        self._rows_that_train = framework.rows_that_train
        self._is_not_told = replaced

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        ids = ops.cast(inputs, "int32")
        if training is None:
            training = self._is_not_told
        trains = training and self.trainable
        rows = self._rows_that_train(
            self.anchor,
            (self.embeddings, self.accumulator),
            ops.reshape(ids, (-1,)),
            self._changes if trains else None,
        )
        rows = ops.reshape(rows, (*ops.shape(ids), self.output_dim))
        return ops.cast(rows, self.compute_dtype)

    def _changes(
        self, ids: Any, gradients: Any
    ) -> tuple[Any, Any, Callable[[Any], Any]]:
        """What changes, see `rows_that_train` of the backends."""
        rows, gradients = sum_by_id(ids, gradients)

        def step(accumulated: Any) -> Any:
            scale = ops.sqrt(accumulated + self.epsilon)
            return -self.learning_rate * gradients / scale

        return rows, ops.square(gradients), step

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "learning_rate": self.learning_rate,
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
        }


def sum_by_id(ids: Any, values: Any) -> tuple[Any, Any]:
    """Sums the values of equal ids, with static shapes.

    Args:
        ids: int32 `(n,)`.
        values: float `(n, d)`.

    Returns:
        Each id once, and the sums; filled up to n with id 0 and zeros.

    Example:
        >>> from keras import ops
        >>> from keras_multi.layers.sparse_embedding import sum_by_id
        >>> ids, sums = sum_by_id(
        ...     ops.array([7, 3, 7]), ops.array([[1.0], [2.0], [4.0]])
        ... )
        >>> ops.convert_to_numpy(ids).tolist()
        [3, 7, 0]
        >>> ops.convert_to_numpy(sums).tolist()
        [[2.0], [5.0], [0.0]]
    """
    order = ops.argsort(ids)
    ids = ops.take(ids, order)
    changes = ops.cast(ops.not_equal(ids[1:], ids[:-1]), "int32")
    segments = ops.concatenate([ops.zeros_like(ids[:1]), ops.cumsum(changes)])
    segments = ops.cast(segments, "int32")
    count = ops.shape(ids)[0]
    sums = ops.segment_sum(ops.take(values, order, axis=0), segments, count)
    once = ops.maximum(ops.segment_max(ids, segments, count), 0)
    return once, sums
