"""Two towers, the model for retrieval of candidates."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_multi.losses import SampledSoftmax
from recsys.tower import Tower

__all__ = ["Tower", "TwoTower"]


@keras.saving.register_keras_serializable("recsys")
class TwoTower(keras.Model):
    """Two towers whose product is the score of a user and an item.

    Trained with the softmax over the candidates of a batch, corrected for the
    chance of each to be in it (Yi et al. 2019, section 4): the item of row i
    is the right one for the user of row i, and the items of the other rows
    are wrong ones for it. Further negatives may come with the batch, as in
    Yang et al. 2020, section 3.2 (mixed negative sampling).

    Args:
        user_tower: layer that makes `(batch, dim)` of the features of users;
            a `Tower`, as a rule.
        item_tower: the same for items.
        temperature: positive number that divides the scores in training.
        num_hard_negatives: how many negatives of highest score to keep in
            each row; all by default.
        **kwargs: arguments of `keras.Model` (`name`, `dtype`).

    Call arguments:
        inputs: mapping with `"user"` and `"item"`, the inputs of the towers,
            row i of both belonging together. For training also, as wanted:
            `"sampling_probability"`, floats `(batch,)`, the chance in (0, 1]
            of the row's item to be a candidate; `"extra"`, a mapping with
            `"item"` (inputs of the item tower for further negatives of all
            rows), `"id"` and `"sampling_probability"`.
        training: whether dropout is active.

    The target of `fit` is the id of each row's item, integers `(batch,)`; a
    negative of the same id does not count.

    Returns:
        Mapping of `"query"` and `"candidate"`, float tensors `(batch, dim)`,
        and `"extra"`, `(extra, dim)`, if the inputs have it.

    Raises:
        ValueError: if a setting is not positive, or the inputs lack a part.

    Example:
        >>> import numpy as np
        >>> model = TwoTower(Tower((10,)), Tower((20,)))
        >>> user = {"categorical": np.array([[3], [4]])}
        >>> item = {"categorical": np.array([[9], [7]])}
        >>> model({"user": user, "item": item})["query"].shape
        (2, 32)
        >>> model.user_tower(user).shape
        (2, 32)

    References:
        - [Yi et al. 2019, Sampling-bias-corrected neural modeling for large
          corpus item recommendations](https://doi.org/10.1145/3298689.3346996)
        - [Yang et al. 2020, Mixed negative sampling for learning two-tower
          neural networks in recommendations](
          https://doi.org/10.1145/3366424.3386195)
    """

    def __init__(
        self,
        user_tower: keras.layers.Layer,
        item_tower: keras.layers.Layer,
        temperature: float = 1.0,
        num_hard_negatives: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        dims = [
            getattr(t, "output_dim", None) for t in (user_tower, item_tower)
        ]
        if None not in dims and dims[0] != dims[1]:
            raise ValueError(
                "both towers must give vectors of one width. Received: "
                f"{dims[0]} of the users, {dims[1]} of the items"
            )
        self.user_tower = user_tower
        self.item_tower = item_tower
        self.softmax = SampledSoftmax(
            temperature, num_hard_negatives, dtype="float32"
        )

    def build(self, input_shape: Any) -> None:
        """Makes the weights of both towers."""
        for side, tower in (
            ("user", self.user_tower),
            ("item", self.item_tower),
        ):
            if not tower.built:  # A loaded one is.
                tower.build(input_shape[side])

    def call(
        self, inputs: Mapping[str, Any], training: bool | None = None
    ) -> dict[str, Any]:
        """Gives the vectors of both towers; see the class."""
        for side in ("user", "item"):
            if side not in inputs:
                raise ValueError(
                    f"the inputs need 'user' and 'item'. Received: {[*inputs]}"
                )
        outputs = {
            "query": self.user_tower(inputs["user"], training=training),
            "candidate": self.item_tower(inputs["item"], training=training),
        }
        if "extra" in inputs:
            extra = inputs["extra"]["item"]
            outputs["extra"] = self.item_tower(extra, training=training)
        return outputs

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Gives the mean loss of the rows, with that of regularizers.

        Args:
            x: the inputs of `call`.
            y: ids of the items, integers `(batch,)`.
            y_pred: the outputs of `call`.
            sample_weight: floats `(batch,)` that multiply the losses.
            training: not used.
        """
        losses = self.row_losses(x, y, y_pred, sample_weight)
        return sum(self.losses, ops.mean(losses))

    def row_losses(
        self, x: Any, ids: Any, y_pred: Any, sample_weight: Any = None
    ) -> Any:
        """Gives the loss of each row, `(batch,)`.

        Args:
            x: the inputs of `call`.
            ids: ids of the items, integers `(batch,)`.
            y_pred: the outputs of `call`.
            sample_weight: floats `(batch,)` that multiply the losses.
        """
        probability = x.get("sampling_probability")
        extra = x.get("extra", {})
        if probability is not None and extra:
            probability = ops.concatenate(
                [probability, extra["sampling_probability"]], axis=0
            )
        return self.softmax(
            y_pred["query"],
            y_pred["candidate"],
            candidate_ids=ids,
            sampling_probability=probability,
            extra_candidates=y_pred.get("extra"),
            extra_ids=extra.get("id"),
            sample_weight=sample_weight,
        )

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "user_tower": serialize(self.user_tower),
            "item_tower": serialize(self.item_tower),
            "temperature": self.softmax.temperature,
            "num_hard_negatives": self.softmax.num_hard_negatives,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "TwoTower":
        """Makes the model that `get_config` has described."""
        config = dict(config)
        for name in ("user_tower", "item_tower"):
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
        return cls(**config)
