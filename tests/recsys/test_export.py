import numpy as np
import pytest

from keras_multi import backend
from keras_multi.errors import UsageError
from keras_multi.export import FORMATS
from recsys.export import export
from tests.recsys.two_stage_case import make


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifact")
    make().save(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("format_", FORMATS)
def test_another_runtime_gives_the_same(artifact, tmp_path, format_):
    if backend.name() not in FORMATS[format_]:
        able = " or ".join(FORMATS[format_])
        with pytest.raises(UsageError, match=f"KERAS_BACKEND to {able}"):
            export(artifact, tmp_path, format_)
        return
    if format_ == "openvino":
        pytest.importorskip("openvino")
        if backend.name() == "torch":
            with pytest.raises(UsageError, match="KERAS_BACKEND to tensorflow"):
                export(artifact, tmp_path, format_)
            return
    result = export(artifact, tmp_path, format_)
    assert result["backend"] == backend.name()
    assert set(result["models"]) == {"user_tower", "item_tower", "ranker"}
    for model in result["models"].values():
        assert model["largest_difference"] <= 1e-5
    if format_ == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(tmp_path / "ranker.onnx")
        one, many = (
            {
                "categorical": np.ones((rows, 4), np.int32),
                "dense": np.ones((rows, 2), np.float32),
            }
            for rows in (1, 7)
        )
        (alone,) = session.run(None, one)
        (together,) = session.run(None, many)
        np.testing.assert_allclose(
            together, np.repeat(alone, 7, axis=0), rtol=1e-5
        )


def test_an_unknown_format_is_named(artifact, tmp_path):
    with pytest.raises(UsageError, match="onnx, saved_model, litert"):
        export(artifact, tmp_path, "tflite")
