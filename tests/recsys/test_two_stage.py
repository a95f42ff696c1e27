import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from keras import ops

from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from recsys import artifact
from recsys.items import Filter
from recsys.recommend import recommend
from recsys.request import Boost, Request, UnknownUserError
from recsys.two_stage import TwoStageRecommender
from tests.recsys.two_stage_case import (
    GENRES,
    ITEMS,
    WINDOWS,
    make,
    ratings,
)


@pytest.fixture(scope="module")
def recommender():
    return make()


@pytest.fixture(scope="module")
def saved(recommender, tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifact")
    recommender.save(folder)
    return folder


def user_columns(user, **changes):
    """The columns of a user's last rating, a second later."""
    table = ratings()
    row = last_ratings(user)[0]
    columns = {k: v[row].item() for k, v in table.columns.items()}
    columns["timestamp"] += 1
    return columns | changes


def last_ratings(user):
    """Rows of a user's ratings, the last one first."""
    table = ratings()
    rows = np.flatnonzero(table["user_id"] == user)
    return rows[np.argsort(-table["timestamp"][rows])]


def expected(made, columns, allowed, k=10):
    """Both stages one item at a time, without an index or blocks."""
    one = Table("u", {k: np.array([v]) for k, v in columns.items()}, "user_id")
    inputs = made.inputs.user.transform(one)
    items = ratings()["item_id"][last_ratings(columns["user_id"])] - 1
    inputs["bags"] = {
        f"last_{n}": np.array([[*items[:n], *[-1] * n][:n]]) for n in WINDOWS
    }
    user = made.retrieval.user_tower(to_tensors(inputs))
    products = made.vectors @ ops.convert_to_numpy(user)[0]
    best = sorted(allowed, key=lambda row: -products[row])[: made.candidates]
    catalogue = made.catalogue.table
    rank = {}
    for row in best:
        item = {k: v[[row]] for k, v in catalogue.columns.items()}
        pair = Table("p", one.columns | item, "user_id")
        inputs = to_tensors(made.ranker_features.transform(pair))
        rank[row] = ops.convert_to_numpy(made.ranker(inputs))[0, 0]
    order = sorted(best, key=lambda row: -rank[row])[:k]
    return [(row + 1, products[row], rank[row]) for row in order]


def to_tensors(inputs):
    return keras.tree.map_structure(ops.convert_to_tensor, inputs)


def unseen(user):
    table = ratings()
    seen = set(table["item_id"][table["user_id"] == user] - 1)
    return [row for row in range(ITEMS) if row not in seen]


def check(answer, wanted):
    assert [i.item for i in answer.items] == [w[0] for w in wanted]
    scores = [(i.retrieval_score, i.rank_score) for i in answer.items]
    np.testing.assert_allclose(scores, [w[1:] for w in wanted], atol=1e-4)


def test_answers_equal_a_plain_computation(recommender):
    requests = [Request(user) for user in (3, 7, 12)]
    answers = recommender.recommend(requests)
    for request, answer in zip(requests, answers, strict=True):
        columns = user_columns(request.user)
        check(answer, expected(recommender, columns, unseen(request.user)))
        assert answer.source == "user"
        assert all(i.score == i.rank_score for i in answer.items)


def test_blocks_do_not_change_answers(recommender):
    requests = [Request(1 + i % 12, k=3) for i in range(40)]
    together = recommender.recommend(requests)
    for request, answer in zip(requests[:5], together, strict=False):
        (alone,) = recommender.recommend([request])
        assert [i.item for i in alone.items] == [i.item for i in answer.items]


def test_features_of_the_request_come_first(recommender):
    """Also for a known user: the time of the request, say."""
    changes = {"age": 60, "timestamp": 1000}
    (answer,) = recommender.recommend([Request(4, changes)])
    columns = user_columns(4, **changes)
    check(answer, expected(recommender, columns, unseen(4)))


def test_an_unknown_user_with_features_has_unknown_ids(recommender):
    (answer,) = recommender.recommend([Request(999, {"age": 23})])
    assert answer.source == "features"
    known = recommender.profiles.users
    columns = {
        "user_id": 999,
        "age": 23,
        "gender": "",
        "timestamp": int(np.sort(known["timestamp"])[len(known) // 2]),
    }
    check(answer, expected(recommender, columns, range(ITEMS)))
    assert answer.items[0].reasons[0].text == "chosen for age 23"


def test_a_visitor_gets_what_most_have_rated(recommender):
    (answer,) = recommender.recommend([Request(k=5)])
    assert answer.source == "popularity"
    counts = np.bincount(ratings()["item_id"], minlength=ITEMS + 1)
    wanted = sorted(range(1, ITEMS + 1), key=lambda i: (-counts[i], i))[:5]
    assert [i.item for i in answer.items] == wanted
    assert [i.score for i in answer.items] == [counts[i] for i in wanted]
    assert answer.items[0].rank_score is None
    text = f"rated by {counts[wanted[0]]} users"
    assert answer.items[0].reasons[0].text == text


def test_filters_leave_what_meets_them(recommender):
    conditions = (
        Filter("genres", any_of=("War", "Comedy"), none_of=("Drama",)),
        Filter("release_year", at_least=1985, at_most=1995),
        Filter("item_id", none_of=(7, 8)),
    )
    (answer,) = recommender.recommend([Request(2, filters=conditions)])
    items = recommender.catalogue.table
    kept = [
        row
        for row in unseen(2)
        if {"War", "Comedy"} & set(items["genres"][row].split("|"))
        and "Drama" not in items["genres"][row].split("|")
        and 1985 <= items["release_year"][row] <= 1995
        and row + 1 not in (7, 8)
    ]
    assert kept
    check(answer, expected(recommender, user_columns(2), kept))


def test_nothing_remains(recommender):
    request = Request(2, filters=(Filter("genres", any_of=("Opera",)),))
    (answer,) = recommender.recommend([request])
    assert answer.items == ()


def test_seen_and_excluded_items(recommender):
    (answer,) = recommender.recommend([Request(2, k=20)])
    assert {i.item - 1 for i in answer.items} <= set(unseen(2))
    first = answer.items[0].item
    (other,) = recommender.recommend([Request(2, k=20, exclude=(first, 10**6))])
    assert first not in {i.item for i in other.items}
    (everything,) = recommender.recommend([Request(2, exclude_seen=False)])
    wanted = expected(recommender, user_columns(2), range(ITEMS))
    check(everything, wanted)


def test_boosts_add_to_the_score(recommender):
    condition = Filter("genres", any_of=("War",))
    request = Request(5, k=20, boosts=(Boost(condition, 100.0),))
    (answer,) = recommender.recommend([request])
    war = recommender.catalogue.mask(condition)
    boosted = [bool(war[i.item - 1]) for i in answer.items]
    assert boosted == sorted(boosted, reverse=True)
    assert any(boosted)
    assert not all(boosted)
    for item, raised in zip(answer.items, boosted, strict=True):
        wanted = item.rank_score + (100 if raised else 0)
        assert item.score == pytest.approx(wanted, abs=1e-4)
        assert ("boost" in {r.kind for r in item.reasons}) == raised


def test_no_more_than_two_of_a_genre(recommender):
    (plain,) = recommender.recommend([Request(5, k=20)])
    (capped,) = recommender.recommend([Request(5, k=20, max_per={"genres": 2})])
    genres = recommender.catalogue.table["genres"]
    wanted, counts = [], dict.fromkeys(GENRES, 0)
    for item in plain.items:
        own = genres[item.item - 1].split("|")
        if all(counts[g] < 2 for g in own):
            wanted.append(item.item)
            for genre in own:
                counts[genre] += 1
    assert [i.item for i in capped.items] == wanted
    assert len(wanted) < 20


def test_reasons_name_what_the_user_liked(recommender):
    table = ratings()
    mine = table["user_id"] == 6
    given = dict(
        zip(table["item_id"][mine], table["rating"][mine], strict=True)
    )
    liked = [i for i, r in given.items() if r >= np.mean(list(given.values()))]
    (answer,) = recommender.recommend([Request(6)])
    genres = recommender.catalogue.table["genres"]
    vectors = recommender.vectors

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    def shared(a, b):
        return set(genres[a - 1].split("|")) & set(genres[b - 1].split("|"))

    for item in answer.items:
        near, *others = item.reasons
        mine = vectors[item.item - 1]
        best = max(liked, key=lambda i: cosine(vectors[i - 1], mine))
        assert (near.kind, near.item) == ("near", best)
        rated = f"Film {best}, which you rated {given[best]:g}"
        assert near.text == f"close to {rated}"
        most = max(len(shared(i, item.item)) for i in liked)
        assert len(others) == (most > 0)
        for reason in others:
            assert len(shared(reason.item, item.item)) == most
            words = ", ".join(sorted(shared(reason.item, item.item)))
            assert reason.text.startswith(f"shares {words} with Film")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(2, k=21), "at most 20"),
        (Request(2, filters=(Filter("colour"),)), "no column 'colour'"),
        (Request(2, filters=(Filter("genres", at_least=3),)), "no bounds"),
        (Request(2, filters=(Filter("genres", (3,)),)), "holds strings"),
        (Request(2, filters=(Filter("item_id", ("a",)),)), "holds numbers"),
        (Request(2, max_per={"colour": 2}), "no column 'colour'"),
        (Request(2, {"height": 3}), "no feature 'height'"),
        (Request(2, {"age": "old"}), "age must be an integer"),
        (Request(2, {"age": True}), "age must be an integer"),
        (Request(2, {"gender": 3}), "gender must be a string"),
        (Request(2, {"user_id": 3}), "no feature 'user_id'"),
    ],
)
def test_bad_requests_are_named(recommender, request_, message):
    with pytest.raises(UsageError, match=message):
        recommender.recommend([request_])


def test_bad_numbers_and_unknown_users_are_named(recommender):
    with pytest.raises(UsageError, match="at least 1"):
        Request(k=0)
    with pytest.raises(UsageError, match="max_per"):
        Request(max_per={"genres": 0})
    with pytest.raises(UnknownUserError, match="no user 999"):
        recommender.recommend([Request(999)])
    with pytest.raises(UsageError, match="candidates"):
        make(candidates=0)


def test_the_artifact_brings_the_same_back(recommender, saved):
    loaded = TwoStageRecommender.load(saved)
    loaded.warm_up(2)
    requests = [Request(3), Request(None, {"age": 30}), Request()]
    before = recommender.recommend(requests)
    after = loaded.recommend(requests)
    assert loaded.version == recommender.version
    for a, b in zip(before, after, strict=True):
        assert [i.item for i in a.items] == [i.item for i in b.items]
        assert [i.reasons for i in a.items] == [i.reasons for i in b.items]
        for x, y in zip(a.items, b.items, strict=True):
            assert x.score == pytest.approx(y.score, abs=1e-5)
    listed = recommend(saved, "3", k=4)
    assert [i["item"] for i in listed] == [i.item for i in before[0].items[:4]]
    assert set(listed[0]["reasons"][0]) == {"kind", "text", "item"}


def test_damage_is_named(saved, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    parts, _ = artifact.current_version(copy)
    with (parts / "ranker.keras").open("r+b") as file:
        file.seek(100)
        file.write(b"xx")
    with pytest.raises(DataError, match=r"ranker\.keras is damaged"):
        TwoStageRecommender.load(copy)
    (parts / "ranker.keras").unlink()
    with pytest.raises(DataError, match=r"cannot read .*ranker\.keras"):
        TwoStageRecommender.load(copy)
    (copy / "manifest.json").write_text('{"format": 1, "version": "../x"}')
    with pytest.raises(DataError, match="not the manifest"):
        TwoStageRecommender.load(copy)
    with pytest.raises(DataError, match="cannot read"):
        TwoStageRecommender.load(tmp_path / "nowhere")


def write(folder, text):
    with artifact.new_version(folder) as parts:
        (parts / "text").write_text(text)


def read(folder):
    return (artifact.current_version(folder)[0] / "text").read_text()


def test_versions_replace_each_other(tmp_path):
    for text in ("a", "b", "b", "c"):
        write(tmp_path, text)
        assert read(tmp_path) == text
    folders = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(folders) == 2  # The one before stays for its readers.
    with pytest.raises(ZeroDivisionError), artifact.new_version(tmp_path):
        raise ZeroDivisionError
    assert read(tmp_path) == "c"
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 2


def test_a_killed_writer_leaves_a_whole_version(tmp_path):
    """Kills a process that writes versions, at ten random moments."""
    code = (
        "import itertools, sys; from recsys import artifact\n"
        "for i in itertools.count():\n"
        "    with artifact.new_version(sys.argv[1]) as parts:\n"
        "        for name in 'abc': (parts / name).write_text(str(i) * 9)\n"
        "    print(i, flush=True)"
    )
    rng = np.random.default_rng(0)
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        parts, _ = artifact.current_version(tmp_path)  # Verifies checksums.
        assert len({(parts / name).read_text() for name in "abc"}) == 1
    write(tmp_path, "new")
    assert read(tmp_path) == "new"
