import dataclasses
import json

import keras
import numpy as np
import pytest

from keras_multi import backend, choose_precision, precision
from keras_multi.errors import UsageError
from keras_multi.precision import FLOAT32, Trial, fastest, settled
from tests import precision_case

LOW = "mixed_bfloat16"
ROWS = np.random.default_rng(0).standard_normal((16, 8), "float32")
TARGETS = ROWS.sum(axis=1, keepdims=True)


class Work:
    """Work that takes as long as it is told, by a clock of its own."""

    def __init__(self, monkeypatch, seconds, outputs=None):
        self.now, self.made, self.runs = 0.0, [], []
        self.seconds = seconds
        self.outputs = outputs or dict.fromkeys(seconds, np.ones(2))
        monkeypatch.setattr("time.perf_counter", lambda: self.now)
        monkeypatch.setattr(precision, "_slow_product", lambda candidate: None)

    def make(self, policy):
        self.made.append(policy)
        return Trial(self.outputs[policy], lambda: self._run(policy))

    def _run(self, policy):
        self.runs.append(policy)
        taken = self.seconds[policy]
        self.now += taken() if callable(taken) else taken


@pytest.mark.parametrize(
    ("seconds", "chosen"), [(0.5, LOW), (0.96, LOW), (0.98, FLOAT32)]
)
def test_takes_what_is_faster_by_more_than_noise(monkeypatch, seconds, chosen):
    work = Work(monkeypatch, {FLOAT32: 1.0, LOW: seconds})
    choice = fastest(work.make, None)
    assert choice.precision == chosen
    assert f"{seconds:.2f}" in choice.reason


def test_keeps_float32_where_only_most_rounds_were_faster(monkeypatch):
    times = iter([0.9, 0.9, 0.9, 0.9, 1.3] * 20)
    work = Work(monkeypatch, {FLOAT32: 1.0, LOW: lambda: next(times)})
    assert fastest(work.make, None).precision == LOW
    times = iter([0.9, 0.9, 1.3] * 20)
    assert fastest(work.make, None).precision == FLOAT32


def test_stops_soon_when_bfloat16_loses(monkeypatch):
    work = Work(monkeypatch, {FLOAT32: 1.0, LOW: 100.0})
    choice = fastest(work.make, None)
    assert choice.precision == FLOAT32
    assert "100.00" in choice.reason
    assert work.runs.count(LOW) == 2


def test_makes_no_model_where_products_lose(monkeypatch):
    work = Work(monkeypatch, {FLOAT32: 1.0, LOW: 0.1})
    monkeypatch.undo()
    seconds = iter([1.0, 9.0])
    monkeypatch.setattr(
        precision, "_product_seconds", lambda work, x: next(seconds)
    )
    choice = fastest(work.make, None)
    assert choice.precision == FLOAT32
    assert "9 times as long" in choice.reason
    assert work.made == []


@pytest.mark.parametrize("value", [1.2, np.nan])
def test_keeps_float32_where_values_differ(monkeypatch, value):
    outputs = {FLOAT32: np.ones(2), LOW: np.array([1.0, value])}
    work = Work(monkeypatch, {FLOAT32: 1.0, LOW: 0.1}, outputs)
    assert fastest(work.make, None).precision == FLOAT32


def test_keeps_float32_where_bfloat16_fails(monkeypatch):
    work = Work(monkeypatch, {FLOAT32: 1.0})
    choice = fastest(work.make, None)
    assert choice == (FLOAT32, f"{LOW} raises KeyError: '{LOW}'")


def test_remembers_for_each_problem(monkeypatch, tmp_path):
    work = Work(monkeypatch, {FLOAT32: 1.0, LOW: 0.5})
    first = fastest(work.make, "a", cache_dir=tmp_path)
    work.seconds[LOW] = 2.0
    assert fastest(work.make, "a", cache_dir=tmp_path) == first
    assert work.made == [FLOAT32, LOW]
    assert fastest(work.make, "b", cache_dir=tmp_path).precision == FLOAT32
    assert fastest(work.make, "b", cache_dir=tmp_path).precision == FLOAT32
    assert work.made == [FLOAT32, LOW] * 2


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 3}'])
def test_measures_anew_after_damage(monkeypatch, tmp_path, content):
    work = Work(monkeypatch, {FLOAT32: 1.0, LOW: 0.5})
    (tmp_path / precision.FILE).write_text(content)
    for _ in range(2):
        assert fastest(work.make, "a", cache_dir=tmp_path).precision == LOW
    assert work.made == [FLOAT32, LOW]


def test_does_not_believe_an_unknown_decision(monkeypatch, tmp_path):
    work = Work(monkeypatch, {FLOAT32: 1.0, LOW: 0.5})
    fastest(work.make, "a", cache_dir=tmp_path)
    path = tmp_path / precision.FILE
    path.write_text(path.read_text().replace(f'"{LOW}: ', '"float1: '))
    assert fastest(work.make, "a", cache_dir=tmp_path).precision == LOW
    assert work.made == [FLOAT32, LOW] * 2


def test_works_where_nothing_can_be_written(monkeypatch, tmp_path):
    work = Work(monkeypatch, {FLOAT32: 1.0, LOW: 0.5})
    (tmp_path / "file").touch()
    for _ in range(2):
        choice = fastest(work.make, "a", cache_dir=tmp_path / "file")
        assert choice.precision == LOW


def _model(policy, units=4, compiled=True):
    backend.seed(0)
    keras.config.set_dtype_policy(policy)
    layers = [
        keras.Input((8,)),
        keras.layers.Dense(units, "relu"),
        keras.layers.Dropout(0.1),
        keras.layers.Dense(1),
    ]
    model = keras.Sequential(layers)
    if compiled:
        model.compile("adam", "mse")
    return model


@pytest.fixture
def counted(monkeypatch):
    """Lets bfloat16 win, and counts the models."""
    made = []

    def build(policy, **options):
        made.append(policy)
        return _model(policy, **options)

    precision_case.use(monkeypatch, 0.5)
    build.made = made
    return build


@pytest.mark.parametrize("training", [True, False])
def test_chooses_for_a_model(counted, training, tmp_path):
    for _ in range(2):
        choice = choose_precision(
            counted, ROWS, TARGETS, training=training, cache_dir=tmp_path
        )
        assert choice.precision == LOW
    # The model in float32 tells whether the decision is known.
    assert counted.made == [FLOAT32, LOW, FLOAT32]
    assert keras.config.dtype_policy().name == FLOAT32


def test_tells_models_and_batches_apart(counted, tmp_path):
    def choose(rows, **options):
        return choose_precision(
            lambda policy: counted(policy, **options),
            ROWS[:rows],
            training=False,
            cache_dir=tmp_path,
        )

    for rows, units in ((16, 4), (8, 4), (16, 5)):
        choose(rows, units=units)
        choose(rows, units=units)
    assert counted.made == [FLOAT32, LOW, FLOAT32] * 3


def test_a_model_to_train_must_be_compiled(counted, tmp_path):
    with pytest.raises(UsageError, match="not compiled"):
        choose_precision(
            lambda policy: counted(policy, compiled=False),
            ROWS,
            TARGETS,
            training=True,
            cache_dir=tmp_path,
        )


@pytest.mark.parametrize("training", [True, False])
def test_measures_a_model(training, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "SECONDS", 0.05)
    monkeypatch.setattr(precision, "LOST_PRODUCT", float("inf"))
    choice = choose_precision(
        _model, ROWS, TARGETS, training=training, cache_dir=tmp_path
    )
    assert choice.precision in (FLOAT32, LOW)
    (known,) = json.loads((tmp_path / precision.FILE).read_text()).values()
    assert list(known.values()) == [str(choice)]


def test_probes_the_products_of_this_machine():
    choice = precision._slow_product(LOW)
    assert choice is None or choice.precision == FLOAT32


@dataclasses.dataclass(frozen=True)
class Recipe:
    precision: str
    batch_size: int = 4


def test_settles_a_recipe(counted, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_MULTI_CACHE", str(tmp_path))

    def build(recipe):
        return counted(recipe.precision)

    def data(recipe):
        assert recipe.precision == FLOAT32
        return ROWS, TARGETS

    assert settled(Recipe("auto"), build, data) == Recipe(LOW)
    assert LOW in capsys.readouterr().err
    counted.made.clear()
    assert settled(Recipe("bfloat16"), build, data) == Recipe("bfloat16")
    assert counted.made == []
