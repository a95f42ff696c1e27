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


def test_help_is_quick_and_imports_no_framework():
    start = time.perf_counter()
    first = show_help()
    seconds = time.perf_counter() - start
    for _ in range(2):  # the disk may have been cold
        start = time.perf_counter()
        show_help()
        seconds = min(seconds, time.perf_counter() - start)
    assert seconds < 0.5
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
