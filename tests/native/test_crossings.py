"""A model learns the same from the same rows, whatever pipeline brings them."""

import importlib
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "docs/native"


@pytest.mark.slow
def test_trains_alike_from_each_pipeline(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    crossings = importlib.import_module("crossings")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 3)).astype("float32")
    y = rng.standard_normal((20, 1)).astype("float32")
    weights = {}
    for name, make in crossings.pipelines().items():
        model = crossings.build(3)
        model.fit(make(x, y, 8), shuffle=False, verbose=0)
        weights[name] = model.get_weights()
    assert "NumPy" in weights
    for name, found in weights.items():
        for ours, theirs in zip(found, weights["NumPy"], strict=True):
            np.testing.assert_allclose(
                ours, theirs, rtol=1e-5, atol=1e-6, err_msg=name
            )
