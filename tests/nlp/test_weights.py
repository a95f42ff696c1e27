import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_multi.errors import DataError, UsageError
from keras_multi.presets import read_safetensors
from nlp import GPT2, Tokenizer, folder
from nlp.hub import from_backbone
from nlp.tokenizer import END_OF_TEXT
from tests.nlp.gpt2_case import VOCABULARY, reference, theirs

pytestmark = pytest.mark.slow

IDS = np.random.default_rng(0).integers(0, VOCABULARY, (2, 9)).astype("int32")


def logits(model):
    return ops.convert_to_numpy(model(IDS))


def close(ours, expected):
    assert np.abs(ours - expected).max() <= 1e-4 * np.abs(expected).max()


def tiny(**options):
    model = GPT2(VOCABULARY, 1, 2, 8, max_length=16, **options)
    model.build()
    return model


def test_reads_several_files_with_an_index(tmp_path):
    expected = reference()
    expected.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    close(logits(GPT2.from_preset(str(tmp_path))), theirs(expected, IDS))


def test_what_is_saved_loads_in_transformers_and_here(tmp_path):
    import transformers

    tokenizer = Tokenizer.from_files({"a": 0, "b": 1, END_OF_TEXT: 2}, [])
    model = tiny(intermediate_dim=20, epsilon=1e-3, tokenizer=tokenizer)
    model.set_weights(
        [np.random.default_rng(1).normal(size=w.shape) for w in model.weights]
    )
    model.save_to_preset(tmp_path)
    expected = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    close(logits(model), theirs(expected.eval(), IDS))
    again = GPT2.from_preset(tmp_path, dropout=0.0)
    np.testing.assert_array_equal(logits(again), logits(model))
    assert again.tokenizer.encode("ab") == [0, 1]
    assert again.dropout_rate == 0.0
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert loaded("ab")["input_ids"] == [0, 1]


def test_takes_the_weights_of_keras_nlp():
    import keras_nlp

    backbone = keras_nlp.models.GPT2Backbone(
        VOCABULARY, 2, 2, 8, 16, dropout=0.0, max_sequence_length=16
    )
    rng = np.random.default_rng(2)
    backbone.set_weights(
        [rng.normal(0, 0.3, w.shape) for w in backbone.weights]
    )
    hidden = backbone({"token_ids": IDS, "padding_mask": np.ones_like(IDS)})
    expected = backbone.token_embedding(hidden, reverse=True)
    close(logits(from_backbone(backbone)), ops.convert_to_numpy(expected))


def test_fetches_from_the_hub(tmp_path, monkeypatch):
    import huggingface_hub

    tiny().save_to_preset(tmp_path)
    asked = []

    def download(name, allow_patterns):
        asked.append(name)
        if name != "org/name":
            raise OSError("404")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert GPT2.from_preset("hf://org/name").hidden_dim == 8
    with pytest.raises(DataError, match="cannot fetch hf://no/such: 404"):
        GPT2.from_preset("hf://no/such")
    assert asked == ["org/name", "no/such"]


def test_names_the_presets_there_are():
    with pytest.raises(UsageError, match=r"no preset 'gpt3'.*gpt2_base_en"):
        GPT2.from_preset("gpt3")
    with pytest.raises(UsageError, match=r"no folder './none'"):
        GPT2.from_preset("./none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, "type 'bert'"),
        ({"activation_function": "relu"}, "activation_function='relu'"),
        ({"n_head": 3}, "must divide"),
        ({"n_layer": "two"}, "config.json is damaged"),
        ({"n_layer": 2}, r"lack h.1.*11 more"),
        ({"n_inner": 9}, r"h.0.mlp.c_fc.weight has the shape \(8, 32\)"),
        ({"vocab_size": 1}, "wte.weight has the shape"),
    ],
)
def test_says_what_is_wrong_with_a_configuration(change, message, tmp_path):
    tiny().save_to_preset(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message):
        GPT2.from_preset(tmp_path)


def test_says_what_is_wrong_with_weights(tmp_path):
    tiny().save_to_preset(tmp_path)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    with pytest.raises(DataError, match=r"model.safetensors is damaged"):
        GPT2.from_preset(tmp_path)
    arrays = {**safetensors.numpy.load(content), "other": np.ones(2)}
    safetensors.numpy.save_file(arrays, path)
    with pytest.raises(DataError, match="no weight other"):
        GPT2.from_preset(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"cannot read .*model.safetensors"):
        GPT2.from_preset(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "../x.safetensors"}}')
    with pytest.raises(DataError, match="has no map of files"):
        GPT2.from_preset(tmp_path)


def test_refuses_a_tokenizer_with_more_tokens_than_the_model(tmp_path):
    model = tiny()
    vocabulary = {chr(161 + i): i for i in range(12)}
    vocabulary |= {END_OF_TEXT: VOCABULARY}
    model.tokenizer = Tokenizer.from_files(vocabulary, [])
    model.save_to_preset(tmp_path)
    with pytest.raises(DataError, match="62 tokens and the model 61"):
        GPT2.from_preset(tmp_path)


def test_refuses_arguments_that_make_no_model(tmp_path):
    tiny().save_to_preset(tmp_path)
    with pytest.raises(UsageError, match="cannot make the model"):
        GPT2.from_preset(tmp_path, num_heads=3)


def test_weights_that_are_integers_are_refused():
    model = tiny()
    arrays = {
        name: np.zeros(variable.shape, "int8")
        for name, variable in folder.named_variables(model).items()
    }
    with pytest.raises(DataError, match="holds int8"):
        folder.assign(model, arrays)


def test_a_damaged_file_is_always_told(tmp_path):
    path = tmp_path / "x.safetensors"
    good = safetensors.numpy.save({"a": np.ones((2, 3), "float32")})

    @settings(max_examples=200, deadline=None)
    @given(
        st.integers(0, len(good) - 1),
        st.binary(min_size=1, max_size=9),
        st.integers(0, len(good)),
    )
    def check(position, patch, length):
        damaged = good[:position] + patch + good[position + len(patch) :]
        path.write_bytes(damaged[:length])
        try:
            arrays = read_safetensors(path)
        except DataError:
            return
        assert all(isinstance(a, np.ndarray) for a in arrays.values())

    check()
