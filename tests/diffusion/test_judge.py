import numpy as np
import pytest

from diffusion import data, emoji, judge
from diffusion.recolored import Recolored
from keras_multi.errors import DataError
from keras_multi.presets import write_safetensors


@pytest.fixture(scope="module")
def pairs():
    """Three shapes in two colors."""
    pictures = np.full((6, emoji.SIZE, emoji.SIZE, 3), 255, np.uint8)
    shapes = np.s_[10:20, 10:40], np.s_[10:40, 20:28], np.s_[8:40, 8:40]
    colors = (220, 30, 40), (30, 90, 230)
    for i in range(6):
        pictures[i][shapes[i // 2]] = colors[i % 2]
    return Recolored(pictures, np.arange(6) % 2, np.arange(6) // 2)


def test_learns_color_and_shape_and_comes_back_from_its_file(pairs, tmp_path):
    trained, accuracy = judge.train(pairs, epochs=60, seed=0, progress=False)
    assert accuracy["both"] > 0.9
    assert min(accuracy["color"], accuracy["thing"]) >= accuracy["both"]
    judge.save(trained, tmp_path)
    loaded = judge.load(tmp_path)
    shown = data.variant(pairs.pictures, 0)
    for ours, theirs in zip(
        judge.tell(loaded, shown), judge.tell(trained, shown), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_counts_what_is_right(pairs, monkeypatch):
    told = np.array([0, 1, 1, 1]), np.array([2, 2, 0, 5])
    monkeypatch.setattr(judge, "tell", lambda *_: told)
    pictures = np.zeros((4, 64, 64, 3))
    shares = judge.accuracy(
        None, pictures, np.array([0, 1, 0, 0]), np.array([2, 2, 0, 0])
    )
    assert shares == {"color": 0.5, "thing": 0.75, "both": 0.5}


def test_refuses_other_files(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        judge.load(tmp_path)
    write_safetensors(tmp_path / judge.FILE, {"0": np.zeros(3)}, {})
    with pytest.raises(DataError, match=r"no judge's"):
        judge.load(tmp_path)
