"""What the GPT-2 workloads share: sizes, weights, texts, and training."""

import functools
import importlib
from dataclasses import dataclass

import keras
import numpy as np

from benchmarks.dcn import (
    EPSILON,
    LEARNING_RATE,
    NATIVE_PRECISIONS,
    TRAINING_OUTPUT_STEPS,
    KerasTraining,
    NativeModel,
)
from benchmarks.results import Cost
from benchmarks.workload import Contender, Setting, Workload
from keras_multi import backend, optimizers
from nlp import GPT2
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


@dataclass(frozen=True)
class Texts:
    """Packed texts, int32 `(rows, tokens + 1)`, in the order of training."""

    ids: np.ndarray

    def inputs(self, rows: slice) -> np.ndarray:
        """All tokens of some rows but the last."""
        return self.ids[rows, :-1]

    @property
    def targets(self) -> np.ndarray:
        """The tokens that follow."""
        return self.ids[:, 1:]


class Training(Workload):
    """Training steps with Adam, without dropout.

    Args:
        size: of the model and the texts, of `size.prompt` tokens.
        batch_sizes: the batch sizes that are measured.
    """

    unit = "tokens"
    output_steps = TRAINING_OUTPUT_STEPS

    def __init__(self, size: Size, batch_sizes: tuple[int, ...]) -> None:
        self.size, self.batch_sizes = size, batch_sizes

    def work(self, batch_size: int) -> float:
        """Tokens of a batch."""
        return batch_size * self.size.prompt

    def steps(self, batch_size: int) -> int:
        """Few: each takes long."""
        return 2

    def cost(self, batch_size: int) -> Cost:
        """Counts a step.

        Operations: each matrix and the two products of the attention, once
        forward and twice back. Bytes: each weight and both of its moments in
        Adam, read and written.
        """
        size, dim = self.size, self.size.hidden_dim
        tokens = self.work(batch_size)
        matrices = 12 * dim * dim * size.num_layers
        head = size.vocabulary_size * dim
        products = 2 * size.prompt * dim * size.num_layers
        weights = sum(array.size for array in size.weights().values())
        return Cost(
            operations=3 * 2.0 * tokens * (matrices + head + products),
            bytes=4.0 * 2 * 3 * weights,
            source="workload",
        )

    def texts(self, setting: Setting) -> Texts:
        """Random tokens, the same for every contender."""
        rows = setting.batch_size * 2 * self.steps(setting.batch_size)
        shape = (rows, self.size.prompt + 1)
        ids = np.random.default_rng(1).integers(
            0, self.size.vocabulary_size, shape, "int32"
        )
        return Texts(ids)

    def build(self, setting: Setting) -> Contender:
        """The project's GPT-2."""
        model = self.size.model(setting.precision)
        model.compile(
            optimizers.Adam(LEARNING_RATE, epsilon=EPSILON),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=setting.mode in ("xla", "compile"),
        )
        return KerasTraining(model, self.texts(setting), setting)

    def native(self, setting: Setting) -> Contender | None:
        """The model written by hand for this backend."""
        if setting.precision not in NATIVE_PRECISIONS:
            return None
        module = importlib.import_module(
            f"benchmarks.workloads.native.gpt2_{backend.name()}"
        )
        model = module.GPT2(self.size, setting)
        return NativeModel(model, self.texts(setting), setting, training=True)
