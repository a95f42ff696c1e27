"""How much of a catalogue is recommended at all."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_multi")
class Coverage(keras.metrics.Metric):
    """Share of the catalogue that occurs in any recommendation.

    Args:
        num_items: size of the catalogue; ids lie in `[0, num_items)`.
        k: how many places of each list count; all by default.
        **kwargs: arguments of `keras.metrics.Metric`.

    Raises:
        ValueError: if `num_items` or `k` is below 1.

    Example:
        >>> import numpy as np
        >>> from keras_multi.metrics import Coverage
        >>> float(Coverage(4)(np.array([[0, 1], [1, -1]])))
        0.5
    """

    def __init__(
        self,
        num_items: int,
        k: int | None = None,
        name: str = "coverage",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if num_items < 1 or (k is not None and k < 1):
            raise ValueError(
                "`num_items` and `k` must be at least 1. "
                f"Received: num_items={num_items}, k={k}"
            )
        self.num_items = num_items
        self.k = k
        # The last place takes the padding.
        self.seen = self.add_variable((num_items + 1,), "zeros", name="seen")

    def update_state(self, ids: Any) -> None:
        """Adds recommendations.

        Args:
            ids: integer tensor `(batch, list)`, the best first; -1 is padding.
        """
        ids = ops.reshape(ops.cast(ids, "int32")[:, : self.k], (-1,))
        ids = ops.where(ids < 0, self.num_items, ids)
        ones = ops.ones_like(ids, dtype=self.seen.dtype)
        self.seen.assign(
            ops.scatter_update(self.seen.value, ids[:, None], ones)
        )

    def result(self) -> Any:
        return ops.mean(self.seen.value[:-1])

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": self.dtype,
            "num_items": self.num_items,
            "k": self.k,
        }
