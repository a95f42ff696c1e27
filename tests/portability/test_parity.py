"""Outputs, losses and gradients are the same on every backend."""

import os
import subprocess
import sys

import numpy as np
import pytest

from keras_multi import backend

LAYER, MODEL = 1e-5, 1e-4


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    for name in backend.available():
        subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.portability.cases",
                str(folder / f"{name}.npz"),
            ],
            env={**os.environ, "KERAS_BACKEND": name},
            check=True,
        )
    return {
        name: np.load(folder / f"{name}.npz") for name in backend.available()
    }


def test_backends_agree(results):
    assert set(results) == set(backend.BACKENDS)
    reference = results["jax"]
    assert len(reference.files) > 60
    for name in ("torch", "tensorflow"):
        assert results[name].files == reference.files
        for key in reference.files:
            ours, theirs = results[name][key], reference[key]
            model = key.startswith(("dcn", "classifier"))
            tolerance = MODEL if model else LAYER
            scale = max(np.abs(theirs).max(), 1e-3)
            error = np.abs(ours - theirs).max() / scale
            assert error <= tolerance, (name, key, error)
