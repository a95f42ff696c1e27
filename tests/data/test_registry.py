import doctest
import subprocess
import sys

import numpy as np
import pytest

from keras_multi import data
from keras_multi.data import registry, splits, table
from keras_multi.errors import UsageError


def test_names():
    assert data.names() == ("adult", "blender", "movielens-100k")


@pytest.mark.parametrize("call", [data.load, data.train_test])
def test_unknown_name_lists_the_known(call):
    known = "adult, blender, movielens-100k"
    with pytest.raises(UsageError, match=f"no data set 'ml-1m'.*{known}"):
        call("ml-1m")


@pytest.mark.parametrize("module", [registry, splits, table])
def test_examples_in_docstrings(module):
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.attempted > 0
    assert result.failed == 0


def test_no_framework_and_no_late_library_is_imported():
    script = (
        "import sys; from keras_multi import data; data.load('blender');"
        "heavy = {'keras', 'jax', 'torch', 'tensorflow', 'polars', 'pooch'};"
        "sys.exit(', '.join(heavy & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert run.stderr.strip() == ""
