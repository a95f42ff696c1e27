"""A small classifier with weights that do not depend on the backend."""

import keras
import numpy as np

from vision import Classifier
from vision.backbones import ResNet

NAMES = ("cat", "dog", "fox")
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype("f4")
LABELS = np.array([0, 1, 2, 0, 1, 2])


def fill(model):
    """Sets random weights; variances are positive."""
    rng = np.random.default_rng(1)
    model.set_weights(
        [
            rng.uniform(0.1, 0.5, w.shape) - (0.3 if w.ndim > 1 else 0)
            for w in model.get_weights()
        ]
    )


def make_model(**options):
    """Makes a classifier of three classes."""
    model = Classifier(
        ResNet((1,), (4,)), 3, NAMES, **{"image_size": 8, **options}
    )
    fill(model)
    return model


def train(model, optimizer, epochs=1):
    """Trains on all images at once."""
    model.compile(
        optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(IMAGES, LABELS, batch_size=6, epochs=epochs, verbose=0)
