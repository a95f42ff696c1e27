import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from recsys.bags import MultiHot, Text
from recsys.columns import Buckets, Numeric, Vocabulary
from recsys.features import Features
from recsys.times import CyclicTime, TimePart

TITLES = np.array(
    ["The Man Who", "Thin Man, The", "Rain man: 2", "Amélie", "man man man"]
)
GENRES = np.array(["Comedy|Drama", "Drama", "", "War | Comedy"])


def multi_hot(bags, size):
    """Rows with a one for each category of a bag, the unknown one left out."""
    rows = np.zeros((len(bags), size), int)
    for row, bag in zip(rows, bags, strict=True):
        row[bag[bag > 0]] = 1
    return rows[:, 1:]


@pytest.mark.parametrize("min_count", [1, 2, 3])
def test_words_equal_scikit_learn(min_count):
    theirs = CountVectorizer(
        binary=True, min_df=min_count, token_pattern=r"\w+"
    ).fit(TITLES)
    ours = Text("title", min_count).fit(TITLES)
    assert ours.values == tuple(theirs.get_feature_names_out())
    new = np.array(["THE rain", "nothing known", "", "man"])
    for texts in (TITLES, new):
        np.testing.assert_array_equal(
            multi_hot(ours.transform(texts), ours.size),
            theirs.transform(texts).toarray(),
        )


def test_genres_are_numbered_and_padded():
    genres = MultiHot("genres").fit(GENRES)
    assert genres.values == ("Comedy", "Drama", "War")
    assert (genres.size, genres.length) == (4, 2)
    bags = genres.transform(np.array(["", "War", "Western|Drama", "Drama|War"]))
    assert bags.dtype == np.int32
    # Nothing is the unknown category, and so is what training has not seen.
    assert bags.tolist() == [[0, -1], [3, -1], [0, 2], [2, 3]]
    short = MultiHot("genres", length=1).fit(GENRES)
    assert short.transform(np.array(["War|Drama"])).tolist() == [[3]]


@given(st.lists(st.text("abc| "), min_size=1), st.lists(st.text("abcd| ")))
def test_a_bag_is_a_set(seen, asked):
    feature = MultiHot("x", length=99).fit(np.array(seen, dtype=np.str_))
    known = {part.strip() for text in seen for part in text.split("|")} - {""}
    assert set(feature.values) == known
    bags = feature.transform(np.array(asked, dtype=np.str_))
    for bag, text in zip(bags, asked, strict=True):
        parts = {part.strip() for part in text.split("|")} - {""}
        names = {feature.values[i - 1] for i in bag if i > 0}
        assert names == parts & known
        assert (0 in bag) == (not parts <= known or not parts)


def test_parts_of_a_time_equal_numpy():
    rng = np.random.default_rng(0)
    seconds = rng.integers(-(10**9), 2 * 10**9, 200)
    times = seconds.astype("datetime64[s]")
    days = times.astype("datetime64[D]")
    weekday = np.busday_offset(days, 0, roll="backward", weekmask="Mon")
    weekday = (days - weekday).astype(int)
    hour = (times - days).astype(int) // 3600
    got = TimePart("t", "weekday").fit(seconds).transform(seconds)
    np.testing.assert_array_equal(got, weekday)
    assert (got.dtype, TimePart("t", "weekday").size) == (np.int32, 7)
    got = TimePart("t", "hour").transform(seconds)
    np.testing.assert_array_equal(got, hour)
    turn = (times - days).astype(int) / 86400
    week = (weekday + turn) / 7
    for part, share in (("hour", turn), ("weekday", week)):
        np.testing.assert_allclose(
            CyclicTime("t", part).fit(seconds).transform(seconds),
            np.stack([np.sin(2 * np.pi * share), np.cos(2 * np.pi * share)], 1),
            atol=1e-6,
        )


def make_table():
    columns = {
        "user": np.array([7, 8, 7, 9]),
        "genres": GENRES,
        "title": TITLES[:4],
        "time": np.array([0, 86_400, 3_600, 7_200]),
        "rating": np.arange(4.0),
    }
    return Table("small", columns, target="rating")


def make_features():
    return Features(
        [
            MultiHot("genres"),
            Buckets("time", count=2),
            CyclicTime("time", "hour"),
            Vocabulary("user"),
            Numeric("time"),
            TimePart("time", "weekday"),
            Text("title", min_count=2),
        ]
    )


def test_features_of_all_kinds(tmp_path):
    features = make_features().fit(make_table())
    assert features.names == (
        "time buckets",
        "user",
        "time weekday timepart",
        "time hour cyclictime",
        "time numeric",
        "genres",
        "title",
    )
    assert features.vocabulary_sizes == (2, 4, 7)
    assert features.num_dense == 3
    assert features.bag_sizes == {"genres": 4, "title": 3}
    inputs = features.transform(make_table())
    assert inputs["categorical"].tolist() == [
        [0, 1, 3], [1, 2, 4], [0, 1, 3], [1, 3, 3]
    ]  # fmt: skip
    assert inputs["dense"].shape == (4, 3)
    np.testing.assert_allclose(inputs["dense"][:, 2].std(), 1, rtol=1e-6)
    assert inputs["bags"]["genres"].shape == (4, 2)
    # "Who", "Thin", "Rain", "2" and "Amélie" are rarer than min_count.
    assert features.unseen(inputs) == {"genres": 1, "title": 4}
    features.save(tmp_path / "features.json")
    loaded = Features.load(tmp_path / "features.json")
    assert list(loaded) == list(features)
    again = loaded.transform(make_table())
    np.testing.assert_array_equal(
        again["bags"]["title"], inputs["bags"]["title"]
    )


def test_bad_input_is_named():
    with pytest.raises(DataError, match="'user' must hold strings"):
        Features([MultiHot("user")]).fit(make_table())
    with pytest.raises(DataError, match="'title' must hold numbers"):
        Features([TimePart("title", "hour")]).fit(make_table())
    with pytest.raises(UsageError, match="not fitted"):
        MultiHot("genres").transform(GENRES)
    with pytest.raises(UsageError, match="Received: part='year'"):
        CyclicTime("time", "year")
    with pytest.raises(UsageError, match="Received: min_count=0"):
        Text("title", min_count=0)
    with pytest.raises(UsageError, match="separator must not be empty"):
        MultiHot("genres", separator="")
