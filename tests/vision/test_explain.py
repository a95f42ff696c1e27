import json

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image
from typer.testing import CliRunner

from keras_multi import backend
from keras_multi.errors import KerasMultiError, UsageError
from vision import grad_cam
from vision.cli import app
from vision.explain import explain, overlay

from .classifier_case import IMAGES, make_model

CLASSES = np.array([0, 1, 2, 0, 1, 2])


def test_the_map_is_that_of_the_gradients():
    model = make_model()
    maps = grad_cam(model, IMAGES, CLASSES)
    features = keras.Variable(model.backbone.predict_on_batch(IMAGES))

    def score():
        logits = model.head(ops.mean(features.value, axis=(1, 2)))
        return ops.sum(ops.take_along_axis(logits, CLASSES[:, None], axis=1))

    _, (gradients,) = backend.value_and_gradients(score, [features])
    gradients = ops.convert_to_numpy(gradients)
    weights = gradients.mean(axis=(1, 2), keepdims=True)  # equation 1
    activations = ops.convert_to_numpy(features)
    expected = np.maximum((weights * activations).sum(axis=3), 0)  # equation 2
    assert expected.max() > 0
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6)


def test_wrong_classes_are_refused():
    with pytest.raises(ValueError, match="Received: classes="):
        grad_cam(make_model(), IMAGES[:1], np.array([3]))


def test_the_overlay_is_red_where_the_map_is_large():
    heat = np.zeros((2, 2))
    heat[0, 1] = 5
    got = np.asarray(overlay(Image.new("RGB", (40, 20)), heat)).astype(int)
    assert got.shape == (20, 40, 3)
    red, _, blue = got[0, -1]
    assert red > blue
    red, _, blue = got[-1, 0]
    assert blue > red
    assert np.ptp(overlay(Image.new("RGB", (4, 4)), heat * 0)) < 50


def test_the_command_line(tmp_path):
    make_model().save(tmp_path / "model.keras")
    photo = tmp_path / "photo.png"
    Image.fromarray(IMAGES[0].astype("uint8")).resize((64, 48)).save(photo)
    out = tmp_path / "overlay.png"
    options = ["--preset", str(tmp_path), "--out", str(out)]
    run = CliRunner().invoke
    result = run(app, ["explain", str(photo), *options, "--json"])
    assert result.exit_code == 0, result.exception
    report = json.loads(result.stdout)
    assert report["backend"] == backend.name()
    assert 1 / 3 <= report["probability"] <= 1
    assert Image.open(out).size == (42, 42)  # 0.875 of 48
    assert Image.open(out).format == "PNG"
    result = run(app, ["explain", str(photo), *options, "--class", "dog"])
    assert result.stdout.startswith("dog (")
    failed = run(app, ["explain", str(photo), *options, "--class", "cow"])
    assert isinstance(failed.exception, UsageError)
    with pytest.raises(KerasMultiError, match="cannot write"):
        explain(photo, tmp_path / "none" / "a.png", str(tmp_path))
    assert explain(photo, out, str(tmp_path), "2")["class"] == "fox"
