"""What the table of `docs/native/README.md` says, and each cell's test uses.

A row of the table is a shared layer, a column a transformation of functions.
A layer has at least one case in `LAYERS` or `MORE_LAYERS`; a case that a
transformation cannot take is one of `LIMITS`, with what happens instead.
"""

import numpy as np

from keras_multi import layers
from tests.portability.cases import IDS, LAYERS

MORE_LAYERS = {
    "sparse_embedding": (lambda: layers.SparseEmbedding(7, 4), [IDS]),
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
