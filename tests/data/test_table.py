import numpy as np
import pytest

from keras_multi.data import Table
from keras_multi.errors import UsageError


@pytest.fixture
def table() -> Table:
    columns = {"age": np.array([24, 53, 23]), "job": np.array(["a", "b", "c"])}
    return Table("people", columns, target="age")


def test_length_and_columns(table):
    assert len(table) == 3
    assert table["job"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    "rows", [[2, 0], np.array([2, 0]), slice(None, None, -2)]
)
def test_take_keeps_the_order_asked_for(table, rows):
    part = table.take(rows)
    assert part["age"].tolist() == [23, 24]
    assert part["job"].tolist() == ["c", "a"]
    assert (part.name, part.target) == ("people", "age")


def test_take_by_mask(table):
    assert table.take(table["age"] > 23)["job"].tolist() == ["a", "b"]


@pytest.mark.parametrize("rows", [[3], np.array([True, False])])
def test_rows_that_are_not_there(table, rows):
    with pytest.raises(UsageError, match="'people', which has 3 rows"):
        table.take(rows)


def test_unknown_column_names_the_known(table):
    with pytest.raises(UsageError, match=r"no column 'zip'.*: age, job"):
        table["zip"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"age": np.arange(3), "job": np.arange(2)}, r"'age': 3, 'job': 2"),
        ({"age": np.zeros((2, 1))}, r"one-dimensional.*\(2, 1\)"),
        ({"age": [1, 2]}, "one-dimensional.*list"),
        ({"age": np.array([None, "x"])}, "dtype=object"),
        ({"job": np.arange(3)}, "no column 'age'"),
        ({}, "no column 'age'.*none"),
    ],
)
def test_bad_columns(columns, message):
    with pytest.raises(UsageError, match=message):
        Table("people", columns, target="age")
