import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from recsys.columns import Buckets, Hashing, Numeric, Vocabulary
from recsys.features import Features


def table(**columns):
    columns = {k: np.array(v) for k, v in columns.items()}
    rows = len(next(iter(columns.values())))
    return Table("small", columns | {"y": np.zeros(rows)}, target="y")


TRAIN = table(
    item=[30, 10, 30, 20], kind=["b", "a", "b", "c"], age=[1.0, 2.0, 3.0, 6.0]
)


def test_features_give_the_arrays_of_the_model():
    features = Features(
        [Numeric("age"), Vocabulary("item"), Vocabulary("kind")]
    ).fit(TRAIN)
    assert features.names == ("item", "kind", "age")
    assert features.vocabulary_sizes == (4, 4)
    new = table(item=[10, 99], kind=["zz", "c"], age=[3.0, 0.0])
    inputs = features.transform(new)
    assert inputs["categorical"].dtype == np.int32
    assert inputs["categorical"].tolist() == [[1, 0], [0, 3]]
    assert inputs["dense"].dtype == np.float32
    np.testing.assert_allclose(
        inputs["dense"][:, 0], [0, -3 / np.std([1, 2, 3, 6])], rtol=1e-6
    )
    assert features.unseen(inputs) == {"item": 1, "kind": 1}


@given(
    st.lists(st.integers(-(2**40), 2**40), min_size=1),
    st.lists(st.integers(-(2**40), 2**40), min_size=1),
)
def test_a_vocabulary_is_a_dictionary(seen, asked):
    numbers = {value: i + 1 for i, value in enumerate(sorted(set(seen)))}
    vocabulary = Vocabulary("id").fit(np.array(seen))
    got = vocabulary.transform(np.array(asked))
    assert got.tolist() == [numbers.get(value, 0) for value in asked]
    assert vocabulary.size == len(numbers) + 1


def test_buckets_have_equal_shares():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=1000)
    buckets = Buckets("x", count=8).fit(values)
    assert np.bincount(buckets.transform(values)).tolist() == [125] * 8
    assert buckets.transform(np.array([-1e9, 1e9])).tolist() == [0, 7]
    given_cuts = Buckets("x", boundaries=(1.0, 2.0))
    assert given_cuts.transform(np.array([0.9, 1.0, 2.5])).tolist() == [0, 1, 2]
    constant = Buckets("x", count=4).fit(np.full(9, 5.0))
    assert constant.size == 2


def test_hashing_is_the_published_function_in_every_process():
    # SplitMix64 with seed 0 starts with 0xE220A8397B1DCDAF (Vigna's test).
    assert Hashing("x", 1000).transform(np.array([0])).item() == (
        0xE220A8397B1DCDAF % 1000
    )
    code = (
        "import numpy as np; from recsys.columns import Hashing;"
        "print(Hashing('x', 997).transform(np.array(['55105', 'ü'])).tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {
        str(Hashing("x", 997).transform(np.array(["55105", "ü"])).tolist())
        + "\n"
    }
    spread = np.bincount(Hashing("x", 10).transform(np.arange(10_000)))
    assert spread.min() > 900


def test_json_brings_the_same_features_back(tmp_path):
    features = Features(
        [
            Vocabulary("kind", unknown="error"),
            Hashing("item", 7),
            Buckets("age", count=2),
        ]
    ).fit(TRAIN)
    features.save(tmp_path / "features.json")
    loaded = Features.load(tmp_path / "features.json")
    assert loaded.categorical == features.categorical
    assert [p.name for p in tmp_path.iterdir()] == ["features.json"]
    np.testing.assert_array_equal(
        loaded.transform(TRAIN)["categorical"],
        features.transform(TRAIN)["categorical"],
    )


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"features": [{"type": "Other"}]}']
)
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "features.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"features\.json"):
        Features.load(path)
    path.write_text(json.dumps({"features": [{"type": "Hashing"}]}))
    with pytest.raises(DataError, match=r"features\.json"):
        Features.load(path)


def test_bad_input_is_named():
    features = Features([Numeric("age"), Vocabulary("item")]).fit(TRAIN)
    broken = table(item=[1, 1, 1], age=[0.0, np.nan, np.inf])
    with pytest.raises(DataError, match=r"'age'.* 2 of 3 rows.* row 1"):
        features.transform(broken)
    with pytest.raises(DataError, match="lacks the column 'item'"):
        features.transform(table(age=[1.0]))
    with pytest.raises(DataError, match="no rows"):
        features.transform(TRAIN.take(slice(0)))
    with pytest.raises(DataError, match=r"'item' held integers.* strings now"):
        features.transform(table(item=["a"], age=[1.0]))
    with pytest.raises(DataError, match=r"'age' must hold integers or str"):
        Features([Vocabulary("age")]).fit(TRAIN)
    with pytest.raises(DataError, match=r"'kind' must hold numbers"):
        Features([Numeric("kind")]).fit(TRAIN)
    strict = Features([Vocabulary("item", unknown="error")]).fit(TRAIN)
    with pytest.raises(DataError, match=r"'item'.* 1 values.* 77 in row 1"):
        strict.transform(table(item=[10, 77]))
    with pytest.raises(UsageError, match="not fitted"):
        Features([Vocabulary("item")]).transform(TRAIN)
    with pytest.raises(UsageError, match="of another column or kind"):
        Features([Numeric("age"), Numeric("age", standardize=False)])
