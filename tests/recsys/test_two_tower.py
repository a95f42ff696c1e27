import json

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import log_softmax

from keras_multi import backend, training
from recsys.two_tower import Tower, TwoTower

ROWS, USERS, ITEMS, GENRES = 6, 7, 9, 4


def make_inputs(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)

    def ids(high, columns=1):
        return rng.integers(high, size=(rows, columns)).astype("int32")

    return {
        "user": {"categorical": ids(USERS), "dense": ids(3).astype("float32")},
        "item": {
            "categorical": ids(ITEMS),
            "bags": {"genres": ids(GENRES + 1, 3) - 1},
        },
    }


def make_model(temperature=0.5, hard=None, **options):
    backend.seed(1)
    options = {"embedding_dim": 4, "units": (16, 3), **options}
    return TwoTower(
        Tower((USERS,), 1, **options),
        Tower((ITEMS,), 0, {"genres": GENRES}, **options),
        temperature,
        hard,
    )


def numpy_tower(weights, inputs, normalize):
    weights = iter(weights)
    table = next(weights)
    parts = [table[inputs["categorical"][:, 0]]]
    if "dense" in inputs:
        parts.append(inputs["dense"])
    for bag in inputs.get("bags", {}).values():
        rows = next(weights)
        total = np.einsum("bl,bld->bd", bag >= 0, rows[bag])
        parts.append(total / np.maximum((bag >= 0).sum(1), 1)[:, None])
    x = np.concatenate(parts, axis=1)
    x = np.maximum(x @ next(weights) + next(weights), 0)
    x = x @ next(weights) + next(weights)
    return x / np.linalg.norm(x, axis=1, keepdims=True) if normalize else x


@pytest.mark.parametrize("normalize", [False, True])
def test_towers_equal_numpy(normalize):
    model, inputs = make_model(normalize=normalize), make_inputs()
    outputs = model(inputs)
    for side, name in (("user", "query"), ("item", "candidate")):
        tower = getattr(model, f"{side}_tower")
        weights = [np.float64(w) for w in tower.get_weights()]
        expected = numpy_tower(weights, inputs[side], normalize)
        for got in (outputs[name], tower(inputs[side])):
            np.testing.assert_allclose(
                ops.convert_to_numpy(got), expected, rtol=1e-4, atol=1e-6
            )


def loss_by_rows(vectors, ids, probability, extra_ids, weight, temperature):
    """The corrected softmax, one row at a time."""
    query, candidate, extra = map(ops.convert_to_numpy, vectors)
    pool = np.concatenate([candidate, extra]).astype("float64")
    ids_of_pool = np.concatenate([ids, extra_ids])
    losses = []
    for i in range(len(ids)):
        logits = pool @ query[i] / temperature - np.log(probability)
        wrong = logits[ids_of_pool != ids[i]]
        losses.append(-log_softmax([logits[i], *wrong])[0] * weight[i])
    return np.mean(losses)


def test_loss_equals_the_formula():
    model, inputs = make_model(), make_inputs()
    rng = np.random.default_rng(3)
    probability = rng.uniform(0.1, 1, 2 * ROWS).astype("float32")
    extra_ids = rng.integers(ITEMS, size=ROWS).astype("int32")
    ids = inputs["item"]["categorical"][:, 0]
    inputs["sampling_probability"] = probability[:ROWS]
    inputs["extra"] = {
        "item": make_inputs(seed=5)["item"],
        "id": extra_ids,
        "sampling_probability": probability[ROWS:],
    }
    weight = np.linspace(0, 2, ROWS).astype("float32")
    outputs = model(inputs)
    vectors = (outputs["query"], outputs["candidate"], outputs["extra"])
    expected = loss_by_rows(vectors, ids, probability, extra_ids, weight, 0.5)
    loss = model.compute_loss(
        keras.tree.map_structure(ops.convert_to_tensor, inputs),
        ids, outputs, weight,
    )  # fmt: skip
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-5)

    # The first step of `fit` sees the same loss, and trains all weights.
    before = [w.copy() for w in model.get_weights()]
    model.compile(keras.optimizers.Adam(0.01))
    history = training.fit(
        model, (inputs, ids, weight), epochs=1, batch_size=ROWS, progress=False
    )
    assert history.metrics["loss"] == pytest.approx([expected], rel=1e-4)
    # A bias of all items is a constant in the softmax: no gradient.
    pairs = zip(model.weights, before, strict=True)
    kept = [v for v, b in pairs if (ops.convert_to_numpy(v) == b).all()]
    bias = model.item_tower.deep.blocks[-1].bias
    assert all(variable is bias for variable in kept)


@pytest.mark.parametrize("hard", [None, 3])
def test_a_batch_of_any_size_can_be_trained(hard):
    """The last batch is smaller than the others, and than `hard`."""
    model, inputs = make_model(hard=hard, dropout=0.3), make_inputs(rows=130)
    ids = inputs["item"]["categorical"][:, 0]
    model.compile(keras.optimizers.Adam(0.05))
    history = training.fit(
        model, (inputs, ids), epochs=6, batch_size=32, progress=False
    )
    losses = history.metrics["loss"]
    assert losses[-1] < losses[0]


def test_learns_who_likes_what():
    """Each user likes the items of the same rest of three."""
    rng = np.random.default_rng(0)
    users = rng.integers(30, size=2000).astype("int32")
    items = (3 * rng.integers(10, size=2000) + users % 3).astype("int32")
    model = TwoTower(
        Tower((30,), embedding_dim=8), Tower((30,), embedding_dim=8)
    )
    model.compile(keras.optimizers.Adam(0.05))
    data = {"user": {"categorical": users[:, None]}}
    data["item"] = {"categorical": items[:, None]}
    training.fit(model, (data, items), epochs=4, batch_size=250, progress=False)
    everyone = {"categorical": np.arange(30)[:, None]}
    scores = ops.matmul(
        model.user_tower(everyone), ops.transpose(model.item_tower(everyone))
    )
    best = np.argsort(-ops.convert_to_numpy(scores), axis=1)[:, :10]
    assert (best % 3 == np.arange(30)[:, None] % 3).mean() > 0.99


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_is_saved_whole(tmp_path, policy):
    options = {"normalize": True, "dropout": 0.1, "combiner": "sum"}
    model = make_model(
        hard=4, dtype=policy, embeddings_regularizer="l2", **options
    )
    inputs = make_inputs()
    expected = model(inputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    configs = [json.dumps(m.get_config()) for m in (loaded, model)]
    assert configs[0] == configs[1]
    np.testing.assert_array_equal(
        ops.convert_to_numpy(loaded.user_tower(inputs["user"])),
        ops.convert_to_numpy(expected["query"]),
    )
    for name, got in loaded(inputs).items():
        np.testing.assert_array_equal(
            ops.convert_to_numpy(got), ops.convert_to_numpy(expected[name])
        )


def test_regularizers_add_to_the_loss():
    inputs = make_inputs()
    ids = inputs["item"]["categorical"][:, 0]
    plain, other = (
        make_model(embeddings_regularizer=regularizer)
        for regularizer in (None, keras.regularizers.L2(0.1))
    )
    plain(inputs)
    other(inputs)
    other.set_weights(plain.get_weights())
    losses = [
        ops.convert_to_numpy(model.compute_loss(inputs, ids, model(inputs)))
        for model in (plain, other)
    ]
    tables = [
        tower.encoder.embedding.get_weights()[0]
        for tower in (plain.user_tower, plain.item_tower)
    ]
    penalty = 0.1 * sum((table**2).sum() for table in tables)
    assert losses[1] - losses[0] == pytest.approx(penalty, rel=1e-4)


def test_says_which_argument_is_wrong():
    with pytest.raises(ValueError, match=r"Received: dropout=1\.0"):
        Tower((3,), dropout=1.0)
    with pytest.raises(ValueError, match=r"one width\. Received: 32 .* 8"):
        TwoTower(Tower((3,)), Tower((3,), units=(8,)))
    with pytest.raises(ValueError, match=r"Received: temperature=0\.0"):
        make_model(temperature=0.0)
    with pytest.raises(ValueError, match="need 'user' and 'item'"):
        make_model().call({"user": {}})
