"""Adult against published facts and the checksums of the official files.

The official text files are written from the Parquet file of the wheel; their
SHA-256 shows that not a byte differs.
"""

import io

import numpy as np
import polars as pl
import pytest

from keras_multi import data
from keras_multi.data import adult

from .conftest import sha256

SHA256 = {
    "adult.data": "5b00264637dbfec36bdeaab5676b0b30"
    "9ff9eb788d63554ca0a249491c86603d",
    "adult.test": "a2a9044bc167a35b2361efbabec64e89"
    "d69ce82d9790d2980119aac5fd7e9c05",
}


@pytest.fixture(scope="module")
def table() -> data.Table:
    return data.load("adult", progress=False)


@pytest.fixture(scope="module")
def official_files(widedeep) -> dict[str, bytes]:
    frame = pl.read_parquet(io.BytesIO(widedeep["adult.parquet.brotli"]))
    lines = [", ".join(map(str, row)) for row in frame.rows()]
    test = "".join(f"{line}.\n" for line in lines[:16_281])
    train = "".join(f"{line}\n" for line in lines[16_281:])
    return {
        "adult.data": f"{train}\n".encode(),
        "adult.test": f"|1x3 Cross validator\n{test}\n".encode(),
    }


def test_published_facts(table):
    assert len(table) == 48_842
    assert len(table.columns) == 15
    assert (table.target, table["income"].dtype) == ("income", np.float32)
    assert table["income"].mean() == pytest.approx(0.2393, abs=5e-5)
    # adult.names of the UCI repository: 24.08 % of the training rows.
    assert table["income"][:32_561].mean() == pytest.approx(0.2408, abs=5e-5)
    assert table["age"].dtype == np.int64
    assert (table["workclass"] == "?").sum() == 2799
    assert (table["native_country"] == "?").sum() == 857


def test_first_row(table):
    assert {name: column[0] for name, column in table.columns.items()} == {
        "age": 39,
        "workclass": "State-gov",
        "fnlwgt": 77516,
        "education": "Bachelors",
        "education_num": 13,
        "marital_status": "Never-married",
        "occupation": "Adm-clerical",
        "relationship": "Not-in-family",
        "race": "White",
        "sex": "Male",
        "capital_gain": 2174,
        "capital_loss": 0,
        "hours_per_week": 40,
        "native_country": "United-States",
        "income": 0,
    }


def test_both_sources_give_the_same_table(table, official_files):
    assert {n: sha256(c) for n, c in official_files.items()} == SHA256
    official = adult.INFO.parse(official_files)
    assert list(official) == list(table.columns)
    for name, column in official.items():
        assert column.dtype == table[name].dtype, name
        np.testing.assert_array_equal(column, table[name], name)


def test_the_reported_split_is_fixed(table):
    train, test = data.train_test("adult", progress=False)
    assert (len(train), len(test)) == (39_074, 9_768)
    rows = np.random.default_rng(42).permutation(48_842)
    np.testing.assert_array_equal(
        train["fnlwgt"], table["fnlwgt"][rows[:39_074]]
    )
    np.testing.assert_array_equal(
        test["fnlwgt"], table["fnlwgt"][rows[39_074:]]
    )
