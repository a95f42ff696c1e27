"""MovieLens 100K: ratings of movies, 1 to 5, with features of both sides.

F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context",
ACM Transactions on Interactive Intelligent Systems 5(4), 2015.

The official archive and the wheel write the same facts differently; both are
brought to one form. The year at the end of a title becomes a column of its
own, and so the mark "(V)" of a video after it is dropped.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from keras_multi.data.info import DatasetInfo
from keras_multi.data.sources import Download, Wheel

if TYPE_CHECKING:
    import polars as pl

    Frames = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]

RATINGS = ["user_id", "item_id", "rating", "timestamp"]
USERS = ["user_id", "age", "gender", "occupation", "zip_code"]
OFFICIAL_ITEMS = ["item_id", "title", "released", "released_on_video", "url"]
WHEEL_ITEMS = ["item_id", "title", "year", "genres"]
GENRES = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]

TITLE_AND_YEAR = re.compile(r"(.*?) \((\d{4})\)(?: \(V\))?")


def _parse(files: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    read = _read_official if "u.data" in files else _read_wheel
    ratings, users, items = read(files)
    user_id = _integers(ratings, "user_id")
    item_id = _integers(ratings, "item_id")
    user = _positions(user_id, _integers(users, "user_id"))
    item = _positions(item_id, _integers(items, "item_id"))
    titles, years = zip(*map(_title_and_year, items["title"]), strict=True)
    return {
        "user_id": user_id,
        "item_id": item_id,
        "rating": ratings["rating"].to_numpy().astype(np.float32),
        "timestamp": _integers(ratings, "timestamp"),
        "age": _integers(users, "age")[user],
        "gender": _strings(users["gender"])[user],
        "occupation": _strings(users["occupation"])[user],
        "zip_code": _strings(users["zip_code"])[user],
        "movie_title": _strings(titles)[item],
        "release_year": np.array(years, dtype=np.int64)[item],
        "genres": _strings(items["genres"])[item],
    }


def _read_official(files: Mapping[str, bytes]) -> "Frames":
    """Reads the files of the archive: Latin-1, a 0/1 flag for each genre."""
    import polars as pl

    named = [pl.when(pl.col(g) == "1").then(pl.lit(g)) for g in GENRES]
    joined = pl.concat_str(named, separator="|", ignore_nulls=True)
    items = _read(files["u.item"], "|", OFFICIAL_ITEMS + GENRES)
    return (
        _read(files["u.data"], "\t", RATINGS),
        _read(files["u.user"], "|", USERS),
        items.with_columns(genres=joined),
    )


def _read_wheel(files: Mapping[str, bytes]) -> "Frames":
    """Reads the files of the wheel: UTF-8, a header, the year cut off."""
    import polars as pl

    title = (
        pl.when(pl.col("title") == "unkonwn")
        .then(pl.lit("unknown"))
        .otherwise(pl.format("{} ({})", "title", "year"))
    )
    genres = pl.col("genres").str.replace_all(" ", "|", literal=True)
    items = _read(files["ml-100k.item"], "\t", WHEEL_ITEMS, header=True)
    return (
        _read(files["ml-100k.inter"], "\t", RATINGS, header=True),
        _read(files["ml-100k.user"], "\t", USERS, header=True),
        items.with_columns(title=title, genres=genres),
    )


def _read(
    content: bytes, separator: str, columns: list[str], header: bool = False
) -> "pl.DataFrame":
    """Reads a table of strings, of the wheel if there is a header."""
    import polars as pl

    return pl.read_csv(
        content,
        separator=separator,
        has_header=header,
        new_columns=columns,
        encoding="utf8" if header else "iso-8859-1",
        infer_schema=False,
        quote_char=None,
    )


def _integers(frame: "pl.DataFrame", column: str) -> np.ndarray:
    return frame[column].to_numpy().astype(np.int64)


def _strings(values: Iterable[str]) -> np.ndarray:
    return np.array(list(values), dtype=np.str_)


def _positions(wanted: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Finds the position in `ids` of each wanted one."""
    order = np.argsort(ids)
    return order[np.searchsorted(ids, wanted, sorter=order)]


def _title_and_year(text: str) -> tuple[str, int]:
    """Takes "Toy Story (1995)" apart; the year is 0 where there is none."""
    match = TITLE_AND_YEAR.fullmatch(text.strip())
    return (match[1], int(match[2])) if match else (text.strip(), 0)


INFO = DatasetInfo(
    name="movielens-100k",
    description="100,000 ratings of 1,682 movies by 943 users.",
    licence=(
        "GroupLens terms: research use only, no redistribution; commercial "
        "use needs permission; cite Harper and Konstan (2015), The MovieLens "
        "Datasets, https://doi.org/10.1145/2827872."
    ),
    homepage="https://grouplens.org/datasets/movielens/100k/",
    target="rating",
    parse=_parse,
    sources=(
        Download(
            url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
            sha256="50d2a982c66986937beb9ffb3aa76efe"
            "955bf3d5c6b761f4e3a7cd717c6a3229",
            members=("ml-100k/u.data", "ml-100k/u.item", "ml-100k/u.user"),
        ),
        Wheel(
            requirement="recbole==1.2.1",
            sha256="9c9948202011f37eb0a7c6768129313f"
            "00d6403ad221ec940d5e2d5d5f33a407",
            members=(
                "recbole/dataset_example/ml-100k/ml-100k.inter",
                "recbole/dataset_example/ml-100k/ml-100k.item",
                "recbole/dataset_example/ml-100k/ml-100k.user",
            ),
        ),
    ),
)
