"""The DCN as Keras alone trains it, and on the layers of keras-rs."""

import keras
import numpy as np

from benchmarks.dcn import Shape, keras_model, start
from benchmarks.workload import Setting
from keras_multi.layers import Embedding


def stock(shape: Shape, setting: Setting) -> keras.Model:
    """The project's DCN with Keras's own optimizer."""
    return keras_model(shape, setting, keras.optimizers.Adam)


def keras_rs(shape: Shape, setting: Setting) -> keras.Model:
    """The same model on the cross layers of keras-rs."""
    from keras_rs.layers import FeatureCross

    policy = setting.precision
    ids = keras.Input(
        (len(shape.vocabulary_sizes),), dtype="int32", name="categorical"
    )
    dense = keras.Input((shape.num_dense,), name="dense")
    starts = np.cumsum((0, *shape.vocabulary_sizes[:-1])).astype("int32")
    embedded = Embedding(
        sum(shape.vocabulary_sizes), shape.embedding_dim, dtype=policy
    )(ids + keras.ops.convert_to_tensor(starts))
    x0 = keras.layers.Concatenate(dtype=policy)(
        [keras.layers.Flatten(dtype=policy)(embedded), dense]
    )
    x = x0
    for _ in range(shape.num_cross_layers):
        x = FeatureCross(dtype=policy)(x0, x)
    for units in shape.deep_units:
        x = keras.layers.Dense(units, "relu", dtype=policy)(x)
    output = keras.layers.Dense(1, dtype="float32")(x)
    model = keras.Model({"categorical": ids, "dense": dense}, output)
    return start(model, keras.optimizers.Adam, shape, setting)
