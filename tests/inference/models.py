"""Models that cover what can be merged, and what cannot."""

import keras
import numpy as np
from keras import layers, ops

RNG = np.random.default_rng(0)


def away_from_start(model):
    """Gives normalizations moments and factors that are not 0 and 1."""
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights(
                [RNG.uniform(0.5, 2.0, w.shape) for w in layer.get_weights()]
            )
    return model


def pictures():
    """Functional: products of all kinds, some read twice."""
    inputs = keras.Input((6, 5, 4))
    x = layers.Conv2D(8, 3, 2, "same", use_bias=False)(inputs)
    x = layers.BatchNormalization(name="after_conv")(x)
    x = layers.ReLU()(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.BatchNormalization(name="after_depthwise")(x)
    x = layers.Activation("relu6")(x)
    twice = layers.Conv2D(8, 1)(x)
    x = layers.BatchNormalization(name="read_twice")(twice)
    x = layers.Add()([x, twice])
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Dense(6)(x)
    x = layers.BatchNormalization(name="after_dense", scale=False)(x)
    outputs = layers.Dense(3, "softmax")(x)
    return away_from_start(keras.Model(inputs, outputs))


class Block(layers.Layer):
    """A layer of a user, with a product of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.convolution = layers.Conv2D(3, 3, padding="same")
        self.norm = layers.BatchNormalization(name="inside")

    def build(self, input_shape):
        self.convolution.build(input_shape)
        self.norm.build((*input_shape[:-1], 3))
        self.matrix = self.add_weight(shape=(3, 3), name="matrix")

    def call(self, x, training=None):
        x = ops.relu(self.norm(self.convolution(x), training=training))
        return ops.matmul(x, self.matrix) + 1.0


class Nested(keras.Model):
    """A subclassed model with dictionaries as inputs and outputs."""

    def __init__(self):
        super().__init__()
        self.block = Block()
        self.head = keras.Sequential([layers.Flatten(), layers.Dense(2)])

    def call(self, inputs, training=None):
        x = self.block(inputs["picture"], training=training)
        y = self.head(x) + inputs["shift"]
        return {"logits": y, "largest": ops.argmax(y, axis=-1)}


def nested():
    model = Nested()
    model({"picture": np.ones((1, 4, 4, 2)), "shift": np.ones((1, 2))})
    return away_from_start(model)


NESTED_INPUTS = {
    "picture": RNG.standard_normal((3, 4, 4, 2)).astype("float32"),
    "shift": RNG.standard_normal((3, 2)).astype("float32"),
}


class Stubborn(layers.Layer):
    """A layer that cannot be called with symbols."""

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, x):
        if isinstance(x, keras.KerasTensor):
            raise TypeError("no tensor")
        return 2 * x


class OverBatch(layers.Layer):
    """A layer that mixes the rows of a batch."""

    def call(self, x):
        return x - ops.mean(x, axis=0, keepdims=True)


class Chance(layers.Layer):
    """A layer that draws also outside of training."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.normal((3,), seed=self.seed)


class FirstDecides(layers.Layer):
    """A layer that does one of two things, by a value."""

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, x):
        if isinstance(x, keras.KerasTensor):
            return x
        return x if ops.convert_to_numpy(x)[0, 0] > 0 else 2 * x
