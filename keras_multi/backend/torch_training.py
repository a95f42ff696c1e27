"""Training steps on PyTorch that are repeated without the calls of Keras."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import is_
from typing import Any

import keras
import numpy as np
import torch
from keras import ops
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from keras_multi.backend.torch_layers import FusedLayers, lay_out_kernels
from keras_multi.backend.torch_replay import Recorder, kind

TOLERANCE = 1e-4
FIXED = (  # which give the same each time, that nobody writes into
    torch.ops.aten.arange.default,
    torch.ops.aten.arange.start,
    torch.ops.aten.arange.start_step,
    torch.ops.aten.scalar_tensor.default,
)
SHAPES = 32  # of batches, for which steps are recorded
Apply = Callable[..., Any]


class RecordedStep:
    """A training step of a model that records its operations and repeats them.

    All are taken in PyTorch's own kernels where `torch_layers` has them. The
    first step with some shapes is one of Keras. The second is recorded,
    forwards and backwards, down to the calls of the optimizer, which are made
    as before. The third is done twice, as recorded and by Keras; where the
    gradients or what the step tells are not the same, Keras does all further
    ones.

    Args:
        model: a compiled model. What its `train_step` does may depend on
            shapes and on the values of variables through operations, but not
            on other values.
    """

    def __init__(self, model: Any) -> None:
        self._model, self._step = model, model.train_step
        self._compiled: list[Any] = []
        self._programs: dict[Any, _Program | None] = {}
        self._met: set[Any] = set()

    def __call__(self, data: Any) -> Any:
        """Takes a step on a batch."""
        self._follow()
        # `train_on_batch` hands over arrays as they are.
        data = pytree.tree_map_only(np.ndarray, ops.convert_to_tensor, data)
        leaves, structure = pytree.tree_flatten(data)
        key = (structure, *map(kind, leaves))
        if key not in self._met:
            self._met.add(key)
            return self._plain(data)
        if key not in self._programs:
            # To record anew what was dropped would take longer than Keras.
            few = len(self._programs) < SHAPES
            return self._record(key, data) if few else self._plain(data)
        program = self._programs[key]
        if program is None or not program.applies():
            self._programs[key] = None
            return self._plain(data)
        if not program.verified:
            return self._verify(key, program, data)
        return program(self._model.optimizer.apply, data)

    def _follow(self) -> None:
        """Drops what was recorded before the model was compiled anew."""
        model = self._model
        parts = [model.optimizer, model._compile_loss, model._compile_metrics]
        if not self._compiled or not all(map(is_, parts, self._compiled)):
            self._compiled = parts
            self._programs.clear()
            self._met.clear()
            self._fused = FusedLayers(model)
            lay_out_kernels(model)

    def _plain(self, data: Any) -> Any:
        """Takes a step by the calls of Keras."""
        with self._fused:
            return self._step(data)

    def _record(self, key: Any, data: Any) -> Any:
        """Takes a step, and keeps what it did if that can be repeated."""
        model = self._model
        every = [*model.variables, *model.metrics_variables]
        every += model.optimizer.variables
        variables = list({id(v): v for v in every}.values())
        lay_out_kernels(model)  # what the optimizer has made since then
        recorder = _StepRecorder(_tensors(data), variables)
        with self._applying(recorder.apply), recorder:
            logs = self._plain(data)
        self._programs[key] = (
            None
            if recorder.refused or not recorder.trained
            else _Program(recorder, logs)
        )
        return logs

    @contextmanager
    def _applying(self, apply: Apply) -> Iterator[None]:
        """Gives the calls of the optimizer to a function."""
        optimizer = self._model.optimizer
        optimizer.__dict__["apply"] = functools.partial(apply, optimizer.apply)
        try:
            yield
        finally:
            del optimizer.__dict__["apply"]

    def _verify(self, key: Any, program: "_Program", data: Any) -> Any:
        """Takes a step in both ways; the one of Keras counts."""
        kept = [
            (v._value, v._value.detach().clone())
            for v in program.variables
            if not v.trainable
        ]
        found: list[Any] = []
        expected: list[Any] = []
        chance = torch.get_rng_state()
        logs = program(lambda gradients, _: found.append(gradients), data)
        found.append(logs)
        torch.set_rng_state(chance)
        with torch.no_grad():
            for x, before in kept:
                x.copy_(before)

        def apply(real: Apply, gradients: Any, weights: Any = None) -> None:
            expected.append([_copy(x) for x in gradients])
            real(gradients, weights)

        with self._applying(apply):
            logs = self._plain(data)
        expected.append(logs)
        program.verified = _agree(found, expected)
        if not program.verified:
            self._programs[key] = None
        self._model.zero_grad()  # A repeated step has its own gradients.
        return logs


class _StepRecorder(Recorder):
    """Notes a training step, and where in it the optimizer is called.

    Args:
        data: tensors of the batch.
        variables: all that the step may read and change.

    Attributes:
        trained: the weights that each call of the optimizer is for.
    """

    def __init__(self, data: list[Any], variables: list[Any]) -> None:
        super().__init__([*data, *(v._value for v in variables)])
        self.variables = variables
        self.trained: list[Any] = []
        with self.graph.inserting_before(next(iter(self.graph.nodes))):
            self._apply = self.graph.placeholder("apply")

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in FIXED:
            return func(*args, **(kwargs or {}))  # It becomes a constant.
        return super().__torch_dispatch__(func, types, args, kwargs)

    def apply(self, real: Apply, gradients: Any, weights: Any = None) -> None:
        """Calls the optimizer, and notes that and for what."""
        with _disable_current_modes():
            real(gradients, weights)
        nodes = [self.node_of(gradient) for gradient in gradients]
        arguments = self._apply, nodes, len(self.trained)
        self.graph.call_function(_call_optimizer, arguments)
        self.trained.append(weights)


@torch.fx.has_side_effect
def _call_optimizer(apply: Apply, gradients: Any, place: int) -> None:
    apply(list(gradients), place)


class _Program:
    """A recorded step.

    Attributes:
        variables: all that it reads and changes.
        verified: whether it was found to do what Keras does.
    """

    def __init__(self, recorder: _StepRecorder, logs: Any) -> None:
        self._program, self.verified = recorder.program(logs), False
        self._trained, self.variables = recorder.trained, recorder.variables
        self._trainable = [v.trainable for v in self.variables]

    def applies(self) -> bool:
        """Whether the same variables train as when it was recorded."""
        return self._trainable == [v.trainable for v in self.variables]

    @torch.no_grad()
    def __call__(self, apply: Apply, data: Any) -> Any:
        """Repeats it, and gives gradients and weights to a function."""
        run, constants, outputs = self._program
        found = run(
            lambda gradients, place: apply(gradients, self._trained[place]),
            *_tensors(data),
            *(v._value for v in self.variables),
            *constants,
        )
        return pytree.tree_unflatten(found, outputs)


def _tensors(data: Any) -> list[Any]:
    return [x for x in pytree.tree_leaves(data) if isinstance(x, torch.Tensor)]


def _copy(x: Any) -> Any:
    return None if x is None else x.detach().clone()


def _agree(found: Any, expected: Any) -> bool:
    """Whether all numbers are the same, as far as the order of sums allows."""
    pairs = [pytree.tree_flatten(x) for x in (found, expected)]
    (ours, structure), (theirs, other) = pairs
    return structure == other and all(map(_close, ours, theirs))


def _close(x: Any, y: Any) -> bool:
    if not (isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor)):
        return bool(x == y)
    x, y = x.detach().float(), y.detach().float()
    if x.numel() == 0:
        return x.shape == y.shape
    apart, scale = (x - y).nan_to_num().abs().max(), y.nan_to_num().abs().max()
    return bool(
        apart <= TOLERANCE * scale and torch.equal(x.isnan(), y.isnan())
    )


def record_steps(model: Any) -> None:
    """Lets a compiled model repeat the operations of its training steps."""
    if isinstance(model.train_step, RecordedStep):
        return
    if not (model.jit_compile or model.run_eagerly):
        model.train_step = RecordedStep(model)


class _Loader(torch.utils.data.DataLoader):
    """The batches of a data set as tensors, one after the other."""

    def __init__(self, batches: Any) -> None:
        super().__init__(batches, batch_size=None)

    def __iter__(self) -> Any:
        for i in range(len(self)):
            yield keras.tree.map_structure(
                keras.ops.convert_to_tensor, self.dataset[i]
            )


def feed(batches: Any) -> Any:
    """Makes a loader of a data set."""
    return _Loader(batches)
