import numpy as np
import pytest
from PIL import Image

from diffusion.interpolate import lerp, slerp
from diffusion.picture import KEY, save, settings_of
from keras_multi.errors import DataError, KerasMultiError, UsageError
from tests.diffusion.tiny import picture


def test_settings_come_back_and_pixels_too(tmp_path):
    settings = {"prompt": "naïve 🍎", "seed": 2**32 - 1, "size": [16, 16]}
    save(tmp_path / "a.png", picture(), settings)
    assert settings_of(tmp_path / "a.png") == settings
    np.testing.assert_array_equal(Image.open(tmp_path / "a.png"), picture())


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"must end in \.png"):
        save(tmp_path / "a.jpg", picture(), {})
    with pytest.raises(UsageError, match="Received: float64"):
        save(tmp_path / "a.png", np.zeros((4, 4, 3)), {})
    with pytest.raises(KerasMultiError, match="cannot write"):
        save(tmp_path / "no" / "a.png", picture(), {})
    with pytest.raises(DataError, match="cannot read"):
        settings_of(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(DataError, match="no picture"):
        settings_of(tmp_path / "text.png")
    Image.fromarray(picture()).save(tmp_path / "plain.png")
    with pytest.raises(DataError, match="does not tell"):
        settings_of(tmp_path / "plain.png")
    for text in ("{", "[1]"):
        image = Image.fromarray(picture())
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_text(KEY, text)
        image.save(tmp_path / "damaged.png", pnginfo=info)
        with pytest.raises(DataError, match="damaged"):
            settings_of(tmp_path / "damaged.png")


def test_noise_on_an_arc_keeps_its_variance():
    first, second = np.random.default_rng(0).normal(size=(2, 50, 40))
    points = slerp(first, second, 5)
    np.testing.assert_allclose(points[0], first)
    np.testing.assert_allclose(points[-1], second, atol=1e-12)
    np.testing.assert_allclose(points.std(axis=(1, 2)), 1.0, atol=0.03)
    assert lerp(first, second, 5)[2].std() < 0.75
    np.testing.assert_allclose(slerp(first, 2 * first, 3)[1], 1.5 * first)
