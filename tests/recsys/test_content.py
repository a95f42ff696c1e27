import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import MultiLabelBinarizer

from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from recsys import ContentFilter
from recsys.item_features import table_features

APPS = Table(
    "apps",
    {
        "app": np.array(
            ["steps", "sleep", "chess", "pulse", "poker", "notes", "diet"]
        ),
        "categories": np.array(
            [
                "health|sport",
                "health",
                "game|board",
                "health|sensor",
                "game|cards",
                "office",
                "health|food",
            ]
        ),
    },
    target="app",
)


def some_items(n=60, f=12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 5, (n, f)) * (rng.random((n, f)) < 0.3)


def oracle(features, score, history, weights):
    """Scores of all items, by scikit-learn."""
    if score == "tfidf":
        features = TfidfTransformer().fit_transform(features).toarray()
    profile = weights @ features[history]
    if score == "dot":
        return features @ profile
    return cosine_similarity(profile[None], features)[0]


def test_health_apps_bring_other_health_apps():
    """A user with two health apps gets the two others, not games."""
    for score in ("dot", "cosine", "tfidf"):
        content = ContentFilter(score, k=2).fit_table(
            APPS, "app", ["categories"]
        )
        _, ids = content.recommend([["steps", "sleep"]])
        assert set(ids[0]) == {"pulse", "diet"}
        why = content.explain("pulse", ["steps", "sleep"])
        assert list(why) == ["categories=health"]


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("score", ["dot", "cosine", "tfidf"])
def test_scores_are_those_of_scikit_learn(score, form):
    features = some_items()
    ids = np.arange(100, 160)
    content = ContentFilter(score).fit(form(features), ids)
    histories = [[3, 17, 5], [8], list(range(20, 40))]
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=len(h)) for h in histories]
    got, found = content.recommend(
        [[100 + i for i in h] for h in histories], 30, weights, exclude=[101]
    )
    for row, (history, weight) in enumerate(
        zip(histories, weights, strict=True)
    ):
        want = oracle(features, score, history, weight)
        left = np.setdiff1d(np.arange(60), [*history, 1])
        np.testing.assert_allclose(
            got[row], -np.sort(-want[left])[:30], rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            got[row], want[found[row] - 100], rtol=1e-4, atol=1e-5
        )
        assert set(found[row] - 100) <= set(left)


@settings(max_examples=20, deadline=None)
@given(
    score=st.sampled_from(["dot", "cosine", "tfidf"]),
    seed=st.integers(0, 1000),
)
def test_contributions_sum_to_the_score(score, seed):
    rng = np.random.default_rng(seed)
    features = some_items(20, 6, seed)
    content = ContentFilter(score).fit(features)
    history = rng.choice(20, 3, replace=False)
    weights = rng.normal(size=3)
    if not content.profiles([history], [weights]).any():
        return
    scores, ids = content.recommend([history], 17, [weights])
    for value, item in zip(scores[0], ids[0], strict=True):
        parts = content.explain(item, history, weights)
        assert sum(parts.values()) == pytest.approx(value, rel=1e-4, abs=1e-5)
        sizes = [abs(part) for part in parts.values()]
        assert sizes == sorted(sizes, reverse=True)
        assert all(features[item, int(name)] for name in parts)


def test_preferences_count_as_an_item_with_these_features():
    features = np.vstack([some_items(), np.zeros(12)])
    features[-1, [2, 7]] = [1, 3]
    for score in ("dot", "cosine", "tfidf"):
        content = ContentFilter(score).fit(features)
        likes = {"2": 1, "7": 3}
        np.testing.assert_allclose(
            content.profiles([[4]], preferences=[likes]),
            content.profiles([[4, 60]]),
            rtol=1e-6,
        )
        found = content.recommend([[], [4]], 5, preferences=[likes, None])
        assert 60 in found[1][0]
        alone = content.recommend([[4]], 5)
        np.testing.assert_array_equal(found[1][1], alone[1][0])


def test_users_of_whom_nothing_is_known_get_what_is_popular():
    features = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    content = ContentFilter(k=2).fit(features, popularity=[5, 9, 7, 1])
    scores, ids = content.recommend([[], [0], [3]], exclude=[2])
    assert ids.tolist() == [[1, 0], [1, 3], [1, 0]]
    assert scores.tolist() == [[9, 5], [0, 0], [9, 5]]
    content.fit(features)
    with pytest.raises(UsageError, match="nothing is known of user 1"):
        content.recommend([[0], []])


def test_tables_become_binary_features():
    titles = ["a|b", "", "b| c", "b"]
    columns = {
        "id": np.array([4, 3, 2, 3]),
        "tags": np.array(titles),
        "year": np.array([1990, 1991, 1990, 1991]),
    }
    table = Table("t", columns, target="id")
    features, names = table_features(table, ["tags", "year"])
    assert names == ["tags=a", "tags=b", "tags=c", "year=1990", "year=1991"]
    tags = [{t.strip() for t in x.split("|")} - {""} for x in titles]
    np.testing.assert_array_equal(
        features.toarray()[:, :3], MultiLabelBinarizer().fit_transform(tags)
    )
    np.testing.assert_array_equal(
        features.toarray()[:, 3], columns["year"] == 1990
    )
    content = ContentFilter().fit_table(table, "id", ["tags"], popularity=True)
    assert content.ids.tolist() == [2, 3, 4]
    assert content.recommend([[]], 1)[1].tolist() == [[3]]
    with pytest.raises(UsageError, match="'y' must hold strings or integers"):
        table_features(Table("t", {"y": np.ones(2)}, "y"), ["y"])


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_saves_and_loads(tmp_path, form):
    features = some_items()
    ids = np.array([f"i{i}" for i in range(60)])
    content = ContentFilter("tfidf", 5).fit(
        form(features), ids, popularity=np.arange(60)
    )
    content.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["content.npz"]
    again = ContentFilter.load(tmp_path)
    users = [["i3", "i9"], []]
    for got, want in zip(
        again.recommend(users), content.recommend(users), strict=True
    ):
        np.testing.assert_array_equal(got, want)
    assert again.explain("i4", users[0]) == content.explain("i4", users[0])
    with np.load(tmp_path / "content.npz", allow_pickle=False) as file:
        assert json.loads(str(file["about"]))["names"][0] == "0"
        arrays = dict(file)
    path = tmp_path / "content.npz"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b""):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="damaged"):
            ContentFilter.load(tmp_path)
    np.savez(path, **{**arrays, "indices": arrays["indices"] + 12})
    with pytest.raises(DataError, match="damaged"):
        ContentFilter.load(tmp_path)


def test_bad_input():
    features = some_items()
    content = ContentFilter()
    for call in (content.profiles, content.recommend, content.save):
        with pytest.raises(UsageError, match="the filter is empty"):
            call([[1]])
    with pytest.raises(ValueError, match=r"score must.*Received: score='l2'"):
        ContentFilter("l2")
    with pytest.raises(ValueError, match="k must"):
        ContentFilter(k=0)
    for bad in (features[0], features[:0], np.array([["a"]])):
        with pytest.raises(ValueError, match="features must"):
            content.fit(bad)
    broken = np.where(features, np.inf, 0)
    for bad in (np.full((3, 2), np.nan), sparse.csr_array(broken)):
        with pytest.raises(ValueError, match="features must be finite"):
            content.fit(bad)
    with pytest.raises(ValueError, match="names must be 12 different"):
        content.fit(features, names=["a"] * 12)
    for bad in ([1], [-1] * 60, [np.nan] * 60):
        with pytest.raises(ValueError, match="popularity must"):
            content.fit(features, popularity=bad)
    for form in (np.asarray, sparse.csr_array):
        with pytest.raises(ValueError, match="ids must be unique"):
            content.fit(form(features), ids=[1] * 60)
    content.fit(features)
    with pytest.raises(UsageError, match="no item 60"):
        content.recommend([[60]])
    with pytest.raises(UsageError, match="no item 'x'"):
        content.explain("x", [1])
    with pytest.raises(UsageError, match="no feature 'drama'"):
        content.recommend([[]], preferences=[{"drama": 1}])
    with pytest.raises(ValueError, match="preferences must"):
        content.recommend([[1]], preferences=[None, None])
    with pytest.raises(ValueError, match="weights must be 2"):
        content.recommend([[1, 2]], weights=[[1.0]])
    with pytest.raises(ValueError, match="weights must be finite"):
        content.recommend([[1, 2]], weights=[[1.0, np.nan]])
    with pytest.raises(ValueError, match="k must be at most"):
        content.recommend([[1]], k=61)
