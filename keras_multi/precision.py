"""The faster of float32 and bfloat16, by a short measurement."""

import dataclasses
import gc
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import keras
import numpy as np
from keras import ops, tree

from keras_multi import backend
from keras_multi.backend import AUTO
from keras_multi.inference.program import difference
from keras_multi.inference.timing import Decisions, turns
from keras_multi.training import record_steps

FLOAT32 = "float32"
FILE = "precision.json"
# Slower by this factor, a product is computed without the hardware for it,
# and a single step of a model could take minutes.
LOST_PRODUCT = 4.0
LOST_RUN = 1.5  # of the shorter of two runs: enough to stop there
# Share of the time of float32 that three quarters of the rounds must beat.
GAIN = 0.97
ROUNDS = range(5, 40)
SECONDS = 3.0
TRAINING_STEPS = 3  # between the losses that are compared
TOLERANCE = 5e-2  # of losses and outputs; bfloat16 keeps 8 bits

R = TypeVar("R", bound=Any)


class Choice(NamedTuple):
    """What was chosen, and why.

    Attributes:
        precision: the Keras dtype policy.
        reason: what the measurement told.
    """

    precision: str
    reason: str

    def __str__(self) -> str:
        return f"{self.precision}: {self.reason}"


class Trial(NamedTuple):
    """Work in one precision.

    Attributes:
        outputs: arrays of what the first of the work gave, from the same
            start in each precision.
        run: does some more of the work; may return tensors to wait for.
    """

    outputs: Any
    run: Callable[[], Any]


def choose_precision(
    build: Callable[[str], keras.Model],
    inputs: Any,
    targets: Any = None,
    sample_weight: Any = None,
    *,
    training: bool,
    candidate: str = "mixed_bfloat16",
    cache_dir: Path | None = None,
) -> Choice:
    """Tells whether a model is faster in bfloat16 than in float32 here.

    Whether lower precision pays depends on the processor, the backend and the
    model: without hardware for bfloat16, a step can take a hundred times as
    long. So a product and a convolution are timed first, and if those do not
    lose by far, the model itself, in both precisions by turns, from the same
    weights. float32 is kept unless bfloat16 saves 3 % in three quarters of
    the rounds, with losses or outputs that agree to 5 %. What was decided is
    kept in a file, for this machine, these versions, the layers of the model
    and the shapes of the batch.

    Both models are in memory at the same time.

    Args:
        build: gives the model under a dtype policy. It may make that the
            global one, which is restored. It should seed what it draws, as
            `keras_multi.backend.seed` does. It is called twice at most.
        inputs: a batch, as `keras.Model.train_on_batch` takes it.
        targets: the same.
        sample_weight: the same.
        training: whether training steps of a compiled model are timed, or
            else predictions.
        candidate: the policy that is compared with float32.
        cache_dir: folder of the file with the decisions; by default that of
            the data sets, see `keras_multi.data.default_cache_dir`.

    Returns:
        The dtype policy, `"float32"` or the candidate, with the reason.

    Raises:
        UsageError: if a model is to be trained and is not compiled.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_multi import choose_precision
        >>> def build(policy):
        ...     dense = keras.layers.Dense(1, dtype=policy)
        ...     return keras.Sequential([keras.Input((8,)), dense])
        >>> rows = np.ones((4, 8), "float32")
        >>> choose_precision(build, rows, training=False).precision
        'float32'
    """
    batch = inputs, targets, sample_weight
    reference = _built(build, FLOAT32, inputs)
    start = reference.get_weights()

    def make(policy: str) -> Trial:
        if policy == FLOAT32:
            model = reference
        else:
            model = _built(build, policy, inputs)
            model.set_weights(start)
        if training:
            return _training(model, batch)
        return Trial(
            tree.map_structure(np.float32, model.predict_on_batch(inputs)),
            lambda: model.predict_on_batch(inputs),
        )

    facts = [training, _facts(reference), _shapes(batch)]
    text = json.dumps(facts, default=str)
    problem = hashlib.sha256(text.encode()).hexdigest()
    return fastest(make, problem, candidate, cache_dir)


def settled(
    recipe: R,
    build: Callable[[R], keras.Model],
    data: Callable[[R], tuple[Any, ...]],
) -> R:
    """Gives a recipe whose precision is no longer `"auto"`.

    Args:
        recipe: a dataclass with `precision` and `batch_size`. One with
            another precision is given back, and nothing is called.
        build: gives the compiled model of a recipe.
        data: gives training data, as `keras_multi.training.fit` takes them,
            or as much of them as a batch, for the recipe in float32.

    Returns:
        The recipe with the precision of `choose_precision`, which is told on
        stderr.
    """
    if recipe.precision != AUTO:
        return recipe

    def under(policy: str) -> R:
        return dataclasses.replace(recipe, precision=policy)

    batch = tree.map_structure(
        lambda x: x[: recipe.batch_size], data(under(FLOAT32))
    )
    choice = choose_precision(
        lambda policy: build(under(policy)), *batch, training=True
    )
    tell(choice)
    return under(choice.precision)


def tell(choice: Choice) -> None:
    """Tells a choice on stderr."""
    print(f"precision {choice}", file=sys.stderr)


def fastest(
    make: Callable[[str], Trial],
    problem: str | None,
    candidate: str = "mixed_bfloat16",
    cache_dir: Path | None = None,
) -> Choice:
    """Chooses a precision for any work; see `choose_precision`.

    Args:
        make: prepares the work in a precision.
        problem: names all that the speed of the work depends on, but for the
            machine and the versions. `None` measures anew and keeps nothing.
        candidate: the policy that is compared with float32.
        cache_dir: folder of the file with the decisions.

    Returns:
        The dtype policy with the reason.
    """
    if problem is None:
        return _measured(make, candidate)
    decisions = Decisions(cache_dir, FILE)
    problem = f"{candidate} {problem}"
    precision, _, reason = (decisions.get(problem) or "").partition(": ")
    if precision in (FLOAT32, candidate):
        return Choice(precision, reason)
    choice = _measured(make, candidate)
    decisions.put(problem, str(choice))
    decisions.save()
    return choice


def _measured(make: Callable[[str], Trial], candidate: str) -> Choice:
    try:
        return _slow_product(candidate) or _raced(make, candidate)
    finally:
        gc.collect()  # Models are in cycles.


def _slow_product(candidate: str) -> Choice | None:
    """Keeps float32 if products in another type lose by far."""
    dtype = keras.dtype_policies.get(candidate).compute_dtype
    x = np.random.default_rng(0).standard_normal((256, 256), "float32")
    for name, shapes, multiply in (
        ("matrix product", [(256, 256)] * 2, ops.matmul),
        ("convolution", [(4, 16, 16, 64), (4, 4, 64, 64)], _convolve),
    ):
        work = backend.jit(multiply, backend.modes()[0])
        before, now = (
            _product_seconds(
                work, [ops.cast(x.reshape(shape), kind) for shape in shapes]
            )
            for kind in (FLOAT32, dtype)
        )
        if now > LOST_PRODUCT * before:
            return Choice(
                FLOAT32,
                f"a {name} in {dtype} takes {now / before:.0f} times as long",
            )
    return None


def _convolve(images: Any, kernel: Any) -> Any:
    return ops.conv(images, kernel, padding="same")


def _product_seconds(work: Callable[..., Any], arguments: list[Any]) -> float:
    seconds = math.inf
    for _ in range(4):  # The first compiles.
        seconds = min(seconds, _seconds(lambda: work(*arguments)))
    return seconds


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    backend.synchronize(work())
    return time.perf_counter() - start


def _raced(make: Callable[[str], Trial], candidate: str) -> Choice:
    """Times the work in both precisions."""
    exact = make(FLOAT32)
    try:
        low = make(candidate)
    except Exception as error:  # of the code of a user, or of too little memory
        kind = type(error).__name__
        return Choice(FLOAT32, f"{candidate} raises {kind}: {error}")
    apart = difference(low.outputs, exact.outputs)
    if not apart <= TOLERANCE:
        return Choice(FLOAT32, f"{candidate} gives {apart:.1e} other values")
    before, now = (
        min(_seconds(trial.run) for _ in range(2)) for trial in (exact, low)
    )
    ratio = now / before
    if ratio < LOST_RUN:
        times = turns({FLOAT32: exact.run, "low": low.run}, SECONDS, ROUNDS)
        ratios = np.divide(times["low"], times[FLOAT32])
        ratio = float(np.median(ratios))
        if np.quantile(ratios, 0.75) < GAIN:
            return Choice(candidate, f"takes {ratio:.2f} of float32's time")
    return Choice(FLOAT32, f"{candidate} takes {ratio:.2f} of its time")


def _built(
    build: Callable[[str], keras.Model], policy: str, inputs: Any
) -> keras.Model:
    before = keras.config.dtype_policy()
    try:
        model = build(policy)
        if not model.built:
            model(tree.map_structure(lambda x: x[:1], inputs))
    finally:
        keras.config.set_dtype_policy(before)
    return model


def _training(model: keras.Model, batch: tuple[Any, ...]) -> Trial:
    """Compares losses without dropout, whose draws depend on the type."""
    record_steps(model)
    losses = [np.ravel(model.test_on_batch(*batch))[0]]
    for _ in range(TRAINING_STEPS):
        model.train_on_batch(*batch)
    losses.append(np.ravel(model.test_on_batch(*batch))[0])
    return Trial(
        np.array(losses, "float64"), lambda: model.train_on_batch(*batch)
    )


def _facts(model: keras.Model) -> list[Any]:
    """What tells a model from others: the layers that hold no others."""
    facts: list[Any] = [type(model).__name__]
    if model.compiled:
        facts += [type(model.optimizer).__name__, model.jit_compile]
    for layer in model._flatten_layers():
        if len(list(layer._flatten_layers())) == 1:
            facts += [type(layer).__name__, _config(layer)]
        facts.append(_shapes(layer.weights))
    return facts


def _config(layer: keras.Layer) -> dict[str, Any]:
    try:
        with backend.without_tensorflow():
            config = dict(layer.get_config())
    except NotImplementedError:
        return {}
    return {k: v for k, v in config.items() if k not in ("name", "seed")}


def _shapes(structure: Any) -> list[Any]:
    return [
        [list(np.shape(x)), str(x.dtype)]
        for x in tree.flatten(structure)
        if x is not None
    ]
