"""Picture of what the cross layers have learned."""

import os
from typing import TYPE_CHECKING

import numpy as np

from keras_multi.files import replacing
from recsys.features import Features

if TYPE_CHECKING:
    from recsys.dcn import DCN


def cross_strengths(model: "DCN") -> np.ndarray:
    """Measures how strongly each pair of features is crossed.

    The first cross layer gives `x0_j * x_i * W_ij`, and the output layer
    weighs it with `v_j`. So the model holds `x_i * x_j` with the coefficient
    `W_ij v_j + W_ji v_i`; for embeddings these are the entries of a block.
    The strength of a pair is the root mean square of its block, so that
    embeddings and single numbers compare. The paper on [DCN V2](
    https://arxiv.org/abs/2008.13535) draws the norms of the blocks of `W`
    alone; without `v`, parts that cancel out would look like crosses. Where
    a perceptron follows the crosses, `v_j` is the norm of the weights of
    `x_j` in its first layer.

    The matrix `W` is read off the response to unit vectors. So it is exact
    for the full-rank and low-rank forms; for a mixture of experts it is the
    response at these vectors.

    Args:
        model: a built DCN with cross layers.

    Returns:
        Symmetric float array of shape `(features, features)`, categorical
        features first.

    Raises:
        ValueError: if the model has no cross layers.
    """
    if model.cross is None:
        raise ValueError(
            "a model without cross layers has no crosses. "
            f"Received: num_cross_layers={model.num_cross_layers}"
        )
    cross, width = model.cross.crosses[0], model.input_dim
    ones = np.ones((width, width), "float32")
    unit = np.eye(width, dtype="float32")
    zero = np.zeros_like(unit)
    responses = [_to_numpy(cross(ones, x)) for x in (unit, zero)]
    kernel = responses[0] - responses[1] - unit

    categorical = len(model.vocabulary_sizes)
    widths = [model.embedding_dim] * categorical + [1] * model.num_dense
    ends = np.cumsum(widths)
    parts = [slice(end - w, end) for end, w in zip(ends, widths, strict=True)]
    pairs = kernel * _output_weights(model)
    pairs = pairs + pairs.T
    strengths = np.array(
        [[np.sqrt(np.mean(pairs[i, j] ** 2)) for j in parts] for i in parts]
    )
    # On the diagonal both orders are the same product.
    return strengths * (1 - 0.5 * np.eye(len(parts)))


def _output_weights(model: "DCN") -> np.ndarray:
    """Weight of each crossed feature in what follows, shape `(width,)`."""
    if model.deep is not None and model.structure == "stacked":
        first = _to_numpy(model.deep.blocks[0].kernel)
        return np.linalg.norm(first, axis=1)
    return _to_numpy(model.output_layer.kernel)[: model.input_dim, 0]


def _to_numpy(x: object) -> np.ndarray:
    """Fetches a tensor to the host as float32."""
    from keras import ops

    return ops.convert_to_numpy(ops.cast(x, "float32"))


def plot_crosses(
    model: "DCN", features: Features, path: str | os.PathLike[str]
) -> None:
    """Draws `cross_strengths` as a heat map into a PNG file.

    Args:
        model: a built DCN with cross layers.
        features: the features of the model; they name rows and columns.
        path: the file to write.

    Raises:
        ValueError: if the model has no cross layers.
        KerasMultiError: if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    strengths = cross_strengths(model)
    names = [name.replace("_", " ") for name in features.names]
    count = len(names)
    size = max(4.5, 0.62 * count + 2.2)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(strengths, cmap="Blues", vmin=0)
    axes.set_xticks(range(count), names, rotation=45, ha="right")
    axes.set_yticks(range(count), names)
    axes.set_xticks(np.arange(1, count) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, count) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("Strength of the learned crosses")
    middle = strengths.max() / 2
    visible = strengths > strengths.max() / 1000
    for i in range(count):
        for j in range(count):
            axes.text(
                j,
                i,
                f"{strengths[i, j]:.2g}" if visible[i, j] else "0",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if strengths[i, j] > middle else "black",
            )
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.outline.set_visible(False)
    bar.set_label("coefficient of the pair (root mean square)")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
