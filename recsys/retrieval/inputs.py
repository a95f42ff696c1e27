"""From interactions to the inputs of the two towers."""

from dataclasses import dataclass
from typing import Any, Self

from keras_multi.data import Table
from recsys.features import Features
from recsys.retrieval.data import Split, item_features, user_features
from recsys.retrieval.history import Histories
from recsys.retrieval.recipe import RetrievalRecipe


@dataclass(frozen=True)
class Inputs:
    """What turns tables into the inputs of a model.

    Attributes:
        user: features of the user's side, fitted.
        item: features of the item's side, fitted.
        histories: the training interactions.
        windows: lengths of the windows of a history that the model sees.
        items: the corpus, one row an item.
    """

    user: Features
    item: Features
    histories: Histories
    windows: tuple[int, ...]
    items: Table

    @classmethod
    def fit(cls, recipe: RetrievalRecipe, split: Split) -> Self:
        """Fits the features of a recipe to the training rows."""
        user = user_features(recipe.features).fit(split.train)
        item = item_features(recipe.features).fit(split.train)
        return cls.of(user, item, recipe.windows, split)

    @classmethod
    def of(
        cls,
        user: Features,
        item: Features,
        windows: tuple[int, ...],
        split: Split,
    ) -> Self:
        """Joins fitted features and the histories of the training rows."""
        histories = Histories(
            split.train["user_id"],
            split.train["timestamp"],
            split.rows_of_items(split.train),
        )
        return cls(user, item, histories, windows, split.items)

    @property
    def user_bags(self) -> dict[str, int]:
        """Number of categories of each bag of the user's side."""
        windows = {_name(n): len(self.items) for n in self.windows}
        return self.user.bag_sizes | windows

    def users(self, table: Table) -> dict[str, Any]:
        """Gives the inputs of the user tower, one row an interaction.

        Only the columns of the user's side count, and the items that the user
        chose in training before the row's `timestamp`.
        """
        inputs = self.user.transform(table)
        if self.windows:
            history = self.histories.before(
                table["user_id"], table["timestamp"], max(self.windows)
            )
            windows = {_name(n): history[:, :n] for n in self.windows}
            inputs["bags"] = inputs.get("bags", {}) | windows
        return inputs

    def corpus(self) -> dict[str, Any]:
        """Gives the inputs of the item tower, one row an item."""
        return self.item.transform(self.items)


def _name(window: int) -> str:
    return f"last_{window}"
