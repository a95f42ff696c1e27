"""What the DCN workloads share: model, data, and the Keras contenders."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np

from benchmarks.fitting import Trainer
from benchmarks.results import Cost
from benchmarks.workload import Contender, Setting, Steps, Workload
from keras_multi import backend, optimize_for_inference, optimizers
from keras_multi.layers import Embedding
from keras_multi.training import record_steps
from recsys.dcn import DCN

LEARNING_RATE = 1e-3
EPSILON = 1e-7

NATIVE_PRECISIONS = ("float32", "mixed_bfloat16")


@dataclass(frozen=True)
class Batches:
    """Rows in the order of training: ids, dense features and targets."""

    ids: np.ndarray
    dense: np.ndarray
    targets: np.ndarray

    def inputs(self, rows: slice) -> dict[str, np.ndarray]:
        """The model's inputs for some rows."""
        return {"categorical": self.ids[rows], "dense": self.dense[rows]}


class Rows(Protocol):
    """Rows that a model goes through, in order."""

    @property
    def ids(self) -> np.ndarray:
        """An array with as many rows."""

    @property
    def targets(self) -> np.ndarray:
        """What `Model.fit` takes as targets."""

    def inputs(self, rows: slice) -> Any:
        """The model's inputs for some rows."""


@dataclass(frozen=True)
class Shape:
    """Size of a DCN.

    Attributes:
        vocabulary_sizes: categories of each categorical column.
        num_dense: number of dense columns.
        embedding_dim: width of an embedding.
        num_cross_layers: number of full-rank cross layers.
        deep_units: widths of the perceptron.
        binary: whether the output is a logit and the loss cross entropy;
            otherwise the loss is the squared error.
    """

    vocabulary_sizes: tuple[int, ...]
    num_dense: int
    embedding_dim: int
    num_cross_layers: int
    deep_units: tuple[int, ...]
    binary: bool

    @property
    def input_dim(self) -> int:
        """Width of the input of the first cross layer."""
        embedded = len(self.vocabulary_sizes) * self.embedding_dim
        return embedded + self.num_dense

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Shapes of all matrices but the table of embeddings."""
        widths = [self.input_dim] * (self.num_cross_layers + 1)
        return list(itertools.pairwise([*widths, *self.deep_units, 1]))

    def cost(self, rows: int, steps: int, training: bool) -> Cost:
        """Counts the work of some steps over `rows` rows in all.

        Operations: each matrix meets each row once, in training thrice, for
        the outputs and the gradients by the weights and by the inputs, of
        which those of the first layer reach the embeddings.

        Bytes: inputs, and targets or outputs. In predictions, the dense
        weights and the rows of the table that are expected to occur among
        uniform categories, in each step once. In training, each weight and
        both of its moments in Adam, read and written in each step; the
        gradient of the table is dense. Variables are float32, as they are
        in all precisions of `NATIVE_PRECISIONS`.
        """
        forward = (
            2.0 * rows * sum(before * after for before, after in self.matrices)
        )
        columns = len(self.vocabulary_sizes) + self.num_dense + 1
        dense = sum((before + 1) * after for before, after in self.matrices)
        if training:
            table = sum(self.vocabulary_sizes) * self.embedding_dim
            states = 2 * 3 * (dense + table)
        else:
            occurring = sum(
                size * (1 - (1 - 1 / size) ** (rows / steps))
                for size in self.vocabulary_sizes
            )
            states = dense + occurring * self.embedding_dim
        return Cost(
            operations=(3 if training else 1) * forward,
            bytes=4.0 * (rows * columns + steps * states),
            source="workload",
        )

    def weights(self) -> list[np.ndarray]:
        """Start weights from a fixed seed, in the order of `DCN.weights`.

        The table of embeddings, then a matrix and a bias for each cross
        layer, each hidden layer and the output.
        """
        rng = np.random.default_rng(0)
        rows = sum(self.vocabulary_sizes)
        weights = [rng.uniform(-0.05, 0.05, (rows, self.embedding_dim))]
        for before, after in self.matrices:
            limit = (6 / (before + after)) ** 0.5
            weights.append(rng.uniform(-limit, limit, (before, after)))
            weights.append(np.zeros(after))
        return [w.astype("float32") for w in weights]


def keras_model(
    shape: Shape,
    setting: Setting,
    optimizer: type[keras.optimizers.Adam] = optimizers.Adam,
) -> keras.Model:
    """The project's DCN, compiled, with the start weights."""
    model = DCN(
        shape.vocabulary_sizes,
        shape.num_dense,
        embedding_dim=shape.embedding_dim,
        num_cross_layers=shape.num_cross_layers,
        deep_units=shape.deep_units,
        dtype=setting.precision,
    )
    model.build()
    return _start(model, optimizer, shape, setting)


def stock_model(shape: Shape, setting: Setting) -> keras.Model:
    """The same with Keras's own optimizer."""
    return keras_model(shape, setting, keras.optimizers.Adam)


def keras_rs_model(shape: Shape, setting: Setting) -> keras.Model:
    """The same model on the cross layers of keras-rs."""
    import keras_rs

    policy = setting.precision
    ids = keras.Input(
        (len(shape.vocabulary_sizes),), dtype="int32", name="categorical"
    )
    dense = keras.Input((shape.num_dense,), name="dense")
    starts = np.cumsum((0, *shape.vocabulary_sizes[:-1])).astype("int32")
    embedded = Embedding(
        sum(shape.vocabulary_sizes), shape.embedding_dim, dtype=policy
    )(ids + keras.ops.convert_to_tensor(starts))
    x0 = keras.layers.Concatenate(dtype=policy)(
        [keras.layers.Flatten(dtype=policy)(embedded), dense]
    )
    x = x0
    for _ in range(shape.num_cross_layers):
        x = keras_rs.layers.FeatureCross(dtype=policy)(x0, x)
    for units in shape.deep_units:
        x = keras.layers.Dense(units, "relu", dtype=policy)(x)
    output = keras.layers.Dense(1, dtype="float32")(x)
    model = keras.Model({"categorical": ids, "dense": dense}, output)
    return _start(model, keras.optimizers.Adam, shape, setting)


def _start(
    model: keras.Model,
    optimizer: type[keras.optimizers.Adam],
    shape: Shape,
    setting: Setting,
) -> keras.Model:
    model.set_weights(shape.weights())
    model.compile(
        optimizer(LEARNING_RATE, epsilon=EPSILON),
        keras.losses.BinaryCrossentropy(from_logits=True)
        if shape.binary
        else keras.losses.MeanSquaredError(),
        jit_compile=setting.mode in ("xla", "compile"),
    )
    return model


class _OverBatches(Contender):
    """A model and the rows that it goes through, batch by batch."""

    def __init__(self, model: Any, batches: Rows, setting: Setting) -> None:
        self.model, self.batches = model, batches
        self.batch_size = setting.batch_size
        self.steps = Steps(
            setting.batch_size, len(batches.ids) // setting.batch_size
        )


class StockTraining(_OverBatches):
    """`Model.fit` over consecutive batches."""

    def _fit(self, steps: int) -> float:
        rows = self.steps.take(steps)
        history = self.model.fit(
            self.batches.inputs(rows),
            self.batches.targets[rows],
            batch_size=self.batch_size,
            shuffle=False,
            verbose=0,
        )
        return float(history.history["loss"][0])

    def output(self) -> np.ndarray:
        """Losses of the first steps."""
        return np.array([self._fit(1) for _ in range(TRAINING_OUTPUT_STEPS)])

    def run(self, steps: int) -> None:
        """Trains on the next batches."""
        self._fit(steps)


class KerasTraining(StockTraining):
    """The same as this project does it."""

    def __init__(self, model: Any, batches: Rows, setting: Setting) -> None:
        super().__init__(model, batches, setting)
        record_steps(model)
        self._train = Trainer(model, setting.batch_size)

    def _fit(self, steps: int) -> float:
        rows = self.steps.take(steps)
        return self._train(
            self.batches.inputs(rows), self.batches.targets[rows]
        )


class KerasPrediction(_OverBatches):
    """`Model.predict` over consecutive batches."""

    def _predict(self, steps: int) -> np.ndarray:
        result: np.ndarray = self.model.predict(
            self.batches.inputs(self.steps.take(steps)),
            batch_size=self.batch_size,
            verbose=0,
        )
        return result

    def output(self) -> np.ndarray:
        """Logits of the first batch."""
        return self._predict(1)[:PREDICTION_OUTPUT_ROWS, 0]

    def run(self, steps: int) -> None:
        """Predicts the next batches."""
        self._predict(steps)


class OptimizedPrediction(KerasPrediction):
    """`predict` of what `optimize_for_inference` makes of the model."""

    def __init__(self, model: Any, batches: Rows, setting: Setting) -> None:
        super().__init__(model, batches, setting)
        self.optimized = optimize_for_inference(
            model,
            batches.inputs(slice(0, setting.batch_size)),
            modes=[setting.mode],
        )

    def _predict(self, steps: int) -> np.ndarray:
        result: np.ndarray = self.optimized.predict(
            self.batches.inputs(self.steps.take(steps)), self.batch_size
        )
        return result


TRAINING_OUTPUT_STEPS = 3
PREDICTION_OUTPUT_ROWS = 256


class DCNWorkload(Workload):
    """A DCN of one shape, trained or asked for predictions.

    Args:
        shape: size of the model.
        batch_sizes: the batch sizes that are measured.
        training: whether a step is a training step.
    """

    def __init__(
        self, shape: Shape, batch_sizes: tuple[int, ...], training: bool
    ) -> None:
        self.shape, self.batch_sizes = shape, batch_sizes
        self.training = training
        self.output_steps = TRAINING_OUTPUT_STEPS if training else 1

    def steps(self, batch_size: int) -> int:
        """Fewer for large batches."""
        return min(max(8192 // batch_size, 2), 32)

    def cost(self, batch_size: int) -> Cost:
        """Counts a step."""
        return self.shape.cost(batch_size, 1, self.training)

    def _contender(
        self,
        make: Callable[[Shape, Setting], keras.Model],
        setting: Setting,
    ) -> Contender:
        contender = StockTraining if self.training else KerasPrediction
        return contender(
            make(self.shape, setting), self.batches(setting), setting
        )

    def batches(self, setting: Setting) -> Batches:
        """Random rows, the same for every contender."""
        rng = np.random.default_rng(1)
        rows = setting.batch_size * 2 * self.steps(setting.batch_size)
        return Batches(
            ids=_random_ids(rng, rows, self.shape.vocabulary_sizes),
            dense=rng.standard_normal(
                (rows, self.shape.num_dense), dtype="float32"
            ),
            targets=rng.integers(0, 2, (rows, 1)).astype("float32"),
        )

    def build(self, setting: Setting) -> Contender:
        """The project's DCN, made fast as its users would.

        With recorded steps where it trains, and optimized for inference where
        it predicts; not where it is compiled as a whole, which each program
        would be.
        """
        model = keras_model(self.shape, setting)
        if self.training:
            return KerasTraining(model, self.batches(setting), setting)
        if setting.mode == "compile":
            return KerasPrediction(model, self.batches(setting), setting)
        return OptimizedPrediction(model, self.batches(setting), setting)

    def native(self, setting: Setting) -> Contender | None:
        """The DCN written by hand for this backend."""
        return native_contender(
            self.shape, self.batches(setting), setting, self.training
        )

    def peers(self, setting: Setting) -> dict[str, Contender]:
        """What Keras alone makes of it.

        `stock-keras` trains the same model by Keras's own steps and optimizer,
        and `keras-rs` has its cross layers too, where it is installed.
        """
        import importlib.util

        makers = {"stock-keras": stock_model} if self.training else {}
        if importlib.util.find_spec("keras_rs") is not None:
            makers["keras-rs"] = keras_rs_model
        return {
            name: self._contender(make, setting)
            for name, make in makers.items()
        }


def native_contender(
    shape: Shape, batches: Batches, setting: Setting, training: bool
) -> "NativeModel | None":
    """Makes the baseline of the backend in use, where it has the precision."""
    if setting.precision not in NATIVE_PRECISIONS:
        return None
    import importlib

    module = importlib.import_module(
        f"benchmarks.workloads.native.{backend.name()}"
    )
    model = module.DCN(shape, setting)
    return NativeModel(model, batches, setting, training)


class NativeModel(_OverBatches):
    """A hand-written model over the same batches as the Keras model."""

    def __init__(
        self, model: Any, batches: Rows, setting: Setting, training: bool
    ) -> None:
        super().__init__(model, batches, setting)
        self.training = training

    def _slices(self, steps: int) -> Sequence[slice]:
        rows = self.steps.take(steps)
        starts = range(rows.start, rows.stop, self.batch_size)
        return [slice(start, start + self.batch_size) for start in starts]

    def output(self) -> np.ndarray:
        """Losses of the first steps, or logits of the first batch."""
        if self.training:
            return np.array(
                [
                    self.model.fit(self.batches, self._slices(1))
                    for _ in range(TRAINING_OUTPUT_STEPS)
                ]
            )
        logits: np.ndarray = self.model.predict(self.batches, self._slices(1))
        return logits[:PREDICTION_OUTPUT_ROWS, 0]

    def run(self, steps: int) -> None:
        """Trains on or predicts the next batches."""
        if self.training:
            self.model.fit(self.batches, self._slices(steps))
        else:
            self.model.predict(self.batches, self._slices(steps))


def _random_ids(
    rng: np.random.Generator, rows: int, vocabulary_sizes: Sequence[int]
) -> np.ndarray:
    return rng.integers(
        0, vocabulary_sizes, (rows, len(vocabulary_sizes)), dtype="int32"
    )
