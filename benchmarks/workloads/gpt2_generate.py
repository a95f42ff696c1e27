"""GPT-2 with 124 million parameters writes 64 tokens after a prompt of 16.

Greedily, in float32 or less, the prompt included in the time. Peers are
keras-hub on the same backend, and `transformers` where PyTorch is installed.
"""

import functools
import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.workload import Contender, Setting, Workload
from keras_multi import backend
from nlp import GPT2, Generator
from nlp.folder import assign

PROMPTS = 4  # different ones, in turn
SCALE = 0.05  # of the weights, so that no text repeats one token


@dataclass(frozen=True)
class Size:
    """Sizes of the model and the texts.

    Attributes:
        vocabulary_size: number of tokens.
        num_layers: number of blocks.
        num_heads: attention heads per block.
        hidden_dim: width of the stream.
        prompt: tokens of a prompt.
        new: tokens that are appended.
    """

    vocabulary_size: int = 50257
    num_layers: int = 12
    num_heads: int = 12
    hidden_dim: int = 768
    prompt: int = 16
    new: int = 64

    @property
    def positions(self) -> int:
        """Positions of the model."""
        return max(1024, self.prompt + self.new)

    def weights(self) -> dict[str, np.ndarray]:
        """Draws the weights of all contenders, by name."""
        return _weights(self)

    def model(self, dtype: str = "float32") -> GPT2:
        """Makes the project's model."""
        model = GPT2(
            self.vocabulary_size,
            self.num_layers,
            self.num_heads,
            self.hidden_dim,
            max_length=self.positions,
            dropout=0.0,
            dtype=dtype,
        )
        assign(model, self.weights())
        return model

    def prompts(self, batch_size: int) -> np.ndarray:
        """Random prompts, int32 `(PROMPTS, batch, tokens)`."""
        shape = (PROMPTS, batch_size, self.prompt)
        return np.random.default_rng(1).integers(
            0, self.vocabulary_size, shape, "int32"
        )


@functools.lru_cache(maxsize=1)
def _weights(size: Size) -> dict[str, np.ndarray]:
    dim = size.hidden_dim
    shapes: dict[str, tuple[int, ...]] = {
        "wte.weight": (size.vocabulary_size, dim),
        "wpe.weight": (size.positions, dim),
    }
    block = {"attn.c_attn": (dim, 3 * dim), "attn.c_proj": (dim, dim)}
    block |= {"mlp.c_fc": (dim, 4 * dim), "mlp.c_proj": (4 * dim, dim)}
    norms = ["ln_f"]
    for i in range(size.num_layers):
        norms += [f"h.{i}.ln_1", f"h.{i}.ln_2"]
        for name, (rows, columns) in block.items():
            shapes[f"h.{i}.{name}.weight"] = (rows, columns)
            shapes[f"h.{i}.{name}.bias"] = (columns,)
    rng = np.random.default_rng(0)
    drawn = {
        name: rng.standard_normal(shape, "float32") * np.float32(SCALE)
        for name, shape in shapes.items()
    }
    for name in norms:
        drawn[f"{name}.weight"] = np.ones(dim, "float32")
        drawn[f"{name}.bias"] = np.zeros(dim, "float32")
    return drawn


class Generation(Workload):
    """Texts continued greedily.

    Args:
        size: of the model and the texts.
        batch_sizes: numbers of prompts that are continued together.
    """

    unit = "tokens"

    def __init__(self, size: Size, batch_sizes: tuple[int, ...]) -> None:
        self.size = size
        self.batch_sizes = batch_sizes

    def work(self, batch_size: int) -> float:
        """New tokens."""
        return batch_size * self.size.new

    def steps(self, batch_size: int) -> int:
        """Few: each takes long."""
        return 2

    def build(self, setting: Setting) -> Contender:
        """The project's generator."""
        generator = Generator(self.size.model(setting.precision))
        contender = self._contender(
            lambda ids: generator.generate(ids, self.size.new), setting
        )
        if setting.precision != "float32":
            contender.unjudged = "rounding leads to another text"
        return contender

    def peers(self, setting: Setting) -> Mapping[str, Contender]:
        """keras-hub and transformers, where they are installed."""
        found: dict[str, Contender] = {}
        if setting.precision != "float32":
            return found
        if importlib.util.find_spec("keras_nlp") is not None:
            found["keras-hub"] = self._contender(_keras_hub(self.size), setting)
        if (
            importlib.util.find_spec("transformers") is not None
            and "torch" in backend.available()
        ):
            found["transformers"] = self._contender(
                _transformers(self.size), setting
            )
        return found

    def _contender(
        self, generate: Callable[[np.ndarray], Any], setting: Setting
    ) -> Contender:
        return _Writer(generate, self.size.prompts(setting.batch_size))


class _Writer(Contender):
    def __init__(
        self, generate: Callable[[np.ndarray], Any], prompts: np.ndarray
    ) -> None:
        self.generate, self.prompts = generate, prompts
        self.done = 0

    def output(self) -> np.ndarray:
        """Token ids of the first texts."""
        return np.asarray(self.generate(self.prompts[0])).astype("float64")

    def run(self, steps: int) -> None:
        """Continues the next prompts."""
        for _ in range(steps):
            np.asarray(self.generate(self.prompts[self.done % PROMPTS]))
            self.done += 1


def _keras_hub(size: Size) -> Callable[[np.ndarray], np.ndarray]:
    import keras_nlp

    backbone = keras_nlp.models.GPT2Backbone(
        size.vocabulary_size,
        size.num_layers,
        size.num_heads,
        size.hidden_dim,
        4 * size.hidden_dim,
        dropout=0.0,
        max_sequence_length=size.positions,
    )
    backbone.set_weights(_in_order_of_keras_hub(size))
    model = keras_nlp.models.GPT2CausalLM(backbone, preprocessor=None)
    model.compile(sampler="greedy")

    def generate(ids: np.ndarray) -> np.ndarray:
        padding = ((0, 0), (0, size.new))
        inputs = {
            "token_ids": np.pad(ids, padding),
            "padding_mask": np.pad(np.ones_like(ids), padding),
        }
        texts = model.generate(inputs, stop_token_ids=None)
        return np.asarray(texts["token_ids"])

    return generate


def _in_order_of_keras_hub(size: Size) -> list[np.ndarray]:
    named = size.weights()
    heads = (size.num_heads, size.hidden_dim // size.num_heads)
    arrays = [named["wte.weight"], named["wpe.weight"]]
    for i in range(size.num_layers):
        part = {
            name.removeprefix(f"h.{i}."): array
            for name, array in named.items()
            if name.startswith(f"h.{i}.")
        }
        kernels = np.split(part["attn.c_attn.weight"], 3, axis=1)
        biases = np.split(part["attn.c_attn.bias"], 3)
        for kernel, bias in zip(kernels, biases, strict=True):
            arrays.append(kernel.reshape(-1, *heads))
            arrays.append(bias.reshape(heads))
        output = part["attn.c_proj.weight"].reshape(*heads, -1)
        arrays += [output, part["attn.c_proj.bias"]]
        for name in ("ln_1", "mlp.c_fc", "mlp.c_proj", "ln_2"):
            arrays += [part[f"{name}.weight"], part[f"{name}.bias"]]
    return [*arrays, named["ln_f.weight"], named["ln_f.bias"]]


def _transformers(size: Size) -> Callable[[np.ndarray], np.ndarray]:
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        size.model().save_to_preset(folder)
        model = transformers.GPT2LMHeadModel.from_pretrained(folder)
    model.eval()

    def generate(ids: np.ndarray) -> np.ndarray:
        # Its own way to make tensors, since only backends name a framework.
        batch = transformers.BatchEncoding(
            {"input_ids": ids, "attention_mask": np.ones_like(ids)},
            tensor_type="pt",
        )
        texts: np.ndarray = model.generate(
            **batch,
            max_new_tokens=size.new,
            do_sample=False,
            pad_token_id=0,
        ).numpy()
        return texts

    return generate


WORKLOAD = Generation(Size(), batch_sizes=(1, 8))
