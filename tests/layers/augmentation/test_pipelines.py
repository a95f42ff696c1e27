"""Augmentation in the data pipeline of each framework."""

import numpy as np

from keras_multi import backend, layers
from tests.layers.augmentation.case import photographs

COUNT, BATCH, CLASSES = 10, 4, 3


def augment():
    """Bytes to floats, and numbers to shares of classes."""
    return layers.Pipeline(
        [
            layers.RandomFlip(),
            layers.CutMixOrMixUp(num_classes=CLASSES),
            layers.Normalize(),
        ],
        seed=1,
    )


def tensorflow_batches(images, labels):
    import tensorflow as tf

    layer = augment()
    rows = {"images": images, "labels": labels}
    data = tf.data.Dataset.from_tensor_slices(rows).batch(BATCH)
    return data.map(lambda batch: layer(batch, training=True))


def torch_batches(images, labels):
    import torch

    layer = augment()

    def collate(rows):
        some, classes = zip(*rows, strict=True)
        batch = {"images": torch.stack(some), "labels": torch.stack(classes)}
        return layer(batch, training=True)

    data = torch.utils.data.TensorDataset(
        torch.from_numpy(images), torch.from_numpy(labels)
    )
    return torch.utils.data.DataLoader(data, BATCH, collate_fn=collate)


def jax_batches(images, labels):
    import grain

    layer = augment()
    rows = [
        {"images": image, "labels": label}
        for image, label in zip(images, labels, strict=True)
    ]
    data = grain.MapDataset.source(rows).batch(BATCH)
    return data.map(lambda batch: layer(batch, training=True))


def test_works_in_the_data_pipeline_of_the_framework():
    make = {
        "tensorflow": tensorflow_batches,
        "torch": torch_batches,
        "jax": jax_batches,
    }[backend.name()]
    labels = np.arange(COUNT) % CLASSES
    batches = list(make(photographs(COUNT), labels))
    sizes = [len(batch["images"]) for batch in batches]
    assert sizes == [BATCH, BATCH, COUNT % BATCH]
    for batch in batches:
        images, shares = (
            np.asarray(batch[key]) for key in ("images", "labels")
        )
        assert images.dtype == np.float32
        assert -4 < images.min() < images.max() < 4
        assert shares.shape == (len(images), CLASSES)
        np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
