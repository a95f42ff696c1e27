"""How training and search grow with a catalogue, in the smallest size."""

import json

import numpy as np
import pytest

from benchmarks import scale
from recsys.catalogue import Catalogue


def test_all_is_measured(capsys, monkeypatch, tmp_path):
    small = {"K": 10, "QUERIES": 2, "WARM_UP": 1, "BATCH": 64}
    for name, value in small.items():
        monkeypatch.setattr(scale, name, value)
    sizes = ("--items", "500", "--users", "50", "--dim", "8", "--steps", "4")
    kept = ["--vectors", str(tmp_path / "vectors.npz")]
    scale.main([*sizes, *kept, "--no-search"])
    trained = json.loads(capsys.readouterr().out)
    assert len(trained["training"]["loss"]) == 4
    assert "search" not in trained
    scale.main([*sizes, *kept, "--ann", "hnsw"])
    result = json.loads(capsys.readouterr().out)
    assert result["items"] == 500
    assert "training" not in result
    found = result["search"]
    assert 0 < found["recall_at_100"] <= 1
    assert found["hnsw"]["recall"] > 0.8
    for batch, ratio in found["hnsw"]["times_the_exact_rate"].items():
        exact = found["exact"]["ms"][batch]["median"]
        own = found["hnsw"]["ms"][batch]["median"]
        assert ratio == pytest.approx(exact / own, abs=0.051)


@pytest.mark.parametrize("sparse", [True, False])
def test_training_learns(sparse, monkeypatch):
    monkeypatch.setattr(scale, "BATCH", 64)
    monkeypatch.setattr(scale, "WARM_UP", 1)
    catalogue = Catalogue(num_items=1000, num_users=100, num_topics=200)
    model = scale.build(catalogue, 16, sparse)
    losses = scale.train(model, catalogue, steps=160)["loss"]
    assert losses[-1] < 0.6 * losses[0]
    assert losses[-1] < np.log(64)


def test_vectors_of_other_sizes_are_refused(capsys, tmp_path):
    path = tmp_path / "vectors.npz"
    np.savez(path, items=np.zeros((9, 8)), users=np.zeros((1, 8)))
    with pytest.raises(SystemExit):
        scale.main(["--items", "500", "--dim", "8", "--vectors", str(path)])
    assert "other sizes" in capsys.readouterr().err
