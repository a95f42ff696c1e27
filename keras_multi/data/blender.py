"""Blender: a computed data set whose target needs feature crosses.

Does a customer buy a blender? The likelihood is a polynomial of the country,
of the bananas and of the cookbooks that the customer bought. It is the toy
example of the TensorFlow Recommenders tutorial on deep and cross networks.
"""

from collections.abc import Mapping

import numpy as np

from keras_multi.data.info import DatasetInfo
from keras_multi.data.table import Table

ROWS = 100_000
TRAIN_ROWS = 90_000


def _compute(files: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    random = np.random.RandomState(42)
    country = random.randint(200, size=ROWS) / 200
    bananas = random.randint(24, size=ROWS) / 24
    cookbooks = random.randint(6, size=ROWS) / 6
    likelihood = (
        0.1 * country
        + 0.4 * bananas
        + 0.7 * cookbooks
        + 0.1 * country * bananas
        + 3.1 * bananas * cookbooks
        + 0.1 * cookbooks**2
    )
    return {
        "country": country.astype(np.float32),
        "bananas": bananas.astype(np.float32),
        "cookbooks": cookbooks.astype(np.float32),
        "likelihood": likelihood.astype(np.float32),
    }


def _split(table: Table) -> tuple[Table, ...]:
    return table.take(slice(TRAIN_ROWS)), table.take(slice(TRAIN_ROWS, None))


INFO = DatasetInfo(
    name="blender",
    description="100,000 computed customers; the target has feature crosses.",
    licence="None needed: the data is computed.",
    homepage="https://www.tensorflow.org/recommenders/examples/dcn",
    target="likelihood",
    parse=_compute,
    split=_split,
)
