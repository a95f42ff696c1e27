import pytest

from keras_multi.inference import timing


@pytest.fixture(autouse=True)
def brief(monkeypatch, tmp_path):
    """Measures each thing once, and remembers it for this test alone."""
    monkeypatch.setattr(timing, "ROUNDS", range(1, 2))
    monkeypatch.setattr(timing, "WARM_UPS", 0)
    monkeypatch.setenv("KERAS_MULTI_CACHE", str(tmp_path))
