import json

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import log_softmax

from keras_multi import backend
from recsys import MultiTaskRanker
from recsys.two_tower import Tower

ROWS, USERS, ITEMS = 6, 4, 5
RNG = np.random.default_rng(0)
X = {
    "user": {
        "categorical": RNG.integers(0, USERS, (ROWS, 1)).astype("int32"),
        "dense": RNG.normal(size=(ROWS, 2)).astype("float32"),
    },
    "item": {"categorical": RNG.integers(0, ITEMS, (ROWS, 1)).astype("int32")},
    "sampling_probability": RNG.uniform(0.1, 0.9, ROWS).astype("float32"),
}
Y = {
    "item_id": X["item"]["categorical"][:, 0],
    "rating": RNG.integers(1, 6, ROWS).astype("float32"),
    "click": RNG.integers(0, 2, ROWS).astype("float32"),
}
TASKS = {"rating": "regression", "click": "binary"}
WEIGHTS = {"rating": 0.5, "retrieval": 2.0, "click": 3.0}


def make_model(**changes):
    backend.seed(1)
    options = {
        "tasks": TASKS,
        "num_experts": 3,
        "expert_units": (7,),
        "head_units": (5,),
        "temperature": 0.5,
    }
    model = MultiTaskRanker(
        Tower((USERS,), 2, embedding_dim=3, units=(4,)),
        Tower((ITEMS,), embedding_dim=3, units=(4,)),
        **{**options, **changes},
    )
    model(X)
    return model


def numpy_outputs(model, outputs):
    """Heads and experts in NumPy, from the vectors of the towers."""
    user, item = outputs["query"], outputs["candidate"]
    joined = np.concatenate([user, item, user * item], axis=1)
    weights = [np.float64(w) for w in model.experts.get_weights()]
    names = [v.path.split("/")[-1] for v in model.experts.weights]
    gate = joined @ weights.pop(names.index("gate_kernel"))
    experts = [
        np.maximum(joined @ kernel + bias, 0)
        for kernel, bias in zip(weights[::2], weights[1::2], strict=True)
    ]
    for i, (name, _) in enumerate(model.tasks):
        share = np.exp(log_softmax(gate[:, 3 * i : 3 * i + 3], axis=1))
        x = sum(share[:, e, None] * experts[e] for e in range(3))
        k1, b1, k2, b2 = model.heads[i].get_weights()
        x = np.maximum(x @ k1 + b1, 0) @ k2 + b2
        yield name, x[:, 0] + model.output_biases[i]


def numpy_losses(outputs):
    """The three losses, row by row."""
    logits = outputs["query"] @ outputs["candidate"].T / 0.5
    logits = logits - np.log(X["sampling_probability"])
    retrieval = []
    for i, own in enumerate(Y["item_id"]):
        others = logits[i][Y["item_id"] != own]
        retrieval.append(-log_softmax([logits[i, i], *others])[0])
    rating = (outputs["rating"] - Y["rating"]) ** 2 / 2
    chance = 1 / (1 + np.exp(-outputs["click"]))
    click = -np.log(np.where(Y["click"] == 1, chance, 1 - chance))
    return [np.mean(rows) for rows in (retrieval, rating, click)]


def numbers(outputs):
    return {name: ops.convert_to_numpy(x) for name, x in outputs.items()}


def test_outputs_equal_numpy():
    model = make_model(output_biases={"rating": 3.5})
    outputs = numbers(model(X))
    for name, expected in numpy_outputs(model, outputs):
        np.testing.assert_allclose(
            outputs[name], expected, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("weights", [WEIGHTS, None])
def test_the_loss_is_the_weighted_sum(weights):
    model = make_model(task_weights=weights)
    outputs = model(X)
    losses = numpy_losses(numbers(outputs))
    if weights is None:
        s = np.array([0.2, -0.4, 0.6])
        model.uncertainty.set_weights([s])
        expected = np.sum(np.exp(-s) * losses + s / 2)
    else:
        expected = np.dot([2.0, 0.5, 3.0], losses)
    loss = model.compute_loss(X, Y, outputs)
    np.testing.assert_allclose(float(loss), expected, rtol=1e-4)


@pytest.mark.parametrize("weights", [WEIGHTS, None])
def test_trains_all_weights_and_loads(weights, tmp_path):
    model = make_model(task_weights=weights, dropout=0.1)
    before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    before = [array.copy() for array in before]
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit(X, Y, batch_size=4, epochs=60, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < losses[0]
    for old, variable in zip(before, model.trainable_variables, strict=True):
        assert np.abs(ops.convert_to_numpy(variable) - old).max() > 0
    outputs = model.predict(X, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    configs = [json.dumps(m.get_config()) for m in (loaded, model)]
    assert configs[0] == configs[1]
    for name, again in loaded.predict(X, verbose=0).items():
        np.testing.assert_allclose(again, outputs[name], rtol=1e-6)


def test_regularizers_count_once():
    regularized = MultiTaskRanker(
        Tower((USERS,), 2, embeddings_regularizer=keras.regularizers.L2(1.0)),
        Tower((ITEMS,), units=(34,)),
        task_weights={"retrieval": 0.0, "rating": 0.0},
    )
    outputs = regularized(X)
    table = regularized.user_tower.encoder.embedding.embeddings
    expected = np.sum(ops.convert_to_numpy(table) ** 2)
    loss = regularized.compute_loss(X, Y, outputs)
    np.testing.assert_allclose(float(loss), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"tasks": {}},
        {"tasks": {"rating": "ordinal"}},
        {"tasks": {"query": "binary"}},
        {"task_weights": {"rating": 1.0}},
        {"num_experts": 0},
    ],
)
def test_says_which_argument_is_wrong(options):
    with pytest.raises(ValueError, match="Received: "):
        MultiTaskRanker(Tower((USERS,)), Tower((ITEMS,)), **options)


def test_refuses_sample_weights():
    model = make_model()
    with pytest.raises(ValueError, match="sample weights"):
        model.compute_loss(X, Y, model(X), sample_weight=np.ones(ROWS))
