"""The child process of a check: runs one stage after another on a backend.

The parent writes a stage a line to standard input, a name and a JSON object;
the answer is a JSON file and an npz file in the folder of the backend. What
the user's code prints goes where the parent says.

Started as `python -m keras_multi.portability.probe FOLDER REFERENCE`.
"""

import inspect
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_multi import backend
from keras_multi.errors import UsageError
from keras_multi.portability import randomness, source, subject
from keras_multi.portability.recording import recorded

ROWS = 8
RECORDED_ROWS = 2
STEPS = 10
_SEED = 0

Answer = tuple[dict[str, Any], dict[str, np.ndarray]]


class Probe:
    """A user's model on the backend of this process.

    Args:
        folder: where answers go.
        reference: `FILE.py:FUNCTION`.
    """

    def __init__(self, folder: Path, reference: str) -> None:
        self.folder, self.reference = folder, reference
        self.path, _ = source.split(reference)

    def _make(self) -> subject.Subject:
        backend.seed(_SEED)
        _, name = source.split(self.reference)
        build = source.find(self.reference)
        return subject.make(build, ROWS, name)

    def build(self) -> Answer:
        """Calls the user's function; gives its weights and data."""
        made = self._make()
        self.made, self.model = made, made.model
        arrays = {f"w{i}": w for i, w in enumerate(self.model.get_weights())}
        arrays |= _flat("x", made.inputs) | _flat("y", made.targets)
        answer = {
            "weights": [w.path for w in self.model.weights],
            "shapes": [list(w.shape) for w in self.model.weights],
            "embeddings": [
                layer.name
                for layer in self.model._flatten_layers()
                if type(layer) is keras.layers.Embedding
            ],
            "parameters": int(self.model.count_params()),
        }
        return answer, arrays

    def share(self, shared: str) -> Answer:
        """Takes over weights and data of another backend."""
        with np.load(shared) as stored:
            data = dict(stored)
        values = [data[f"w{i}"] for i in range(len(self.model.weights))]
        self.values = values
        self.model.set_weights(values)
        self.inputs = _packed("x", self.made.inputs, data)
        self.targets = _packed("y", self.made.targets, data)
        return {}, {}

    def outputs(self) -> Answer:
        """Outputs in inference, twice, and of the first row alone."""
        outputs = self._predict(self.model, self.inputs)
        again = self._predict(self.model, self.inputs)
        drawn = any(
            not np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
            for a, b in zip(outputs, again, strict=True)
        )
        return {"random": drawn}, _named(outputs)

    def batch(self) -> Answer:
        """Outputs of the first row alone."""
        first = _rows(self.inputs, 1)
        return {}, _named(self._predict(self.model, first))

    def layers(self, forced: str | None) -> Answer:
        """What each layer does, on the inputs it has on the reference."""
        inputs = None
        if forced:
            with np.load(forced) as stored:
                inputs = _grouped(stored, "in")
        with recorded(inputs) as calls:
            self.model(_rows(self.inputs, RECORDED_ROWS), training=False)
        arrays = {}
        for call in calls:
            for i, value in enumerate(call.inputs):
                arrays[f"in|{call.key}|{i}"] = value
            for i, value in enumerate(call.outputs):
                arrays[f"out|{call.key}|{i}"] = value
        answer = {"calls": [[call.key, call.path, call.kind] for call in calls]}
        return answer, arrays

    def gradients(self) -> Answer:
        """The loss in training mode and its gradient by each weight."""
        model = self.model
        weights = model.trainable_weights
        state = [np.array(ops.convert_to_numpy(v)) for v in model.variables]
        with randomness.turned_off(model) as rest:
            loss, gradients = backend.value_and_gradients(self._loss, weights)
        for variable, value in zip(model.variables, state, strict=True):
            variable.assign(value)
        arrays = {"loss": np.array(ops.convert_to_numpy(loss))}
        for i, gradient in enumerate(gradients):
            arrays[f"g{i}"] = np.array(ops.convert_to_numpy(gradient))
        answer = {"random": rest, "weights": [w.path for w in weights]}
        return answer, arrays

    def _loss(self) -> Any:
        outputs = self.model(self._tensors(self.inputs), training=True)
        if self.targets is not None:
            return self.model.compute_loss(
                x=self.inputs, y=self._tensors(self.targets), y_pred=outputs
            )
        rng = np.random.default_rng(_SEED)
        return sum(
            ops.mean(
                ops.cast(output, "float32")
                * ops.convert_to_tensor(
                    rng.standard_normal(output.shape).astype("float32")
                )
            )
            for output in tree.flatten(outputs)
        )

    def _tensors(self, data: Any) -> Any:
        return tree.map_structure(ops.convert_to_tensor, data)

    def training(self) -> Answer:
        """Losses of the first steps, without dropout."""
        if self.targets is None:
            return {"skipped": "the model is not compiled with a loss"}, {}
        model = self.model
        losses = []
        with randomness.turned_off(model) as rest:
            model.train_function = None
            if backend.name() == "tensorflow":
                model.jit_compile = False  # the stage `jit` compiles
            for _ in range(STEPS):
                model.reset_metrics()
                logs = model.train_on_batch(
                    self.inputs, self.targets, return_dict=True
                )
                losses.append(float(logs["loss"]))
        model.train_function = None
        model.set_weights(self.values)
        return {"random": rest}, {"losses": np.array(losses)}

    def save(self) -> Answer:
        """Saves the model beside the answers."""
        self.model.save(self.folder / "model.keras")
        return {}, {}

    def load(self, path: str) -> Answer:
        """Loads a model that a backend saved."""
        classes = {
            name: value
            for name, value in vars(sys.modules[self._module()]).items()
            if inspect.isclass(value) or inspect.isfunction(value)
        }
        classes |= {
            type(layer).__name__: type(layer)
            for layer in self.model._flatten_layers()
            if not type(layer).__module__.startswith("keras.")
        }
        model = keras.saving.load_model(
            path, custom_objects=classes, compile=False, safe_mode=False
        )
        return {}, _named(self._predict(model, self.inputs))

    def _module(self) -> str:
        return str(source.find(self.reference).__module__)

    def policy(self, name: str) -> Answer:
        """Outputs of the model under another dtype policy."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(name)
        try:
            model = self._make().model
            model.set_weights(self.values)
            return {}, _named(self._predict(model, self.inputs))
        finally:
            keras.config.set_dtype_policy(before)

    def jit(self) -> Answer:
        """Outputs of the compiled model."""
        compiled = backend.jit(lambda x: self.model(x, training=False))
        outputs = tree.flatten(compiled(self._tensors(self.inputs)))
        return {}, _named([_array(output) for output in outputs])

    def _predict(self, model: Any, inputs: Any) -> list[np.ndarray]:
        outputs = tree.flatten(model(inputs, training=False))
        return [_array(output) for output in outputs]


def _array(tensor: Any) -> np.ndarray:
    if keras.backend.standardize_dtype(tensor.dtype) in ("bfloat16", "float16"):
        tensor = ops.cast(tensor, "float32")
    return np.array(ops.convert_to_numpy(tensor))


def _named(outputs: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"output {i}": output for i, output in enumerate(outputs)}


def _flat(letter: str, data: Any) -> dict[str, np.ndarray]:
    leaves = [leaf for leaf in tree.flatten(data) if leaf is not None]
    return {f"{letter}{i}": leaf for i, leaf in enumerate(leaves)}


def _packed(letter: str, structure: Any, data: dict[str, np.ndarray]) -> Any:
    names = iter(range(len(data)))
    return tree.map_structure(
        lambda leaf: None if leaf is None else data[f"{letter}{next(names)}"],
        structure,
    )


def _rows(data: Any, count: int) -> Any:
    return tree.map_structure(lambda array: array[:count], data)


def _grouped(stored: Any, side: str) -> dict[str, list[np.ndarray]]:
    """Arrays of each call, in their order."""
    groups: dict[str, list[np.ndarray]] = {}
    for name in stored.files:
        if name.startswith(f"{side}|"):
            key = name.split("|")[1]
            groups.setdefault(key, []).append(stored[name])
    return groups


def _run(probe: Probe, stage: str, arguments: dict[str, Any]) -> Answer:
    start = time.monotonic()
    try:
        answer, arrays = getattr(probe, stage)(**arguments)
    except UsageError as error:
        cause = error.__cause__ or error
        place = source.line_of(cause, probe.path)
        answer, arrays = {"usage": str(error), "place": place}, {}
    except source.RAISED as error:
        answer, arrays = (
            {
                "error": source.where(error, probe.path),
                "place": source.line_of(error, probe.path),
            },
            {},
        )
    return answer | {"seconds": time.monotonic() - start}, arrays


def main(folder: Path, reference: str) -> None:
    """Answers the stages that come in."""
    keras.config.disable_traceback_filtering()  # for the user's file and line
    probe = Probe(folder, reference)
    for number, line in enumerate(sys.stdin):
        stage, _, arguments = line.partition(" ")
        answer, arrays = _run(probe, stage, json.loads(arguments))
        np.savez(folder / f"{number}.npz", allow_pickle=False, **arrays)
        part = folder / f"{number}.part"
        part.write_text(json.dumps(answer))
        part.rename(folder / f"{number}.json")
    sys.stdout.flush()
    # Threads of a framework may still run; nothing is left to be written.
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
