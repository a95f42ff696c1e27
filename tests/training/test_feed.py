"""What feeds a model gives its batches, anew in each epoch."""

import keras
import numpy as np

from keras_multi.training import Batches, feed


def test_trains_as_the_data_set_does():
    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=(22, 3)).astype("float32"), "b": np.arange(22)}
    y = rng.normal(size=(22, 1)).astype("float32")

    def trained(make):
        keras.utils.set_random_seed(0)
        inputs = {
            "a": keras.Input((3,), name="a"),
            "b": keras.Input((), dtype="int32", name="b"),
        }
        table = keras.layers.Embedding(22, 2)(inputs["b"])
        joined = keras.layers.Concatenate()([inputs["a"], table])
        model = keras.Model(inputs, keras.layers.Dense(1)(joined))
        model.compile("sgd", "mse")
        batches = Batches((x, y, np.linspace(1, 2, 22)), 8, seed=1)

        def start(epoch, logs):
            batches.start_epoch(epoch)

        history = model.fit(
            make(batches),
            epochs=3,
            shuffle=False,
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=start)],
        )
        return history.history["loss"]

    np.testing.assert_allclose(
        trained(feed), trained(lambda batches: batches), rtol=1e-6
    )
