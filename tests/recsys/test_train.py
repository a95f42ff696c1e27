import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics
from typer.testing import CliRunner

from keras_multi import backend, data
from keras_multi.data import Table
from keras_multi.errors import DataError, KerasMultiError, UsageError
from keras_multi.fields import read_settings, read_toml
from keras_multi.training.repeat import finished
from recsys import DCN, seeds
from recsys.cli import app
from recsys.columns import Numeric, Vocabulary
from recsys.data import SPLIT_SEED, load
from recsys.evaluate import evaluate, load_run, metrics, transform
from recsys.features import Features
from recsys.plot import cross_strengths, plot_crosses
from recsys.recipe import Recipe
from recsys.seeds import compare, train_seeds
from recsys.train import train
from tests import precision_case

PNG = b"\x89PNG\r\n\x1a\n"


def tiny(kind, rows=300, seed=0):
    """A table with the columns of a data set, but small."""
    rng = np.random.default_rng(seed)
    pick = lambda values: rng.choice(np.array(values), rows)  # noqa: E731
    if kind == "blender":
        x = {n: pick(np.arange(6) / 6) for n in ("country", "bananas")}
        x["cookbooks"] = pick(np.arange(6) / 6)
        y = 3 * x["bananas"] * x["cookbooks"] + 0.1 * x["country"]
        return Table(kind, x | {"likelihood": y}, target="likelihood")
    x = {
        "user_id": rng.integers(20, size=rows),
        "item_id": rng.integers(15, size=rows),
        "gender": pick(["F", "M"]),
        "zip_code": pick(["1", "2", "3"]),
        "occupation": pick(["a", "b"]),
        "age": rng.integers(10, 70, size=rows),
    }
    y = 3.5 + 0.5 * (x["gender"] == "F") + rng.normal(size=rows) / 4
    return Table(kind, x | {"rating": y.astype("float32")}, target="rating")


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    def train_test(name, **_):
        table = tiny(name)
        return table.take(slice(0, 240)), table.take(slice(240, None))

    monkeypatch.setattr(data, "train_test", train_test)


def recipe(name="movielens-100k", model="dcn", **changes):
    options = {"epochs": 2, "batch_size": 64}
    return Recipe.of(name, model, **{**options, **changes})


def test_a_run_is_saved_and_evaluates_to_the_same_figures(tmp_path):
    result = train(recipe(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "crosses.png",
        "features.json",
        "history.json",
        "metrics.json",
        "model.keras",
        "recipe.json",
    }
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert (tmp_path / "crosses.png").read_bytes().startswith(PNG)
    again = evaluate(tmp_path)
    assert again["test"] == pytest.approx(result["test"], rel=1e-6)
    assert load_run(tmp_path).recipe == recipe()
    # The same training once more gives the same result.
    assert train(recipe(), tmp_path) == result


def test_the_precision_is_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_MULTI_CACHE", str(tmp_path / "cache"))
    precision_case.use(monkeypatch, 0.5)
    options = ["--epochs", "1", "--batch-size", "64", "--precision", "auto"]
    run = tmp_path / "run"
    result = CliRunner().invoke(
        app, ["train", *options, "--output", str(run)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    assert "precision mixed_bfloat16" in result.stderr
    assert load_run(run).recipe.precision == "mixed_bfloat16"
    wanted = recipe(epochs=1, precision="auto")
    assert finished(wanted, run)["epochs"] == 1
    assert finished(recipe(epochs=1), run) is None


@pytest.mark.slow
def test_test_rows_play_no_part_in_training(tmp_path, monkeypatch):
    train(recipe(patience=1), tmp_path / "a")
    table = tiny("movielens-100k")
    strange = table.take(slice(240, None))
    strange.columns["rating"][:] = 1000.0
    strange.columns["user_id"][:] = 777
    monkeypatch.setattr(
        data, "train_test", lambda name: (table.take(slice(240)), strange)
    )
    train(recipe(patience=1), tmp_path / "b")
    a, b = (load_run(tmp_path / run).model for run in "ab")
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_validation_rows_are_kept_apart_from_training_rows():
    split = load("blender", validation=True)
    assert (len(split.train), len(split.validation)) == (216, 24)
    whole = load("blender").train["likelihood"]
    parts = [split.train["likelihood"], split.validation["likelihood"]]
    np.testing.assert_array_equal(
        np.concatenate(parts),
        whole[np.random.default_rng(SPLIT_SEED).permutation(240)],
    )


@pytest.mark.slow
def test_seeds_are_compared_with_the_dnn(tmp_path, monkeypatch):
    result = train_seeds(recipe(), 2, tmp_path)
    assert result["seeds"] == [42, 43]
    dcn, dnn = (
        [run["test"]["rmse"] for run in result["runs"][model]]
        for model in ("dcn", "dnn")
    )
    assert len(set(dcn)) == 2
    assert result["test"]["rmse"] == pytest.approx(np.mean(dcn))
    assert result["test_std"]["rmse"] == pytest.approx(np.std(dcn, ddof=1))
    gaps = np.subtract(dcn, dnn)
    t = gaps.mean() / (gaps.std(ddof=1) / np.sqrt(2))
    p = 2 * stats.t.sf(abs(t), df=1)
    assert result["comparison"]["t_test_p"] == pytest.approx(p)
    # A call that was killed goes on, a finished one starts anew.
    (tmp_path / "metrics.json").unlink()
    trained = []

    def record(one, place, progress):
        trained.append(place.name)
        return result["runs"][one.model][one.seed - 42]

    monkeypatch.setattr(seeds, "train", record)
    assert train_seeds(recipe(), 2, tmp_path) == result
    assert not trained
    assert train_seeds(recipe(), 2, tmp_path) == result
    assert trained == ["dcn-42", "dnn-42", "dcn-43", "dnn-43"]


def test_wilcoxon_of_all_gains_is_the_closed_form():
    """Five pairs with one sign: 2 of the 2^5 sign patterns are as extreme."""
    base = [1.0, 2.0, 3.0, 4.0, 5.0]
    better = [
        v - d for v, d in zip(base, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True)
    ]
    assert compare("rmse", better, base)["wilcoxon_p"] == pytest.approx(2 / 32)


def test_metrics_equal_scikit_learn():
    rng = np.random.default_rng(0)
    target, logits = rng.integers(2, size=90), rng.normal(size=90).round(1)
    got = metrics(target, logits, binary=True)
    share = 1 / (1 + np.exp(-logits))
    assert got["auc"] == pytest.approx(
        sklearn_metrics.roc_auc_score(target, logits)
    )
    assert got["log_loss"] == pytest.approx(
        sklearn_metrics.log_loss(target, share)
    )
    assert got["accuracy"] == np.mean((share > 0.5) == target)
    got = metrics(target, logits, binary=False)
    assert got["rmse"] == pytest.approx(
        sklearn_metrics.root_mean_squared_error(target, logits)
    )
    assert got["mae"] == pytest.approx(
        sklearn_metrics.mean_absolute_error(target, logits)
    )


@pytest.mark.slow
def test_the_planted_cross_stands_out(tmp_path):
    train(
        recipe("blender", epochs=60, batch_size=16, learning_rate=0.1),
        tmp_path,
    )
    run = load_run(tmp_path)
    strengths = cross_strengths(run.model)
    np.fill_diagonal(strengths, 0)
    i, j = np.unravel_index(np.argmax(strengths), strengths.shape)
    assert {run.features.names[i], run.features.names[j]} == {
        "bananas",
        "cookbooks",
    }
    assert np.sort(strengths.ravel())[-3] < strengths.max() / 10


def test_strengths_are_the_coefficients_of_the_polynomial():
    model = DCN((), 2, num_cross_layers=1, deep_units=())
    model({"dense": np.ones((1, 2), "float32")})
    kernel = np.array([[5.0, 3.0], [-2.0, 7.0]])
    weights = [kernel, np.array([0.3, 0.4]), np.array([[2.0], [1.0]])]
    model.set_weights([*weights, np.array([0.1])])
    # 2 x (5 x - 2 y + .3) + y (3 x + 7 y + .4) + ...: x^2 10, xy -1, y^2 7
    np.testing.assert_allclose(
        cross_strengths(model), [[10, 1], [1, 7]], rtol=1e-5
    )


@pytest.mark.parametrize("projection_dim", [None, 2])
@pytest.mark.parametrize("structure", ["stacked", "parallel"])
def test_strengths_of_embeddings_are_norms_of_blocks(projection_dim, structure):
    backend.seed(0)
    model = DCN(
        (3, 4),
        1,
        embedding_dim=2,
        projection_dim=projection_dim,
        structure=structure,
    )
    ids = np.zeros((1, 2), "int32")
    model({"categorical": ids, "dense": np.ones((1, 1), "float32")})
    cross = model.cross.crosses[0]
    kernel = keras.ops.convert_to_numpy(cross.kernel)
    if projection_dim:
        kernel = keras.ops.convert_to_numpy(cross.down_kernel) @ kernel
    if structure == "stacked":
        first = keras.ops.convert_to_numpy(model.deep.blocks[0].kernel)
        weights = np.sqrt((first**2).sum(1))
    else:
        weights = keras.ops.convert_to_numpy(model.output_layer.kernel)[:5, 0]
    strengths = cross_strengths(model)
    a, b, c = slice(0, 2), slice(2, 4), slice(4, 5)
    for i, j, left, right in [(0, 1, a, b), (0, 2, a, c), (1, 2, b, c)]:
        block = kernel[left, right] * weights[right]
        block = block + (kernel[right, left] * weights[left]).T
        expected = np.sqrt((block**2).mean())
        assert strengths[i, j] == pytest.approx(expected, abs=1e-5)
        assert strengths[j, i] == pytest.approx(strengths[i, j])


@pytest.mark.slow
def test_a_dnn_has_no_crosses_to_draw(tmp_path):
    model = DCN((), 1, num_cross_layers=0)
    model({"dense": np.ones((1, 1), "float32")})
    with pytest.raises(ValueError, match="no crosses"):
        plot_crosses(model, Features([Numeric("x")]), tmp_path / "x.png")
    train(recipe(model="dnn"), tmp_path)
    assert not (tmp_path / "crosses.png").exists()


def test_unseen_categories_are_reported(capfd):
    table = tiny("movielens-100k")
    features = Features([Vocabulary("user_id")]).fit(table)
    table.columns["user_id"][:3] = 999
    transform(features, table)
    out, err = capfd.readouterr()
    assert not out
    assert err == (
        "user_id: 3 of 300 rows unseen in training, mapped to 'unknown'\n"
    )


@pytest.mark.slow
def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(DataError, match=r"metrics\.json.* finished"):
        evaluate(tmp_path)
    train(recipe(), tmp_path)
    for name in ("model.keras", "recipe.json", "features.json"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match=re.escape(name)):
            evaluate(tmp_path)
        (tmp_path / name).write_bytes(content)


def test_a_folder_that_cannot_be_written_fails_before_training(
    tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    monkeypatch.setattr(data, "train_test", lambda name: pytest.fail("loaded"))
    with pytest.raises(KerasMultiError, match="cannot make the folder"):
        train(recipe(), tmp_path / "file" / "run")


def test_recipes_are_checked(tmp_path):
    for bad, message in [
        ({"data": "none"}, "choose one of blender"),
        ({"model": "none"}, "choose one of dcn"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": "3"}, "epochs must be of type int"),
        ({"epoch": 3}, "no field 'epoch'"),
        ({"learning_rate": 0}, "learning_rate must be more than 0"),
        ({"dropout": 1.5}, "dropout"),
        ({"num_experts": 2}, "projection_dim"),
        ({"deep_units": (), "model": "dnn"}, "without cross layers"),
    ]:
        with pytest.raises(UsageError, match=message):
            Recipe.of(**{"data": "movielens-100k", **bad})
    path = tmp_path / "recipe.toml"
    path.write_text("epochs = 3\ndeep_units = [8, 4]\nlearning_rate = 1\n")
    made = Recipe.of("blender", **read_toml(path))
    assert (made.epochs, made.deep_units) == (3, (8, 4))
    assert isinstance(made.learning_rate, float)
    path.write_text("epochs = ")
    with pytest.raises(UsageError, match="not valid TOML"):
        read_toml(path)
    with pytest.raises(UsageError, match="cannot read"):
        read_toml(tmp_path / "none.toml")
    settings = [
        "epochs=2",
        "deep_units=[4]",
        "patience=none",
        "structure=stacked",
    ]
    made = Recipe.of("blender", **read_settings(settings))
    assert (made.epochs, made.deep_units, made.patience) == (2, (4,), None)
    assert made.structure == "stacked"
    with pytest.raises(UsageError, match="NAME=VALUE"):
        read_settings(["epochs"])
    with pytest.raises(UsageError, match="epochs must be of type int"):
        Recipe.of("blender", **read_settings(["epochs=two"]))


def test_the_counterpart_keeps_what_was_changed():
    other = Recipe.of("blender", epochs=3).counterpart()
    assert other == Recipe.of("blender", "dnn", epochs=3)
    assert Recipe.of("blender", deep_units=(4,)).counterpart().deep_units == (
        4,
    )


def test_the_command_line(tmp_path):
    run = CliRunner().invoke
    config = tmp_path / "recipe.toml"
    config.write_text("epochs = 1\nbatch_size = 32\nmodel = 'dcn'\n")
    output = str(tmp_path / "run")
    result = run(
        app,
        [
            *("train", "--model", "dnn", "--data", "blender", "--json"),
            *("--backend", backend.name(), "--config", str(config)),
            *("--deep-units", "8,4", "--set", "dropout=0.1"),
            *("--output", output),
        ],
    )
    assert result.exit_code == 0, result.exception
    report = json.loads(result.stdout)
    assert report["model"] == "dnn"
    assert report["data"] == "blender"
    assert report["backend"] == backend.name()
    assert report["epochs"] == 1
    recipe = load_run(output).recipe
    assert (recipe.deep_units, recipe.dropout) == ((8, 4), 0.1)
    assert report["test"]["rmse"] > 0
    result = run(app, ["evaluate", output, "--json"])
    assert json.loads(result.stdout)["test"] == pytest.approx(report["test"])
    assert "rmse" in run(app, ["evaluate", output]).stdout
    failed = run(app, ["train", "--deep-units", "a", "--output", output])
    assert isinstance(failed.exception, UsageError)
    assert Path(output, "metrics.json").exists()


@pytest.mark.slow
def test_the_dcn_learns_the_blender_to_the_last_digits(tmp_path, monkeypatch):
    monkeypatch.undo()
    dcn = train(Recipe.of("blender"), tmp_path)
    assert dcn["test"]["rmse"] <= 0.0005
