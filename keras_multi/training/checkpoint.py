"""A checkpoint that brings a killed run to the end it would have had."""

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_multi import backend
from keras_multi.errors import KerasMultiError

FILE_NAME = "checkpoint.npz"

# The kinds of arrays in the file, each named `<kind>/<position>`.
_MODEL, _OPTIMIZER, _BEST = "model", "optimizer", "best"


class Checkpoint(keras.callbacks.Callback):
    """Writes the whole state of a run after each epoch, and restores it.

    One `.npz` file holds the variables of the model (with the states of its
    seed generators) and of its optimizer, the history, and the state of early
    stopping with the best weights so far. It replaces its predecessor in one
    step, so that a complete file is there at any moment.

    Args:
        directory: folder of the file, made if it is not there.
        identity: what makes this run this run (sizes, seed, settings), JSON
            types only. A file of another identity is refused.
        history: the history of this run. It must come before this callback
            in the list of callbacks.
        early_stopping: as above; `None` if the run does not stop early.
        resume: whether to go on from a file that is there already.

    Raises:
        KerasMultiError: if the file cannot be read, or belongs to another
            run, or cannot be written. The message names it and the remedy.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        identity: dict[str, Any],
        history: keras.callbacks.History,
        early_stopping: keras.callbacks.EarlyStopping | None,
        resume: bool = True,
    ) -> None:
        super().__init__()
        self.path = Path(directory) / FILE_NAME
        self.identity = json.loads(json.dumps(identity))
        self.history = history
        self.early_stopping = early_stopping
        self._state: dict[str, Any] | None = None
        self._arrays: dict[str, np.ndarray] = {}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise KerasMultiError(
                f"cannot make the folder {self.path.parent} for checkpoints: "
                f"{error.strerror}; choose another one"
            ) from error
        if resume and self.path.exists():
            self._read()

    @property
    def epochs_done(self) -> int:
        """Number of epochs in the file that this run goes on from."""
        return self._state["epochs_done"] if self._state else 0

    @property
    def stopped(self) -> bool:
        """Whether the run in the file had already stopped early."""
        return bool(self._state and self._state["stopped"])

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Restores the state in the file, if there is one."""
        if self._state is None:
            return
        for kind, variables in self._variables().items():
            for i, variable in enumerate(variables):
                variable.assign(self._arrays[f"{kind}/{i}"])
        self.history.epoch = list(range(self.epochs_done))
        self.history.history = self._state["history"]
        stopper, saved = self.early_stopping, self._state["early_stopping"]
        if stopper is not None and saved is not None:
            stopper.wait = saved["wait"]
            stopper.stopped_epoch = saved["stopped_epoch"]
            stopper.best = saved["best"]
            stopper.best_epoch = saved["best_epoch"]
            if saved["best_weights"]:
                stopper.best_weights = [
                    self._arrays[f"{_BEST}/{i}"]
                    for i in range(saved["best_weights"])
                ]
        self._arrays = {}

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Writes the state after an epoch."""
        arrays = {
            f"{kind}/{i}": _to_numpy(variable)
            for kind, variables in self._variables().items()
            for i, variable in enumerate(variables)
        }
        state: dict[str, Any] = {
            "identity": self.identity,
            "epochs_done": epoch + 1,
            "stopped": bool(self.model.stop_training),
            "history": {
                name: [float(value) for value in values]
                for name, values in self.history.history.items()
            },
            "early_stopping": None,
        }
        if (stopper := self.early_stopping) is not None:
            best_weights = stopper.best_weights or []
            for i, weight in enumerate(best_weights):
                arrays[f"{_BEST}/{i}"] = _storable(weight)
            state["early_stopping"] = {
                "wait": stopper.wait,
                "stopped_epoch": stopper.stopped_epoch,
                "best": None if stopper.best is None else float(stopper.best),
                "best_epoch": stopper.best_epoch,
                "best_weights": len(best_weights),
            }
        self._write(arrays, state)

    def _variables(self) -> dict[str, list[keras.Variable]]:
        return {
            _MODEL: self.model.variables,
            _OPTIMIZER: self.model.optimizer.variables,
        }

    def _write(
        self, arrays: dict[str, np.ndarray], state: dict[str, Any]
    ) -> None:
        temporary = self.path.with_name(f".{FILE_NAME}.{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as file:
                entries: dict[str, Any] = {
                    "state": np.array(json.dumps(state)),
                    **arrays,
                }
                np.savez(file, **entries)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise KerasMultiError(
                f"cannot write the checkpoint {self.path}: {error.strerror}; "
                "free some space or choose another folder"
            ) from error

    def _read(self) -> None:
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            state = json.loads(str(arrays.pop("state")))
            identity = state["identity"]
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            EOFError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise KerasMultiError(
                f"the checkpoint {self.path} cannot be read (it is damaged or "
                "no checkpoint); delete it to start afresh"
            ) from error
        if identity != self.identity:
            names = sorted(
                name
                for name in {*identity, *self.identity}
                if identity.get(name) != self.identity.get(name)
            )
            raise KerasMultiError(
                f"the checkpoint {self.path} belongs to another run: it "
                f"differs in {', '.join(names)}; delete it to start afresh, "
                "or choose another folder"
            )
        self._state, self._arrays = state, arrays


def remove_checkpoint(directory: str | os.PathLike[str]) -> None:
    """Removes the checkpoint of a finished run, if there is one.

    Call it once the results are saved: until then a run that is killed can
    be started again without loss.

    Args:
        directory: the `checkpoint_dir` given to `fit`.
    """
    (Path(directory) / FILE_NAME).unlink(missing_ok=True)


def identify(model: keras.Model, data: Any, **settings: Any) -> dict[str, Any]:
    """Describes a run, so that its checkpoint is not taken for another's.

    Args:
        model: compiled and built.
        data: nested structure of NumPy arrays, the training data.
        **settings: further JSON values.

    Returns:
        A dictionary of JSON types.
    """
    checksum = 0
    for array in keras.tree.flatten(data):
        contiguous = np.ascontiguousarray(array)
        raw = (
            contiguous.astype(str).tobytes()
            if contiguous.dtype == object
            else contiguous.view(np.uint8).data
        )
        checksum = zlib.crc32(raw, checksum)
    with backend.without_tensorflow():
        optimizer = model.optimizer.get_config()
    optimizer.pop("name")  # Names count the objects of a process.
    return {
        "backend": backend.name(),
        "data": checksum,
        "model": type(model).__name__,
        "model variables": [
            [str(v.dtype), list(v.shape)] for v in model.variables
        ],
        "optimizer": {
            "class": type(model.optimizer).__name__,
            **json.loads(json.dumps(optimizer, default=str)),
        },
        **settings,
    }


def _to_numpy(variable: keras.Variable) -> np.ndarray:
    return _storable(keras.ops.convert_to_numpy(variable))


def _storable(array: np.ndarray) -> np.ndarray:
    """Widens bfloat16, a type that `.npz` does not know; exact both ways."""
    array = np.asarray(array)
    is_numpy_type = array.dtype.isbuiltin == 1
    return array if is_numpy_type else array.astype(np.float32)
