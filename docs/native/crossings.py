"""Data from each framework's pipeline into a Keras model, with its cost.

    KERAS_BACKEND=jax python docs/native/crossings.py   # or torch, tensorflow

`Model.fit` takes batches of each pipeline on each backend. What is printed is
the milliseconds of a step: of the pipeline alone, of `Model.fit` on it, and
what that has more than `Model.fit` on the same batches as NumPy arrays that
are there already.
"""

import importlib.util
import time
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]


class Ready(keras.utils.PyDataset):
    """NumPy: batches that are there already."""

    def __init__(self, x: np.ndarray, y: np.ndarray, size: int) -> None:
        super().__init__()
        starts = range(0, len(x), size)
        self.batches = [(x[s : s + size], y[s : s + size]) for s in starts]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Arrays:
        return self.batches[index]


def torch_loader(x: np.ndarray, y: np.ndarray, size: int) -> Iterable[Any]:
    """PyTorch: a `DataLoader`, which collects rows into batches."""
    from torch.utils.data import DataLoader, TensorDataset, default_convert

    return DataLoader(TensorDataset(*map(default_convert, (x, y))), size)


def tensorflow_data(x: np.ndarray, y: np.ndarray, size: int) -> Iterable[Any]:
    """TensorFlow: `tf.data`."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((x, y)).batch(size).prefetch(1)


def grain_data(x: np.ndarray, y: np.ndarray, size: int) -> Iterable[Any]:
    """grain: rows of a source, in batches before they are read ahead."""
    import grain

    rows = grain.MapDataset.source(range(len(x)))
    return rows.map(lambda row: (x[row], y[row])).batch(size).to_iter_dataset()


# The package that each needs.
PIPELINES: dict[str, tuple[str, Callable[..., Iterable[Any]]]] = {
    "NumPy": ("numpy", Ready),
    "DataLoader": ("torch", torch_loader),
    "tf.data": ("tensorflow", tensorflow_data),
    "grain": ("grain", grain_data),
}


def pipelines() -> dict[str, Callable[..., Iterable[Any]]]:
    """Gives the pipelines whose package is installed."""
    return {
        name: make
        for name, (package, make) in PIPELINES.items()
        if importlib.util.find_spec(package) is not None
    }


def build(width: int) -> keras.Model:
    """Makes a small model, with the same start weights each time."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((width,)),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.01), "mean_squared_error")
    return model


def shortest(run: Callable[[], Any], steps: int, repeats: int = 3) -> float:
    """The milliseconds of a step in the fastest of some runs."""
    run()  # Compiles.
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds) / steps * 1e3


def main() -> None:
    """Prints the table."""
    rows, width, size = 20_000, 128, 250
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, width)).astype("float32")
    y = rng.standard_normal((rows, 1)).astype("float32")
    base = 0.0
    print(f"{keras.backend.backend()}, milliseconds of a step of {size} rows")
    print("| pipeline | alone | `fit` | more than NumPy |\n|---|---|---|---|")
    for name, make in pipelines().items():
        source, model = make(x, y, size), build(width)
        alone = shortest(lambda s=source: [None for _ in s], rows // size)
        fit = shortest(
            lambda m=model, s=source: m.fit(s, shuffle=False, verbose=0),
            rows // size,
        )
        base = base or fit
        print(f"| {name} | {alone:.2f} | {fit:.2f} | {fit - base:+.2f} |")


if __name__ == "__main__":
    main()
