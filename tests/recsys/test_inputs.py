import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_multi import backend
from keras_multi.data import Table
from recsys.bags import MultiHot
from recsys.columns import Numeric, Vocabulary
from recsys.features import Features
from recsys.inputs import FeatureEncoder

COLUMNS = {
    "user": np.array([7, 8, 7]),
    "kind": np.array(["a", "b", "c"]),
    "genres": np.array(["x|y", "y", ""]),
    "age": np.array([1.0, 2.0, 3.0]),
}
TABLE = Table("small", COLUMNS, target="age")
FEATURES = Features(
    [Vocabulary("user"), Vocabulary("kind"), Numeric("age"), MultiHot("genres")]
).fit(TABLE)
INPUTS = FEATURES.transform(TABLE)


def expected(weights, inputs):
    table, bags = weights
    users = table[inputs["categorical"][:, 0]]
    kinds = table[3 + inputs["categorical"][:, 1]]
    means = np.stack([bags[[1, 2]].mean(0), bags[2], bags[0]])
    return np.concatenate([users, kinds, inputs["dense"], means], axis=1)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_joins_embeddings_numbers_and_bags(policy):
    encoder = FeatureEncoder.of(FEATURES, embedding_dim=4, dtype=policy)
    output = encoder(INPUTS)
    assert output.shape == (3, 13) == (3, encoder.output_dim)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(output, "float32")),
        expected(encoder.get_weights(), INPUTS),
        rtol=1e-6 if policy == "float32" else 1e-2,
        atol=0 if policy == "float32" else 1e-3,
    )


def test_is_saved_and_compiled(tmp_path):
    encoder = FeatureEncoder.of(FEATURES, embedding_dim=4, combiner="sqrtn")
    config = json.loads(json.dumps(encoder.get_config()))
    again = FeatureEncoder.from_config(config)
    assert again.get_config() == encoder.get_config()

    symbols = {
        "categorical": keras.Input((2,), dtype="int32", name="categorical"),
        "dense": keras.Input((1,), name="dense"),
        "bags": {"genres": keras.Input((2,), dtype="int32", name="genres")},
    }
    model = keras.Model(symbols, encoder(symbols))
    assert model.output_shape == (None, 13)
    predicted = model.predict(INPUTS, verbose=0)
    model.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(loaded.predict(INPUTS, verbose=0), predicted)

    if backend.name() == "torch":
        import torch

        compiled = torch.compile(encoder, fullgraph=True, backend="eager")
    else:
        compiled = backend.jit(encoder)
    tensors = keras.tree.map_structure(ops.convert_to_tensor, INPUTS)
    np.testing.assert_allclose(
        ops.convert_to_numpy(compiled(tensors)), predicted, rtol=1e-6
    )


def test_parts_without_features_may_be_left_out():
    numbers = FeatureEncoder(num_dense=2)
    assert numbers({"dense": np.ones((3, 2))}).shape == (3, 2)
    bags = FeatureEncoder(bag_sizes={"genres": 3}, embedding_dim=4)
    assert bags({"bags": INPUTS["bags"]}).shape == (3, 4)


def test_says_which_argument_is_wrong():
    for options in (
        {},
        {"vocabulary_sizes": (0,)},
        {"bag_sizes": {"x": 0}},
        {"num_dense": -1},
    ):
        with pytest.raises(ValueError, match="Received: "):
            FeatureEncoder(**options)
    encoder = FeatureEncoder.of(FEATURES)
    with pytest.raises(ValueError, match="'categorical' of the inputs"):
        encoder({"categorical": np.ones((3, 5), "int32")})
    with pytest.raises(ValueError, match="'genres' of the inputs"):
        encoder({k: INPUTS[k] for k in ("categorical", "dense")})
    floats = INPUTS | {"categorical": np.ones((3, 2), "float32")}
    with pytest.raises(ValueError, match="must be integers"):
        encoder(floats)
