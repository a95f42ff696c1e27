"""Models as users write them; tests copy this file out of the repository."""

import keras
import numpy as np
from keras import layers, ops


def cnn():
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(5, activation="softmax"),
        ]
    )
    model.compile(
        "adam", "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


class TextClassifier(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(50, 8)
        self.lstm = layers.LSTM(12)
        self.head = layers.Dense(1)

    def call(self, tokens):
        return self.head(self.lstm(self.embedding(tokens)))


def text():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 50, (40, 10))
    model = TextClassifier()
    model.compile("rmsprop", keras.losses.BinaryCrossentropy(from_logits=True))
    return model, tokens, rng.integers(0, 2, (40, 1))


class Positions(layers.Layer):
    def build(self, shape):
        self.table = self.add_weight((shape[1], shape[2]), "glorot_uniform")

    def call(self, tokens):
        return tokens + ops.cast(self.table, tokens.dtype)


def vit():
    images = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 4, strides=4)(images)
    x = layers.Reshape((16, 16))(x)
    x = Positions()(x)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, 8, dropout=0.1)(y, y)
        y = layers.LayerNormalization()(x)
        y = layers.Dense(32, activation="gelu")(y)
        x = x + layers.Dropout(0.1)(layers.Dense(16)(y))
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    model = keras.Model(images, layers.Dense(4)(layers.Dropout(0.5)(x)))
    rng = np.random.default_rng(0)
    images = rng.standard_normal((24, 16, 16, 3))
    return model, images, rng.integers(0, 4, 24)


def two_inputs():
    left, right = (
        keras.Input((6,), name="left"),
        keras.Input((3,), name="right"),
    )
    joined = layers.Concatenate()([left, right])
    return keras.Model({"left": left, "right": right}, layers.Dense(2)(joined))


def hangs():
    import time

    time.sleep(3600)


def aborts():
    import os

    os.abort()


def allocates():
    hoard = []
    while True:
        hoard.append(np.ones(2**24))
