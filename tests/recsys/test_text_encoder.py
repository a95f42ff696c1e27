import json
import sys

import numpy as np
import pytest
import safetensors.numpy
import tokenizers
from scipy import special

from keras_multi.data import default_cache_dir
from keras_multi.data.info import FileSet
from keras_multi.errors import DataError, UsageError
from recsys import text_encoder
from recsys.text_encoder import MINILM, TextEncoder, embed

CONFIG = {
    "vocab_size": 9,
    "max_position_embeddings": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "hidden_size": 8,
    "intermediate_size": 12,
    "layer_norm_eps": 1e-12,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "toy", "story", "the", "a", "of"]


def random_bert(seed=0):
    """Weights as `transformers` names and shapes them, outputs first."""
    rng = np.random.default_rng(seed)
    dim, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    shapes = {
        "embeddings.word_embeddings.weight": (9, dim),
        "embeddings.position_embeddings.weight": (6, dim),
        "embeddings.token_type_embeddings.weight": (2, dim),
    }
    norms = ["embeddings.LayerNorm"]
    for i in range(CONFIG["num_hidden_layers"]):
        name = f"encoder.layer.{i}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{name}.attention.{part}.weight"] = (dim, dim)
            shapes[f"{name}.attention.{part}.bias"] = (dim,)
        shapes[f"{name}.intermediate.dense.weight"] = (inner, dim)
        shapes[f"{name}.intermediate.dense.bias"] = (inner,)
        shapes[f"{name}.output.dense.weight"] = (dim, inner)
        shapes[f"{name}.output.dense.bias"] = (dim,)
        norms += [
            f"{name}.attention.output.LayerNorm",
            f"{name}.output.LayerNorm",
        ]
    for norm in norms:
        shapes |= {f"{norm}.weight": (dim,), f"{norm}.bias": (dim,)}
    return {
        name: rng.normal(size=shape).astype("float32")
        for name, shape in shapes.items()
    }


def numpy_bert(w, rows, layers, heads, epsilon=1e-12):
    """One text at a time, so that there is no padding."""

    def dense(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    w = {name: value.astype("float64") for name, value in w.items()}
    means = []
    for row in rows:
        x = w["embeddings.word_embeddings.weight"][row]
        x = x + w["embeddings.position_embeddings.weight"][: len(row)]
        x = x + w["embeddings.token_type_embeddings.weight"][0]
        x = norm(x, "embeddings.LayerNorm")
        for i in range(layers):
            name = f"encoder.layer.{i}"
            q, k, v = (
                np.split(dense(x, f"{name}.attention.self.{part}"), heads, -1)
                for part in ("query", "key", "value")
            )
            mixed = []
            for head in range(heads):
                scores = q[head] @ k[head].T / np.sqrt(q[head].shape[1])
                mixed.append(special.softmax(scores, axis=-1) @ v[head])
            mixed = np.concatenate(mixed, axis=-1)
            mixed = dense(mixed, f"{name}.attention.output.dense")
            x = norm(x + mixed, f"{name}.attention.output.LayerNorm")
            inner = dense(x, f"{name}.intermediate.dense")
            inner = inner * special.ndtr(inner)  # GELU
            x = norm(
                x + dense(inner, f"{name}.output.dense"),
                f"{name}.output.LayerNorm",
            )
        means.append(x.mean(0) / np.linalg.norm(x.mean(0)))
    return np.array(means)


def tiny_files(weights=None):
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(
            {word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"
        )
    )
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(
        ("[SEP]", 3), ("[CLS]", 2)
    )
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer.json": tokenizer.to_str().encode(),
        "model.safetensors": safetensors.numpy.save(weights or random_bert()),
    }


def test_embeddings_are_those_of_numpy():
    texts = ["Toy Story", "the", "a story of the toy", "unheard of"]
    rows = [[2, 4, 5, 3], [2, 6, 3], [2, 7, 5, 8, 6, 3], [2, 1, 8, 3]]
    got = TextEncoder.from_files(tiny_files())(texts)
    assert got.dtype == np.float32
    want = numpy_bert(random_bert(), rows, 2, 2)
    np.testing.assert_allclose(got, want, atol=2e-5)


@pytest.mark.slow
def test_embeddings_are_made_once(tmp_path, monkeypatch):
    calls = []

    def files(self, cache_dir, progress):
        calls.append(cache_dir)
        return tiny_files()

    monkeypatch.setattr(FileSet, "files", files)
    first = embed(["toy", "story"], tmp_path)
    np.testing.assert_array_equal(embed(["toy", "story"], tmp_path), first)
    assert calls == [tmp_path]
    np.testing.assert_allclose(embed(["story"], tmp_path), first[1:], atol=1e-5)
    assert len(calls) == 2
    for path in (tmp_path / "embeddings").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    np.testing.assert_array_equal(embed(["toy", "story"], tmp_path), first)
    assert len(calls) == 3


def test_bad_files_are_named(monkeypatch):
    weights = random_bert()
    bias = weights.pop("encoder.layer.1.output.dense.bias")
    with pytest.raises(
        DataError, match=r"lack .*layer\.1\.output\.dense\.bias"
    ):
        TextEncoder.from_files(tiny_files(weights))
    weights["encoder.layer.1.output.dense.bias"] = bias[:3]
    with pytest.raises(DataError, match="do not fit"):
        TextEncoder.from_files(tiny_files(weights))
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        with pytest.raises(DataError, match=name):
            TextEncoder.from_files({**tiny_files(), name: b"{"})
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(UsageError, match=r"keras-multi\[text\]"):
        TextEncoder.from_files(tiny_files())


@pytest.mark.slow
def test_the_pretrained_model():
    files = MINILM.files(default_cache_dir(), progress=False)
    encoder = TextEncoder.from_files(files)
    texts = [
        "A man is eating food.",
        "Someone has a meal.",
        "The stock market fell sharply today.",
    ]
    got = encoder(texts)
    weights = safetensors.numpy.load(files["model.safetensors"])
    rows = [e.ids for e in encoder.tokenizer.encode_batch(texts)]
    np.testing.assert_allclose(got, numpy_bert(weights, rows, 6, 12), atol=1e-5)
    similar = got @ got.T
    assert similar[0, 1] > 0.5 > 0.2 > similar[0, 2]
    assert encoder.model.positions.input_dim == text_encoder.MAX_TOKENS
