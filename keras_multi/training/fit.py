"""`fit`: `keras.Model.fit` with equal batches everywhere, and a way back."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_multi import backend
from keras_multi.errors import UsageError
from keras_multi.training.batches import Batches, count_rows
from keras_multi.training.checkpoint import (
    Checkpoint,
    identify,
    remove_checkpoint,
)
from keras_multi.training.feed import feed
from keras_multi.training.progress import (
    NonFiniteLossError,
    ProgressBar,
    StopOnNonFiniteLoss,
)
from keras_multi.training.record import record_steps


@dataclass(frozen=True)
class History:
    """What happened in a run.

    Attributes:
        metrics: per metric one value an epoch, as Keras names them
            (`"loss"`, `"val_loss"`, ...).
        best_epoch: the epoch (from 0) whose weights the model has now.
        stopped_early: whether the run ended before its last epoch.
    """

    metrics: dict[str, list[float]]
    best_epoch: int
    stopped_early: bool

    @property
    def epochs(self) -> int:
        """Number of epochs that ran."""
        return len(self.metrics["loss"])


def fit(
    model: keras.Model,
    train: tuple[Any, ...],
    validation: tuple[Any, ...] | None = None,
    *,
    epochs: int,
    batch_size: int,
    seed: int = 0,
    patience: int | None = None,
    monitor: str = "val_loss",
    checkpoint_dir: str | os.PathLike[str] | None = None,
    resume: bool = True,
    progress: bool = True,
    description: str = "training",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    settings: Mapping[str, Any] | None = None,
) -> History:
    """Trains a compiled model with `keras.Model.fit`.

    On PyTorch its steps are those of `record_steps`, unless the model was
    compiled with `run_eagerly=True` or `jit_compile=True`.

    Batches are those of `Batches`: equal on every backend. With a
    `checkpoint_dir` the state is written after each epoch, and the same call
    after a crash goes on from there: weights, history and stopping epoch
    are, on the same backend and kind of machine, those of a run that was
    never interrupted. The checkpoint of a finished run stays until
    `remove_checkpoint`, so that a crash before the results are saved costs
    nothing.

    Args:
        model: compiled Keras model.
        train: `(x, y)` or `(x, y, sample_weight)`; each an array, or a nested
            structure of arrays, with the rows on the first axis.
        validation: the same for validation rows; evaluated after each epoch.
        epochs: number of passes over the rows, at least 1.
        batch_size: rows per step, at least 1.
        seed: seed of the row order, and of the global generators of Python,
            NumPy and the framework, which are seeded at the start of each
            epoch. The initial weights are the caller's matter: see
            `keras_multi.backend.seed`.
        patience: number of epochs without improvement of `monitor` after
            which to stop; the best weights are then restored, also at a
            regular end. `None` trains all epochs and keeps the last weights.
        monitor: name of the metric that `patience` watches.
        checkpoint_dir: folder of the checkpoint; `None` writes none.
        resume: whether to go on from a checkpoint in that folder. `False`
            starts afresh and overwrites it.
        progress: whether to show a progress bar on stderr. There is none in
            any case if stderr is not a terminal.
        description: what the progress bar calls the run.
        callbacks: further Keras callbacks.
        settings: further JSON values that tell this run from others, such as
            the fields of a recipe: a checkpoint with other ones is refused.

    Returns:
        The `History` of all epochs, those before a crash included.

    Raises:
        UsageError: if an argument is out of range, or `patience` is given
            and nothing is there to monitor.
        DataError: if there are no rows, or unequal numbers of them.
        KerasMultiError: if the loss is not finite, or the checkpoint is
            damaged, belongs to another run, or cannot be written.

    Example:
        >>> import keras, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(64, 3))
        >>> model = keras.Sequential([keras.layers.Dense(1)])
        >>> model.compile("adam", "mse")
        >>> history = fit(model, (x, x.sum(1)), epochs=2, batch_size=16)
        >>> history.epochs
        2
    """
    if epochs < 1:
        raise UsageError(f"epochs must be at least 1. Received: {epochs}")
    if patience is not None and patience < 1:
        raise UsageError(f"patience must be at least 1. Received: {patience}")
    if patience is not None and validation is None:
        raise UsageError(
            f"patience={patience} watches {monitor!r} and needs validation "
            "rows; give some, or leave patience out"
        )
    batches = Batches(train, batch_size, seed)
    if validation is not None:
        validation = keras.tree.map_structure(np.asarray, validation)
        count_rows(validation)
    _build(model, batches.data)
    record_steps(model)

    history = keras.callbacks.History()
    stopper = None
    if patience is not None:
        stopper = keras.callbacks.EarlyStopping(
            monitor, patience=patience, restore_best_weights=True
        )
    checkpoint = None
    if checkpoint_dir is not None:
        identity = identify(
            model,
            batches.data,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            patience=patience,
            monitor=monitor,
            settings=dict(settings or {}),
        )
        checkpoint = Checkpoint(
            checkpoint_dir, identity, history, stopper, resume
        )
    initial_epoch = _initial_epoch(checkpoint, epochs)
    bar = ProgressBar(description, initial_epoch) if progress else None

    def start_epoch(epoch: int, logs: Any) -> None:
        # Some layers draw from the global generator of the framework, which
        # no checkpoint holds: so it starts anew in each epoch.
        state = np.random.SeedSequence([seed, epoch]).generate_state(1)
        backend.seed(int(state[0]))
        batches.start_epoch(epoch)

    order = keras.callbacks.LambdaCallback(on_epoch_begin=start_epoch)
    # The checkpoint comes after all whose state it saves.
    chain = [order, StopOnNonFiniteLoss(), history, stopper, *callbacks]
    chain += [checkpoint, bar]
    try:
        model.fit(
            feed(batches),
            validation_data=validation,
            validation_batch_size=batch_size,
            epochs=epochs,
            initial_epoch=initial_epoch,
            shuffle=False,
            verbose=0,
            callbacks=[callback for callback in chain if callback is not None],
        )
    except NonFiniteLossError:
        if checkpoint_dir is not None:
            remove_checkpoint(checkpoint_dir)  # It would only fail again.
        raise
    finally:
        if bar is not None:
            bar.close()
    return _summarize(history, stopper)


def _build(model: keras.Model, data: tuple[Any, ...]) -> None:
    """Makes all variables, so that a checkpoint can be compared with them."""
    if not model.compiled:
        raise UsageError("the model is not compiled; call model.compile first")
    if not model.built:
        model(keras.tree.map_structure(lambda array: array[:1], data[0]))
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def _initial_epoch(checkpoint: Checkpoint | None, epochs: int) -> int:
    if checkpoint is None:
        return 0
    return epochs if checkpoint.stopped else checkpoint.epochs_done


def _summarize(
    history: keras.callbacks.History,
    stopper: keras.callbacks.EarlyStopping | None,
) -> History:
    metrics = {k: [float(v) for v in vs] for k, vs in history.history.items()}
    if stopper is None:
        return History(metrics, len(metrics["loss"]) - 1, False)
    return History(metrics, stopper.best_epoch, stopper.stopped_epoch > 0)
