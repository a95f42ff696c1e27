"""Ratings of films by a network of crossed features: `recsys.DCN`."""

from typing import Any

import keras
import numpy as np
from keras import ops
from shared import SEED, Task

from keras_multi import backend
from recsys import DCN, data

EMBEDDING_DIM, CROSS_LAYERS, DEEP_UNITS = 8, 2, (64,)


def load() -> Task:
    """Loads MovieLens 100K: 80,000 rows to train on, 20,000 to measure on."""
    split = data.load("movielens-100k")
    features = data.task("movielens-100k").features().fit(split.train)

    def arrays(table: Any) -> tuple[Any, np.ndarray]:
        target = table[table.target].astype("float32")
        return features.transform(table), target[:, None]

    train, test = arrays(split.train), arrays(split.test)

    def build() -> DCN:
        backend.seed(SEED)
        model = DCN(
            features.vocabulary_sizes,
            features.num_dense,
            embedding_dim=EMBEDDING_DIM,
            num_cross_layers=CROSS_LAYERS,
            deep_units=DEEP_UNITS,
            output_bias=float(train[1].mean()),
        )
        model.build(keras.tree.map_structure(np.shape, train[0]))
        return model

    return Task(
        train,
        test,
        build,
        loss=keras.losses.MeanSquaredError(),
        make_metric=keras.metrics.RootMeanSquaredError,
        finish=lambda predicted: ops.clip(predicted, 1.0, 5.0),
        adagrad=(0.2, 0.01, 1e-7),
        epochs=18,
        batch_size=2000,
    )
