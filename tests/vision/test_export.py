import json

import numpy as np
import pytest
from typer.testing import CliRunner

from keras_multi import backend
from keras_multi.errors import KerasMultiError, UsageError
from keras_multi.export import FORMATS, SUFFIXES
from vision.cli import app
from vision.export import export

from .classifier_case import IMAGES, make_model


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    make_model().save(folder / "model.keras")
    return str(folder)


@pytest.mark.parametrize("format_", FORMATS)
def test_another_runtime_gives_the_same(run_folder, tmp_path, format_):
    path = tmp_path / "inner" / f"model{SUFFIXES[format_]}"
    if backend.name() not in FORMATS[format_]:
        able = " or ".join(FORMATS[format_])
        with pytest.raises(UsageError, match=f"KERAS_BACKEND to {able}"):
            export(path, run_folder, format_)
        return
    if format_ == "openvino":
        pytest.importorskip("openvino")
    options = ["--preset", run_folder, "--format", format_, "--json"]
    result = CliRunner().invoke(app, ["export", str(path), *options])
    assert result.exit_code == 0, result.exception
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["largest_difference"] <= 1e-4
    assert report["inputs"] == ["images"]
    if format_ == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path))
        (got,) = session.run(None, {"images": IMAGES})
        expected = make_model().predict(IMAGES, verbose=0)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_a_folder_that_cannot_be_made_is_named(run_folder, tmp_path):
    if backend.name() == "jax":
        with pytest.raises(UsageError, match="jax"):
            export(tmp_path / "model.onnx", run_folder)
        return
    with pytest.raises(UsageError, match=r"must end in \.onnx"):
        export(tmp_path / "model.tflite", run_folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(KerasMultiError, match="cannot make the folder"):
        export(tmp_path / "file" / "model.onnx", run_folder)
