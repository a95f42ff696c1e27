"""Data sets by name: fetched once, verified, cached, split without leaks.

`load` gives a `Table`, a set of equally long NumPy columns. `train_test` gives
the split that results are reported on. Nothing here needs Keras.
"""

from keras_multi.data.cache import default_cache_dir
from keras_multi.data.registry import load, names, train_test
from keras_multi.data.splits import (
    group_split,
    leave_last_out,
    random_split,
    time_split,
)
from keras_multi.data.table import Table

__all__ = [
    "Table",
    "default_cache_dir",
    "group_split",
    "leave_last_out",
    "load",
    "names",
    "random_split",
    "time_split",
    "train_test",
]
