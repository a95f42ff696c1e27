import keras
import numpy as np
import pytest
from keras import ops

from keras_multi import backend
from recsys import FactorNetwork
from recsys.factor_embedding import FactorEmbedding
from recsys.history import History
from recsys.history_bag import HistoryBag

USERS, ITEMS, DIM = 4, 5, 3
# User, item, rating. User 3 has rated one item only, item 4 has one rater.
RATINGS = [
    (1, 1, 5.0),
    (1, 2, 3.0),
    (1, 3, 1.0),
    (2, 1, 4.0),
    (2, 4, 2.0),
    (3, 2, 2.0),
]
# Pairs to predict: rated, not rated, unknown user, unknown item.
PAIRS = np.array([[1, 2], [2, 3], [3, 2], [0, 1], [2, 0]], "int32")
SIDE_SIZES, PERIODS, DENSE, UNITS = (3, 4), (4, 6), 2, (5, 4)
PLAIN = {"output_bias": 3.0}
SVD_PP = {**PLAIN, "histories": ("user",), "leave_one_out": False}
FULL = {
    **PLAIN,
    "histories": ("user", "item"),
    "explicit": True,
    "side_sizes": SIDE_SIZES,
    "num_periods": PERIODS,
    "num_dense": DENSE,
    "deep_units": UNITS,
}


def make_inputs():
    return {
        "pair": PAIRS,
        "user_side": np.array(
            [[0, 2], [1, -1], [2, 0], [1, 2], [0, 1]], "int32"
        ),
        "item_side": np.array([[3], [1], [0], [2], [1]], "int32"),
        "period": np.array([[1, 2], [3, 5], [0, 1], [2, 0], [1, 4]], "int32"),
        "dense": np.random.default_rng(4).normal(size=(5, DENSE)),
    }


def make_model(**options):
    backend.seed(1)
    model = FactorNetwork(USERS, ITEMS, DIM, **options)
    users, items, values = map(np.array, zip(*RATINGS, strict=True))
    if model.histories:
        model.set_history(users, items, values - 3, values - 2)
    model(make_inputs())
    rng = np.random.default_rng(2)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(scale=0.5, size=weight.shape))
    return model


def layer_weights(layer):
    return [np.float64(ops.convert_to_numpy(w)) for w in layer.weights]


def row(layer, i):
    """A row of a table; the unknown id has none."""
    (table,) = layer_weights(layer)
    return table[i] if i else np.zeros(table.shape[1])


def numpy_bag(layer, asked, other, side, explicit, leave_one_out):
    """Loops over the ratings of a user (side 0) or an item (side 1)."""
    tables = layer_weights(layer)
    total, size = np.zeros(DIM), 0
    for rating in RATINGS:
        mine, its = rating[side], rating[1 - side]
        if mine != asked or (leave_one_out and its == other):
            continue
        total = total + tables[0][its]
        if explicit:
            total = total + (rating[2] - (3, 2)[side]) * tables[1][its]
        size += 1
    return total / np.sqrt(max(size, 1))


def numpy_model(model, inputs):
    """Row by row, with loops, from the equations alone."""
    explicit, loo = model.explicit, model.leave_one_out
    outputs = []
    for n, (u, i) in enumerate(inputs["pair"]):
        p, q = row(model.user_factors, u), row(model.item_factors, i)
        y = np.float64(ops.convert_to_numpy(model.mean))
        y = y + row(model.user_biases, u)[0] + row(model.item_biases, i)[0]
        if "user" in model.histories:
            p = p + numpy_bag(model.user_history, u, i, 0, explicit, loo)
        if "item" in model.histories:
            q = q + numpy_bag(model.item_history, i, u, 1, explicit, loo)
        dense = np.zeros(0)
        if model.num_dense:
            for name, layer in (("user", 0), ("item", 1)):
                bag = inputs[f"{name}_side"][n]
                bag = bag[bag >= 0]
                (table,) = layer_weights(getattr(model, f"{name}_side"))
                side = table[bag].sum(0) / np.sqrt(len(bag))
                p, q = (p + side, q) if layer == 0 else (p, q + side)
            day, period = inputs["period"][n]
            p = p + row(model.day_factors, day)
            y = y + row(model.day_biases, day)[0]
            y = y + row(model.period_biases, period)[0]
            dense = inputs["dense"][n]
            y = y + dense @ layer_weights(model.dense_slopes)[0][:, 0]
        y = y + p @ q
        if model.deep is not None:
            x = np.concatenate([p, q, p * q, dense])
            weights = layer_weights(model.deep)
            for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
                x = np.maximum(x @ kernel + bias, 0)
            kernel, bias = layer_weights(model.deep_output)
            y = y + (x @ kernel + bias)[0]
        outputs.append(y)
    return np.array(outputs)[:, None]


OPTIONS = [
    PLAIN,
    SVD_PP,
    {**SVD_PP, "leave_one_out": True},
    {**SVD_PP, "histories": ("item",), "explicit": True},
    FULL,
    {**FULL, "leave_one_out": False, "deep_units": ()},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_outputs_equal_numpy(options):
    model = make_model(**options)
    got = ops.convert_to_numpy(model(make_inputs()))
    expected = numpy_model(model, make_inputs())
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_svd_pp_is_equation_15():
    """Koren 2008, equation 15, for one user, written out."""
    model = make_model(**SVD_PP)
    mean = float(ops.convert_to_numpy(model.mean))
    (p,), (q,) = (
        layer_weights(model.user_factors),
        layer_weights(model.item_factors),
    )
    (bu,), (bi,) = (
        layer_weights(model.user_biases),
        layer_weights(model.item_biases),
    )
    (y,) = layer_weights(model.user_history)
    rated = y[1] + y[2] + y[3]
    expected = mean + bu[1, 0] + bi[2, 0] + q[2] @ (p[1] + 3**-0.5 * rated)
    got = ops.convert_to_numpy(model({"pair": np.array([[1, 2]])}))
    assert got[0, 0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("options", [PLAIN, SVD_PP, FULL])
def test_gradients_equal_numpy_differences(options):
    """One step of SGD moves each weight by the slope of the NumPy model.

    The slope includes that of the penalties, again by hand.
    """
    options = {**options, "factors_l2": 0.3, "biases_l2": 0.2}
    model = make_model(**options)
    inputs = make_inputs()
    target = np.linspace(-1, 1, len(PAIRS))[:, None]

    def penalty():
        users, items = PAIRS.T
        day, period = inputs["period"].T
        used = [
            (0.3, model.user_factors, users, True),
            (0.3, model.item_factors, items, True),
            (0.2, model.user_biases, users, True),
            (0.2, model.item_biases, items, True),
            (0.3, model.user_history, items, False),
            (0.3, model.item_history, users, False),
            (0.3, model.day_factors, day, True),
            (0.2, model.day_biases, day, True),
            (0.2, model.period_biases, period, True),
        ]
        total = 0.0
        for l2, layer, ids, zero_is_unknown in used:
            for table in layer_weights(layer) if layer is not None else ():
                squares = (table[ids] ** 2).sum(1)
                if zero_is_unknown:
                    squares = squares * (ids > 0)
                total += l2 * squares.mean()
        return total

    def loss():
        error = numpy_model(model, inputs) - target
        return float(np.mean(error**2)) + penalty()

    rate, step = 1e-2, 1e-3
    before = [ops.convert_to_numpy(w) for w in model.trainable_weights]
    model.compile(keras.optimizers.SGD(rate), "mse")
    model.train_on_batch(inputs, target)
    after = [ops.convert_to_numpy(w) for w in model.trainable_weights]
    rng = np.random.default_rng(3)
    for i, weight in enumerate(model.trainable_weights):
        for other, value in zip(model.trainable_weights, before, strict=True):
            other.assign(value)
        direction = rng.normal(size=weight.shape)
        losses = []
        for sign in (1, -1):
            weight.assign(before[i] + sign * step * direction)
            losses.append(loss())
        slope = (losses[0] - losses[1]) / (2 * step)
        moved = np.float64(before[i]) - np.float64(after[i])
        got = np.sum(moved / rate * direction)
        assert got == pytest.approx(slope, rel=1e-2, abs=1e-2), weight.path


def test_a_pair_does_not_see_its_own_rating():
    """Another value of a rating changes others' predictions, not its own."""
    model = make_model(**FULL)
    users, items, values = map(np.array, zip(*RATINGS, strict=True))
    pairs = np.stack([users, items], axis=1).astype("int32")
    rows = len(pairs)
    inputs = {
        name: np.concatenate([part, part])[:rows]
        for name, part in make_inputs().items()
    }
    inputs["pair"] = pairs
    before = ops.convert_to_numpy(model(inputs))
    for n in range(rows):
        other = values.copy()
        other[n] += 1
        model.set_history(users, items, other - 3, other - 2)
        after = ops.convert_to_numpy(model(inputs))
        moved = np.abs(after - before)[:, 0]
        related = (users == users[n]) ^ (items == items[n])
        # But for the rounding of a sum from which it is taken again.
        assert np.all(moved[~related] < 1e-5)
        assert np.all(moved[related] > 1e-3)


def test_a_rated_pair_is_predicted_as_if_it_were_not():
    model = make_model(**FULL)
    users, items, values = map(np.array, zip(*RATINGS, strict=True))
    inputs = {name: part[:1] for name, part in make_inputs().items()}
    assert inputs["pair"].tolist() == [[users[1], items[1]]]
    with_it = ops.convert_to_numpy(model(inputs))
    rest = np.arange(len(users)) != 1
    values = values[rest]
    model.set_history(users[rest], items[rest], values - 3, values - 2)
    without = ops.convert_to_numpy(model(inputs))
    np.testing.assert_allclose(with_it, without, rtol=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_saved_model_comes_back(tmp_path, options):
    model = make_model(**options, factors_l2=0.1, dropout=0.2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model(make_inputs())),
        ops.convert_to_numpy(loaded(make_inputs())),
    )
    assert loaded.get_config() == model.get_config()


@pytest.mark.parametrize(
    "layer",
    [
        FactorEmbedding(3, 2, l2=0.1),
        HistoryBag(3, 2, 4, explicit=True, leave_one_out=False, l2=0.1),
        History(3, 2, explicit=True),
    ],
)
def test_layers_come_back_from_their_config(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_it_trains_and_dropout_is_off_in_prediction():
    model = make_model(**{**FULL, "dropout": 0.5, "factors_l2": 0.01})
    model.compile(keras.optimizers.Adam(0.01), "mse")
    inputs, target = make_inputs(), np.full((len(PAIRS), 1), 2.0)
    before = model.evaluate(inputs, target, verbose=0)
    model.fit(inputs, target, epochs=60, batch_size=5, verbose=0)
    assert model.evaluate(inputs, target, verbose=0) < before / 2
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model(inputs)), ops.convert_to_numpy(model(inputs))
    )
    assert not model.past.trainable_weights


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_ratings_are_float32_under_every_policy(policy):
    output = make_model(**FULL, dtype=policy)(make_inputs())
    assert keras.backend.standardize_dtype(output.dtype) == "float32"
    reference = ops.convert_to_numpy(make_model(**FULL)(make_inputs()))
    np.testing.assert_allclose(
        ops.convert_to_numpy(output), reference, rtol=0.1, atol=0.2
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_users": 0}, "num_users"),
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"histories": ("users",)}, "histories"),
        ({"explicit": True}, "explicit"),
        ({"num_dense": -1}, "num_dense"),
        ({"factors_l2": -1.0}, "factors_l2"),
        ({"dropout": 1.5}, "Received"),
        ({"deep_units": (0,)}, "units"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        FactorNetwork(**{"num_users": USERS, "num_items": ITEMS, **options})


def test_bad_histories_and_inputs_are_named():
    model = make_model(**FULL)
    with pytest.raises(ValueError, match=r"users.* \[1, 4\).*0 to 1"):
        model.set_history([0, 1], [1, 1], [0, 0], [0, 0])
    with pytest.raises(ValueError, match=r"must not come twice.*1 such"):
        model.set_history([1, 1], [1, 1], [0, 0], [0, 0])
    with pytest.raises(ValueError, match="needs `user_values`"):
        model.set_history([1], [1])
    with pytest.raises(ValueError, match="no history"):
        make_model(**PLAIN).set_history([1], [1])
    with pytest.raises(ValueError, match=r"pair.*\(batch, 2\)"):
        model({**make_inputs(), "pair": PAIRS[:, :1]})
    with pytest.raises(ValueError, match=r"user_side.*\(batch, n\)"):
        model({"pair": PAIRS})
    rated = np.ones((2, 3), "float32")
    with pytest.raises(ValueError, match="explicit"):
        HistoryBag(2, 3, 1, explicit=True)(np.zeros(1), np.zeros(1), rated)
    with pytest.raises(ValueError, match="num_others"):
        HistoryBag(2, 0, 1)


def test_traces_whole_and_gives_the_same():
    """One graph on PyTorch, XLA on the others; static shapes all through."""
    model = make_model(**FULL)
    inputs = {
        name: ops.convert_to_tensor(
            part, "float32" if name == "dense" else "int32"
        )
        for name, part in make_inputs().items()
    }
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
