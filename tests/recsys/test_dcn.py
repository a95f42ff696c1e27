import keras
import numpy as np
import pytest
from keras import ops

from keras_multi import backend
from recsys import DCN

SIZES, DENSE, DIM, ROWS = (5, 3), 2, 4, 6


def make_inputs(seed=0):
    rng = np.random.default_rng(seed)
    ids = np.stack([rng.integers(n, size=ROWS) for n in SIZES], axis=1)
    return {
        "categorical": ids.astype("int32"),
        "dense": rng.normal(size=(ROWS, DENSE)).astype("float32"),
    }


def make_model(**changes):
    backend.seed(1)
    options = {"embedding_dim": DIM, "deep_units": (7, 5), "output_bias": 0.5}
    model = DCN(SIZES, DENSE, **{**options, **changes})
    model(make_inputs())
    rng = np.random.default_rng(2)
    model.set_weights(
        [rng.normal(scale=0.4, size=w.shape) for w in model.get_weights()]
    )
    return model


def numpy_dcn(weights, inputs, crosses, structure, low_rank=False):
    """Equations 1 and 2 of DCN V2 and the two structures, in float64."""
    weights = iter(weights)
    table = next(weights)
    ids = inputs["categorical"]
    rows = [table[ids[:, 0]], table[SIZES[0] + ids[:, 1]]]
    x0 = np.concatenate([*rows, inputs["dense"]], axis=1)
    x = x0
    for _ in range(crosses):
        product = x @ next(weights)
        if low_rank:
            product = product @ next(weights)
        x = x0 * (product + next(weights)) + x
    deep = x if structure == "stacked" else x0
    for _ in range(2):
        deep = np.maximum(deep @ next(weights) + next(weights), 0)
    if structure == "parallel" and crosses:
        deep = np.concatenate([x, deep], axis=1)
    return deep @ next(weights) + next(weights)


@pytest.mark.parametrize("structure", ["stacked", "parallel"])
@pytest.mark.parametrize("crosses", [0, 1, 2])
def test_outputs_equal_numpy(structure, crosses):
    model = make_model(structure=structure, num_cross_layers=crosses)
    inputs = make_inputs()
    weights = [np.float64(w) for w in model.get_weights()]
    expected = numpy_dcn(weights, inputs, crosses, structure)
    got = ops.convert_to_numpy(model(inputs))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_low_rank_outputs_equal_numpy():
    model = make_model(projection_dim=2)
    weights = [np.float64(w) for w in model.get_weights()]
    expected = numpy_dcn(weights, make_inputs(), 2, "stacked", low_rank=True)
    got = ops.convert_to_numpy(model(make_inputs()))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_gradients_equal_numpy_differences():
    """One step of SGD moves each weight by the slope of the NumPy model."""
    model = make_model(structure="parallel")
    inputs = make_inputs()
    target = np.linspace(-1, 1, ROWS)[:, None]
    before = [np.float64(w) for w in model.get_weights()]

    def loss(weights):
        error = numpy_dcn(weights, inputs, 2, "parallel") - target
        return float(np.mean(error**2))

    rate = 1e-2
    model.compile(keras.optimizers.SGD(rate), "mse")
    model.train_on_batch(inputs, target)
    rng = np.random.default_rng(3)
    for i, after in enumerate(model.get_weights()):
        direction = rng.normal(size=after.shape)
        shifted = [
            [w + s * direction if j == i else w for j, w in enumerate(before)]
            for s in (1e-6, -1e-6)
        ]
        slope = (loss(shifted[0]) - loss(shifted[1])) / 2e-6
        got = np.sum((before[i] - np.float64(after)) / rate * direction)
        assert got == pytest.approx(slope, rel=2e-3, abs=2e-3)


def test_it_represents_a_planted_cross_exactly():
    """One cross layer and a linear unit hold every quadratic form."""
    model = DCN((), 2, num_cross_layers=1, deep_units=())
    x = np.random.default_rng(0).normal(size=(50, 2)).astype("float32")
    model({"dense": x})
    kernel = np.array([[0.0, 3.0], [0.0, 0.0]])
    weights = [kernel, [0.0, 0.0], [[0.0], [1.0]], [0.25]]
    model.set_weights([np.array(w) for w in weights])
    got = ops.convert_to_numpy(model({"dense": x}))[:, 0]
    expected = 3 * x[:, 0] * x[:, 1] + x[:, 1] + 0.25
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"structure": "parallel", "projection_dim": 2, "num_experts": 2},
        {"deep_units": (), "embeddings_regularizer": keras.regularizers.L2()},
        {"num_cross_layers": 0, "dropout": 0.1},
    ],
)
def test_a_saved_model_comes_back(tmp_path, options):
    model = make_model(**options)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model(make_inputs())),
        ops.convert_to_numpy(loaded(make_inputs())),
    )
    assert loaded.get_config() == model.get_config()


@pytest.mark.parametrize(
    "policy", ["float32", "bfloat16", "mixed_bfloat16", "mixed_float16"]
)
def test_logits_are_float32_under_every_policy(policy):
    model = make_model(dtype=policy)
    output = model(make_inputs())
    assert keras.backend.standardize_dtype(output.dtype) == "float32"
    reference = ops.convert_to_numpy(make_model()(make_inputs()))
    np.testing.assert_allclose(
        ops.convert_to_numpy(output), reference, rtol=0.1, atol=0.2
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocabulary_sizes": (0,)}, "vocabulary_sizes"),
        ({"vocabulary_sizes": (), "num_dense": 0}, "at least one feature"),
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"num_cross_layers": -1}, "num_cross_layers"),
        ({"num_cross_layers": 0, "deep_units": ()}, "num_cross_layers"),
        ({"structure": "both"}, "structure"),
        ({"dropout": 1.0}, "Received"),
        ({"num_experts": 2}, "projection_dim"),
    ],
)
def test_bad_arguments_are_named(options, message):
    good = {"vocabulary_sizes": SIZES, "num_dense": DENSE}
    with pytest.raises(ValueError, match=message):
        DCN(**{**good, **options})


def test_bad_inputs_are_named():
    model = make_model()
    good = make_inputs()
    floats = good["categorical"].astype("float32")
    with pytest.raises(ValueError, match="integers"):
        model({**good, "categorical": floats})
    with pytest.raises(ValueError, match=r"dense.*\(batch, 2\)"):
        model({**good, "dense": good["dense"][:, :1]})
    with pytest.raises(ValueError, match="categorical"):
        model({"dense": good["dense"]})


def test_traces_whole_and_gives_the_same():
    """One graph on PyTorch, XLA on the others; static shapes all through."""
    rng = np.random.default_rng(3)
    inputs = {
        "categorical": ops.convert_to_tensor(
            rng.integers(0, 7, (6, 3)), "int32"
        ),
        "dense": ops.convert_to_tensor(rng.normal(size=(6, 4)), "float32"),
    }
    model = DCN((7, 7, 7), 4, embedding_dim=4, deep_units=(8,))
    expected = ops.convert_to_numpy(model(inputs))

    def call(inputs):
        return model(inputs)

    if backend.name() == "torch":
        import torch

        torch._dynamo.reset()
        compiled = torch.compile(call, fullgraph=True, backend="eager")
    else:
        compiled = backend.jit(call)
    np.testing.assert_allclose(
        ops.convert_to_numpy(compiled(inputs)), expected, rtol=1e-5, atol=1e-6
    )
