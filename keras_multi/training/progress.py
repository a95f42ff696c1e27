"""A progress bar on stderr, and an early end when the loss is not finite."""

import math
import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from keras_multi.errors import KerasMultiError

_SECONDS_BETWEEN_UPDATES = 0.2


class ProgressBar(keras.callbacks.Callback):
    """Shows epoch, loss and metrics while a model trains.

    It writes to stderr, and nothing if stderr is not a terminal. Values are
    fetched from the device a few times a second at most, so that the bar
    does not make the backend wait.

    Args:
        description: what is trained; shown at the start of the line.
        initial_epoch: epochs done already.
    """

    def __init__(self, description: str, initial_epoch: int = 0) -> None:
        super().__init__()
        self._description = description
        self._initial_epoch = initial_epoch
        self._progress: Progress | None = None
        self._last_update = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the bar, if stderr is a terminal."""
        console = Console(stderr=True)
        if not console.is_terminal:
            return
        steps = self.params["steps"]
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            TextColumn("{task.fields[metrics]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task(
            self._description,
            total=self.params["epochs"] * steps,
            completed=self._initial_epoch * steps,
            epoch=self._initial_epoch,
            epochs=self.params["epochs"],
            metrics="",
        )
        self._progress.start()

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Shows which epoch runs."""
        if self._progress is not None:
            self._progress.update(self._task, epoch=epoch + 1)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Moves the bar on by one batch."""
        if self._progress is None:
            return
        self._progress.advance(self._task)
        now = time.monotonic()
        if now - self._last_update >= _SECONDS_BETWEEN_UPDATES:
            self._last_update = now
            self._progress.update(self._task, metrics=_format(logs))

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Shows the metrics of the epoch, those of the validation too."""
        if self._progress is not None:
            self._progress.update(self._task, metrics=_format(logs))

    def close(self) -> None:
        """Takes the bar away, also after an error."""
        if self._progress is not None:
            self._progress.stop()


class NonFiniteLossError(KerasMultiError):
    """The loss is NaN or infinite."""


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Raises an error at the end of the first epoch whose loss is not finite.

    Raises:
        NonFiniteLossError: naming the epoch and what to try.
    """

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Checks the loss."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise NonFiniteLossError(
                f"the loss became {loss} in epoch {epoch + 1}; try a lower "
                "learning rate, clip the gradients (clipnorm=1.0 in the "
                "optimizer), or look for extreme values in the data"
            )


def _format(logs: dict[str, Any] | None) -> str:
    return "  ".join(f"{k} {float(v):.4f}" for k, v in (logs or {}).items())
