"""What the workloads that generate with GPT-2 share, peers included."""

import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.gpt2 import PROMPTS, Size
from benchmarks.workload import Contender, Setting, Workload
from keras_multi import backend
from nlp import Generator


class Generation(Workload):
    """Texts continued greedily.

    Args:
        size: of the model and the texts.
        batch_sizes: numbers of prompts that are continued together.
        quantization: of Keras, or `None`; there are no peers with one.
    """

    unit = "tokens"

    def __init__(
        self,
        size: Size,
        batch_sizes: tuple[int, ...],
        quantization: str | None = None,
    ) -> None:
        self.size = size
        self.batch_sizes = batch_sizes
        self.quantization = quantization

    def work(self, batch_size: int) -> float:
        """New tokens."""
        return batch_size * self.size.new

    def steps(self, batch_size: int) -> int:
        """Few: each takes long."""
        return 2

    def build(self, setting: Setting) -> Contender:
        """The project's generator."""
        model = self.size.model(setting.precision)
        if self.quantization is not None:
            model.quantize(self.quantization)
        generator = Generator(model, compiled=setting.mode == "compile")
        contender = self._contender(
            lambda ids: generator.generate(ids, self.size.new), setting
        )
        if self._rounds(setting):
            contender.unjudged = "rounding leads to another text"
        return contender

    def peers(self, setting: Setting) -> Mapping[str, Contender]:
        """keras-hub and transformers, where they are installed."""
        found: dict[str, Contender] = {}
        if self._rounds(setting):
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

    def _rounds(self, setting: Setting) -> bool:
        return setting.precision != "float32" or self.quantization is not None

    def _contender(
        self, generate: Callable[[np.ndarray], Any], setting: Setting
    ) -> Contender:
        return _Writer(generate, self.size.prompts(setting.batch_size))


class Prefill(Generation):
    """Prompts read up to the first new token."""

    def work(self, batch_size: int) -> float:
        """Tokens of the prompts."""
        return batch_size * self.size.prompt


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
