import json
import math

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image
from typer.testing import CliRunner

from keras_multi import backend, training
from keras_multi.errors import DataError, KerasMultiError, UsageError
from keras_multi.layers import Pipeline
from tests import precision_case
from vision import ablation
from vision.augment import pipeline
from vision.augmented import Augmented
from vision.cli import app
from vision.evaluate import evaluate, load_run
from vision.fitting import HEAD, make_optimizer
from vision.recipe import Recipe
from vision.train import build, train

FILES = {
    "confusion.png",
    "curves.png",
    "history.json",
    "metrics.json",
    "model.keras",
    "recipe.json",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Dark and bright images, 20 of each."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name, level in (("bright", 180), ("dark", 20)):
        (folder / name).mkdir()
        for i in range(20):
            pixels = level + rng.integers(0, 60, (12, 12, 3))
            image = Image.fromarray(pixels.astype("uint8"))
            image.save(folder / name / f"{i}.png")
    return str(folder)


def recipe(data, **changes):
    options = {
        "model": "resnet",
        "depths": (1,),
        "widths": (4,),
        "image_size": 8,
        "augment": ("flip", "cutmix"),
        "epochs": 3,
        "batch_size": 16,
        "warmup_epochs": 1,
        "learning_rate": 0.2,
    }
    return Recipe.of(data, **{**options, **changes})


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """The folder of a run, and what it gave."""
    folder = tmp_path_factory.mktemp("run")
    return folder, train(recipe(data), folder)


def test_a_run_is_saved_and_evaluates_to_the_same_figures(data, finished):
    folder, result = finished
    assert {path.name for path in folder.iterdir()} == FILES
    assert json.loads((folder / "metrics.json").read_text()) == result
    assert result["images"] == {"train": 32, "test": 8}
    assert result["epochs"] == 3
    again = evaluate(folder)
    assert again["test"] == pytest.approx(result["test"], rel=1e-5)
    run = load_run(folder)
    assert run.recipe == recipe(data)
    assert run.model.class_names == ("bright", "dark")
    assert run.model.image_size == 8


@pytest.fixture(scope="module")
def classifier(data):
    return build(recipe(data), ("bright", "dark"))


class KilledError(Exception):
    """In place of a signal."""


def test_a_killed_run_goes_on_exactly(data, finished, tmp_path, monkeypatch):
    def stop(batch, logs):
        stop.steps += 1
        if stop.steps == 4:  # in the second epoch
            raise KilledError

    stop.steps = 0
    fit = training.fit
    halt = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    with monkeypatch.context() as patch:
        patch.setattr(
            training, "fit", lambda *a, **k: fit(*a, callbacks=[halt], **k)
        )
        with pytest.raises(KilledError):
            train(recipe(data), tmp_path)
    with pytest.raises(KerasMultiError, match="settings"):
        train(recipe(data, label_smoothing=0.2), tmp_path)
    result = train(recipe(data), tmp_path)
    folder, expected = finished
    assert result["test"] == expected["test"]
    histories = [
        json.loads((place / "history.json").read_text())
        for place in (folder, tmp_path)
    ]
    assert histories[0] == histories[1]


@pytest.mark.slow
def test_fine_tuning_trains_the_head_first(data, tmp_path, monkeypatch):
    wanted = recipe(
        data,
        model="MobileNetV2",
        image_size=32,
        epochs=2,
        warmup_epochs=0,
        frozen_epochs=1,
    )
    made = {}

    def small(*_, **__):
        made["model"] = model = build(recipe(data), ("bright", "dark"))
        model.backbone.trainable = False
        model.image_size = wanted.image_size
        made["before"] = model.backbone.get_weights()
        return model

    fits = []
    fit = training.fit

    def recorded(model, *arguments, **options):
        classifier = model.classifier
        fits.append(
            (options["epochs"], len(classifier.backbone.trainable_weights))
        )
        history = fit(model, *arguments, **options)
        after = zip(
            made["before"], classifier.backbone.get_weights(), strict=True
        )
        fits.append(all(np.array_equal(a, b) for a, b in after))
        return history

    monkeypatch.setattr("vision.train.build", small)
    monkeypatch.setattr(training, "fit", recorded)
    result = train(wanted, tmp_path)
    (first, kept, second, still) = fits
    assert (first, kept) == ((1, 0), True)
    assert second[0] == 1
    assert second[1] > 0
    assert not still
    assert result["epochs"] == 2
    assert not (tmp_path / HEAD).exists()
    history = json.loads((tmp_path / "history.json").read_text())
    assert len(history["metrics"]["loss"]) == 2


@pytest.mark.slow
def test_early_stopping_keeps_images_apart(data, tmp_path):
    wanted = recipe(
        data,
        patience=1,
        augment=(),
        learning_rate=1e-6,
        epochs=6,
        batch_size=14,
        precision="mixed_bfloat16",
    )
    result = train(wanted, tmp_path)
    assert result["stopped_early"]
    assert result["images"] == {"train": 28, "validation": 4, "test": 8}


@pytest.mark.parametrize("low", [0.5, 2.0])
def test_the_precision_is_chosen(data, tmp_path, monkeypatch, low):
    monkeypatch.setenv("KERAS_MULTI_CACHE", str(tmp_path / "cache"))
    precision_case.use(monkeypatch, low)
    arguments = ["train", "--data", data, "--model", "resnet", "--json"]
    for setting in (
        *("epochs=1", "depths=[1]", "widths=[4]", "image_size=8"),
        *("warmup_epochs=0", "augment=[]", "precision=auto"),
    ):
        arguments += ["--set", setting]
    run = str(tmp_path / "run")
    result = CliRunner().invoke(
        app, [*arguments, "--output", run], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    chosen = "mixed_bfloat16" if low < 1 else "float32"
    assert chosen in result.stderr
    saved = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert saved["precision"] == chosen


def steps_of(optimizer, weights, gradients):
    """What an optimizer makes of a kernel and a bias, in Keras."""
    variables = [keras.Variable(w) for w in weights]
    optimizer.exclude_from_weight_decay([variables[1]])
    for one in gradients:
        optimizer.apply([ops.convert_to_tensor(g) for g in one], variables)
    return optimizer, variables


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_optimizer_follows_the_papers(data, classifier, accumulation):
    """Against a loop in NumPy: rate, Nesterov momentum, decay and average."""
    wanted = recipe(
        data,
        batch_size=10,
        epochs=3,
        weight_decay=0.1,
        ema=0.9,
        accumulation=accumulation,
    )
    optimizer = make_optimizer(wanted, classifier, images=35, epochs=3)
    rng = np.random.default_rng(0)
    weights = [
        rng.normal(size=shape).astype("float32") for shape in ((3, 2), (2,))
    ]
    gradients = [
        [rng.normal(size=w.shape).astype("float32") for w in weights]
        for _ in range(12)
    ]
    optimizer, variables = steps_of(optimizer, weights, gradients)

    expected = [w.astype(np.float64) for w in weights]
    velocity = [np.zeros_like(w) for w in expected]
    average = [w.copy() for w in expected]
    for step in range(len(gradients)):
        if step < 4:  # an epoch has four steps
            rate = 0.2 * step / 4
        else:
            rate = 0.1 * (1 + math.cos(math.pi * (step - 4) / 8))
        if (step + 1) % accumulation == 0:
            group = gradients[step + 1 - accumulation : step + 1]
            for i, w in enumerate(expected):
                gradient = np.mean([g[i] for g in group], axis=0)
                if w.ndim > 1:
                    w -= rate * 0.1 * w
                velocity[i] = 0.9 * velocity[i] - rate * gradient
                w += 0.9 * velocity[i] - rate * gradient
        momentum = 0.9 if step // accumulation else 0.0
        for i, w in enumerate(expected):
            average[i] = momentum * average[i] + (1 - momentum) * w
    for found, w in zip(variables, expected, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(found), w, rtol=1e-4, atol=1e-5
        )
    optimizer.finalize_variable_values(variables)
    for found, w in zip(variables, average, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(found), w, rtol=1e-4, atol=1e-5
        )


def test_norms_and_biases_do_not_decay(data, classifier):
    wanted = recipe(data, optimizer="adamw", weight_decay=0.5)
    optimizer = make_optimizer(wanted, classifier, images=32, epochs=3)
    decays = {
        v.path.split("/")[-1]
        for v in classifier.trainable_variables
        if optimizer._use_weight_decay(v)
    }
    assert decays == {"kernel"}


def test_the_loss_is_that_of_the_mixed_labels():
    """Against the cross entropy in NumPy, of images that tell their labels."""
    images = np.zeros((6, 4, 4, 6), "uint8")
    images[np.arange(6), :, :, np.arange(6)] = 255
    classifier = keras.Sequential(
        [
            keras.Input((4, 4, 6)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Rescaling(1 / 255),
        ]
    )
    model = Augmented(classifier, pipeline(["cutmix"], 4, 6, seed=3), 6)
    model.compile(
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=0.1
        )
    )
    batch = {"images": images, "labels": np.arange(6)}
    found = model(batch, training=True)
    shares = ops.convert_to_numpy(found["targets"])
    assert ((shares > 0) & (shares < 1)).any()
    np.testing.assert_allclose(
        ops.convert_to_numpy(found["logits"]), shares, atol=1e-5
    )
    smooth = 0.9 * shares + 0.1 / 6
    log_sum = np.log(np.exp(shares).sum(1, keepdims=True))
    expected = -(smooth * (shares - log_sum)).sum(1).mean()
    loss = model.compute_loss(batch, None, found)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    at_rest = model(batch, training=False)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(at_rest["targets"]), np.eye(6)
    )


def test_augmentations_have_one_order_and_one_seed():
    names = ["cutmix", "mixup", "erasing", "rand-m3-n1", "flip", "crop"]
    layer = pipeline(names, 32, 10, seed=1)
    assert isinstance(layer, Pipeline)
    assert [type(one).__name__ for one in layer.layers] == [
        "RandomResizedCrop",
        "RandomFlip",
        "RandAugment",
        "RandomErasing",
        "CutMixOrMixUp",
    ]
    assert layer.layers[2].magnitude == 3
    seeds = [one.seed for one in layer.layers]
    assert len(set(seeds)) == 5
    assert seeds == [one.seed for one in pipeline(names, 32, 10, 1).layers]
    with pytest.raises(UsageError, match="magnitude"):
        pipeline(["rand-m50"], 32, 10)


def test_an_ablation_trains_each_setting(data, tmp_path, monkeypatch):
    calls = []

    def fake(one, count, folder, progress):
        calls.append((one.augment, folder.name))
        score = len(one.augment) / 10
        return {
            "seeds": list(range(count)),
            "test": {"accuracy": score},
            "test_std": {"accuracy": 0.01},
            "runs": [{"seconds": 2.0}, {"seconds": 4.0}],
        }

    monkeypatch.setattr(ablation, "train_seeds", fake)
    monkeypatch.chdir(tmp_path)
    arguments = ["ablation", "--data", data, "--seeds", "2", "--json"]
    arguments += ["--output", str(tmp_path)]
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 0, outcome.output
    result = json.loads(outcome.stdout)
    assert list(result["settings"]) == list(ablation.SETTINGS)
    assert result["settings"]["all"]["test"]["accuracy"] == 0.3
    assert result["settings"]["none"]["seconds"] == 3.0
    assert [name for _, name in calls] == [
        name.lower() for name in ablation.SETTINGS
    ]
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert "RandAugment" in CliRunner().invoke(app, arguments[:-3]).stdout


@pytest.mark.slow
def test_the_commands(data, finished, tmp_path):
    folder, result = finished
    run = CliRunner().invoke(app, ["evaluate", str(folder), "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)
    assert found["backend"] == backend.name()
    assert found["test"] == pytest.approx(result["test"], rel=1e-5)

    out = tmp_path / "sheet.png"
    arguments = ["augment", data, "--out", str(out), "--augment", "flip"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    assert out.exists()

    toml = tmp_path / "recipe.toml"
    toml.write_text(
        'model = "resnet"\ndepths = [1]\nwidths = [4]\nimage_size = 8\n'
        "epochs = 9\nwarmup_epochs = 0\n"
    )
    arguments = ["train", "--data", data, "--output", str(tmp_path / "run")]
    arguments += ["--config", str(toml), "--augment", "none", "--epochs", "1"]
    run = CliRunner().invoke(app, [*arguments, "--set", "dropout=0", "--json"])
    assert run.exit_code == 0, run.output
    saved = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert (saved["epochs"], saved["dropout"], saved["augment"]) == (1, 0.0, [])
    assert json.loads(run.stdout)["test"].keys() == result["test"].keys()


def test_a_folder_without_a_run_is_refused(tmp_path, finished):
    with pytest.raises(DataError, match="finished training run"):
        evaluate(tmp_path)
    folder, _ = finished
    for name in ("metrics.json", "model.keras"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(DataError, match="does not hold a recipe"):
        evaluate(tmp_path)
