"""What the table of `docs/native/README.md` says, and each cell's test uses.

A row of the first table is a shared layer, a column a transformation of
functions. A layer has at least one case in `LAYERS` or `MORE_LAYERS`; a case
that a transformation cannot take is one of `LIMITS`, with what happens instead.
The second table is of the layers that augment a batch.
"""

import numpy as np

from keras_multi import layers
from keras_multi.layers.augmentation.base import Augmentation
from tests.portability.cases import IDS, LAYERS

IMAGES = np.random.default_rng(3).uniform(0, 255, (4, 5, 6, 3)).astype("f4")
WORDS = np.random.default_rng(4).standard_normal((3, 5, 8)).astype("f4")
MORE_LAYERS = {
    "sparse_embedding": (lambda: layers.SparseEmbedding(7, 4), [IDS]),
    "normalize": (layers.Normalize, [IMAGES]),
    "group_normalization": (lambda: layers.GroupNormalization(2), [WORDS]),
    "layer_normalization": (layers.LayerNormalization, [WORDS]),
    "self_attention": (lambda: layers.SelfAttention(2), [WORDS]),
}
CASES = {**LAYERS, **MORE_LAYERS}

# The backend of each column.
COLUMNS = {
    "jax.grad": "jax",
    "jax.vmap": "jax",
    "torch.func.grad": "torch",
    "torch.func.vmap": "torch",
    "torch.export": "torch",
    "tf.vectorized_map": "tensorflow",
}
LIMITS = {
    ("SparseEmbedding", "jax.grad"): "no: its table trains itself",
    ("SparseEmbedding", "torch.func.grad"): "no: its table trains itself",
}


def table() -> str:
    """The table in Markdown."""
    lines = ["| layer | " + " | ".join(f"`{name}`" for name in COLUMNS) + " |"]
    lines.append("|---" * (1 + len(COLUMNS)) + "|")
    for layer in sorted(layer_of(name) for name in CASES):
        cells = (LIMITS.get((layer, column), "yes") for column in COLUMNS)
        line = f"| `{layer}` | {' | '.join(cells)} |"
        if line not in lines:
            lines.append(line)
    return "\n".join(lines)


def shared_layers() -> list[str]:
    """The names of the layers in `keras_multi.layers`."""
    return [n for n in layers.__all__ if isinstance(getattr(layers, n), type)]


def augmentations() -> list[str]:
    """The names of those that draw at random for a batch."""
    drawing = (Augmentation, layers.Pipeline)
    return [
        n for n in shared_layers() if issubclass(getattr(layers, n), drawing)
    ]


def table_of_augmentations() -> str:
    """The second table."""
    columns = ("`jax.jit`", "`torch.compile`", "`tf.function`")
    lines = ["| layer | " + " | ".join(columns) + " |", "|---" * 4 + "|"]
    lines += [f"| `{n}` | " + "yes | " * 2 + "yes |" for n in augmentations()]
    return "\n".join(lines)


def layer_of(name: str) -> str:
    """The class of the layer of a case."""
    return type(CASES[name][0]()).__name__


def built(name: str):
    """A layer with weights that depend on nothing, and its inputs."""
    import keras

    make, arrays = CASES[name]
    layer = make()
    layer(*(keras.KerasTensor(x.shape, str(x.dtype)) for x in arrays))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.uniform(0.1, 0.9, w.shape) for w in layer.weights])
    return layer, [keras.ops.convert_to_tensor(x) for x in arrays]
