"""The optimizers end where Keras's own end, and where the papers' do."""

import keras
import numpy as np
import pytest

from keras_multi import backend, optimizers

SHAPES = ((4, 3), (3,), (5,))
# Nothing but Keras's own code runs on the others.
STEPS = 200 if backend.name() == "torch" else 6


def gradients(step):
    rng = np.random.default_rng(step)
    scale = 10.0 ** rng.integers(-6, 3)
    return [scale * rng.normal(size=shape) for shape in SHAPES]


def variables(dtype="float32"):
    rng = np.random.default_rng(0)
    return [
        keras.Variable(rng.normal(size=shape), dtype=dtype, name=name)
        for shape, name in zip(SHAPES, ("kernel", "bias", "free"), strict=True)
    ]


def train(optimizer, weights, first=0, last=STEPS):
    for step in range(first, last):
        tensors = [
            keras.ops.convert_to_tensor(g, weights[0].dtype)
            for g in gradients(step)
        ]
        optimizer.apply(tensors, weights)
    return [keras.ops.convert_to_numpy(w.value) for w in weights]


def states(optimizer):
    return {
        v.path.split("/", 1)[1]: keras.ops.convert_to_numpy(v.value)
        for v in optimizer.variables
    }


def same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


OPTIONS = [
    ("Adam", {}),
    ("Adam", {"epsilon": 1e-3, "beta_1": 0.5, "beta_2": 0.9}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"global_clipnorm": 0.5, "weight_decay": 0.1}),
    ("Adam", {"use_ema": True, "ema_overwrite_frequency": 7}),
    ("Adam", {"gradient_accumulation_steps": 3}),
    ("Adam", {"loss_scale_factor": 8.0}),
    ("AdamW", {"weight_decay": 0.1}),
    ("AdamW", {"clipvalue": 0.1}),
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "global_clipnorm": 0.5}),
    ("Adagrad", {}),
    ("Adagrad", {"epsilon": 1e-3, "initial_accumulator_value": 0.0}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_equals_keras(name, options):
    rate = keras.optimizers.schedules.ExponentialDecay(0.02, 10, 0.9)
    results, ends = [], []
    for home in (optimizers, keras.optimizers):
        optimizer = getattr(home, name)(rate, **options)
        if name == "AdamW":
            optimizer.exclude_from_weight_decay(var_names=["bias"])
        results.append(train(optimizer, variables()))
        ends.append(states(optimizer))
    same(*results)
    assert set(ends[0]) == set(ends[1])
    same(ends[0].values(), [ends[1][key] for key in ends[0]])


def test_adam_is_that_of_the_paper():
    """Section 2, in float64: the order in which Keras has epsilon."""
    weights = variables()
    optimizer = optimizers.Adam(0.01, epsilon=1e-4)
    found = train(optimizer, weights, last=5)
    for place, weight in enumerate(variables()):
        x = np.float64(keras.ops.convert_to_numpy(weight.value))
        m = v = 0.0
        for t in range(1, 6):
            g = gradients(t - 1)[place]
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            rate = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            x = x - rate * m / (np.sqrt(v) + 1e-4)
        np.testing.assert_allclose(found[place], x, rtol=1e-5, atol=1e-6)


NAMES = [
    ("Adam", {}),
    ("AdamW", {}),
    ("Adagrad", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
]


@pytest.mark.parametrize(("name", "options"), NAMES)
def test_goes_on_from_a_checkpoint_of_keras_and_back(name, options):
    wanted = train(
        getattr(keras.optimizers, name)(0.02, **options), variables(), last=9
    )
    weights = variables()
    state = {}
    homes = (optimizers, keras.optimizers, optimizers)
    for part, home in enumerate(homes):
        optimizer = getattr(home, name)(0.02, **options)
        optimizer.build(weights)
        if state:
            optimizer.load_own_variables(state)
        found = train(optimizer, weights, 3 * part, 3 * part + 3)
        state = {}
        optimizer.save_own_variables(state)
    same(found, wanted)


def test_is_saved_with_its_model(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizers.AdamW(0.5, weight_decay=0.25), "mse")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert type(loaded) is optimizers.AdamW
    assert loaded.get_config() == model.optimizer.get_config()


def test_low_precision_is_left_to_keras():
    found = [
        train(home.Adam(0.01), variables("bfloat16"), last=5)
        for home in (optimizers, keras.optimizers)
    ]
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(
            a.astype("float32"), b.astype("float32"), rtol=2e-2, atol=2e-2
        )


@pytest.mark.skipif(backend.name() != "torch", reason="PyTorch has strides")
@pytest.mark.parametrize(("name", "options"), NAMES)
def test_the_layout_of_weights_and_gradients_makes_no_difference(name, options):
    """Fused kernels go by the order in memory."""
    values, gradient = np.random.default_rng(0).normal(size=(2, 4, 3))
    ends = []
    for turned in ((False, False), (True, False), (False, True), (True, True)):
        weight = keras.Variable(values, dtype="float32")
        optimizer = getattr(optimizers, name)(0.02, **options)
        optimizer.build([weight])
        if turned[0]:
            weight.value.data = weight.value.data.T.contiguous().T
        tensor = keras.ops.convert_to_tensor(gradient, "float32")
        if turned[1]:
            tensor = tensor.T.contiguous().T
        for _ in range(3):
            optimizer.apply([tensor], [weight])
        ends.append(keras.ops.convert_to_numpy(weight.value))
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], rtol=1e-6)
