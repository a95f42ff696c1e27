"""How long the command line takes to start, which nothing may disturb."""

import os
import subprocess
import sys
import time


def show_help() -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "keras_multi", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )


def show_bare_help():
    code = "import typer; typer.run(lambda: None)"
    subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, check=True
    )


def seconds_of(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_help_is_quick_and_imports_no_framework():
    first = show_help()
    # The disk may have been cold. Half a second is for a machine of today; on
    # a slow one, Typer alone takes long to show the help of one command.
    seconds = min(seconds_of(show_help) for _ in range(3))
    bare = min(seconds_of(show_bare_help) for _ in range(3))
    assert seconds < max(0.5, 2 * bare)
    assert all(
        w in first.stdout for w in ("bench", "compare", "info", "recsys")
    )
    code = (
        "import sys, keras_multi.cli;"
        "print({'keras', 'jax', 'torch', 'tensorflow', 'polars', 'pydantic'}"
        "& set(sys.modules))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "set()"


def test_importing_keras_multi_adds_little_to_keras():
    child = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import keras, keras_multi"],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(
        line
        for line in child.stderr.splitlines()
        if line.split("|")[-1].strip() == "keras_multi"
    )
    assert int(line.split("|")[1]) < 50_000  # microseconds


TRAIN = """
import sys
from pathlib import Path
import keras
import numpy as np
from keras_multi import choose_precision, optimizers, training
from keras_multi.files import read_model, write_model

def build(policy):
    dense = keras.layers.Dense(1, dtype=policy)
    return keras.Sequential([keras.Input((8,)), dense])

folder, rows = Path(sys.argv[1]), np.ones((4, 8), "float32")
choose_precision(build, rows, training=False, cache_dir=folder)
model = build("float32")
rate = keras.optimizers.schedules.CosineDecay(0.1, 2)
model.compile(optimizers.Adam(rate), "mean_squared_error")
training.fit(
    model, (rows, rows[:, :1]), epochs=1, batch_size=2, checkpoint_dir=folder
)
write_model(folder / "model.keras", model)
read_model(folder / "model.keras")
print("tensorflow" in sys.modules)
"""


def test_training_and_saving_do_not_wait_for_tensorflow(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", TRAIN, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = os.environ.get("KERAS_BACKEND") == "tensorflow"
    assert child.stdout.strip() == str(expected)
