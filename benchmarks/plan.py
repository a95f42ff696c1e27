"""What a run is to measure: from the command line or a configuration file."""

import itertools
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from benchmarks import checkout, workload
from keras_multi import backend
from keras_multi.errors import UsageError
from keras_multi.portability import source

SUITES = ("quick", "full")
MODES = {
    "jax": ("xla",),
    "torch": ("eager", "compile"),
    "tensorflow": ("xla", "graph"),
}
# A few of each domain, so that the suite ends within minutes.
_QUICK = (
    "dcn_predict",
    "dcn_train",
    "classifier_predict",
    "gpt2_train",
    "sd_text_to_image",
)
_ROUNDS = {"quick": 9, "full": 15, "base": 30}
_REPEATS_OF_BASE = 2
_BUDGET = {"quick": 20.0, "full": 180.0}

Key = tuple[str, str, str]


class Plan(pydantic.BaseModel):
    """What to run. Make one with `make`, which checks it.

    Attributes:
        suite: `"quick"` takes a few workloads of each domain, the default
            mode of each backend and the first batch size of each workload,
            `"full"` all of them, more rounds and more time.
        workloads: names of workloads, or paths of workload files.
        models: users' models, each `FILE.py:FUNCTION`.
        backends: names of installed backends; the first is the reference.
        precisions: Keras dtype policies, and `"auto"` for the faster of
            float32 and mixed_bfloat16 by a measurement in each process.
        modes: compilation modes, for the backends that have them; the
            suite's where empty.
        batch_sizes: examples per step; the suite's where empty.
        matmul_precision: see `keras_multi.backend.set_matmul_precision`.
        affinity: cores that the cells may use; all where empty.
        target: wanted half width of the 95 % interval of a median, relative
            to the median.
        budget: seconds of rounds for one workload, after which it is not
            measured further though the target is not reached. A batch size
            that takes so long by itself, and 20 seconds at least, gets five
            samples.
        rounds: least number of samples of each contender, in each process.
        repeats: how many processes measure a cell, one after the other;
            their samples are pooled. Two where there is a base: processes
            of the same code differ.
        warm: whether to take programs that earlier processes compiled, from
            the folder that the commands keep them in.
        base: root of another version of this project, which measures each
            cell in the same rounds; `None` for no comparison.
        time_limit: seconds that one cell may compute.
        memory_limit: bytes that the process of a cell may use; nine tenths
            of what is free when it starts where `None`. So many cells of a
            workload as have room are alive together, another one while so
            much is free, or one and a half times what the largest took.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    suite: str = "quick"
    workloads: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("float32", "mixed_bfloat16")
    modes: tuple[str, ...] = ()
    batch_sizes: tuple[pydantic.PositiveInt, ...] = ()
    matmul_precision: str = "float32"
    affinity: tuple[int, ...] = ()
    target: float = 0.02
    budget: float = 0.0
    rounds: int = 0
    repeats: pydantic.PositiveInt = 1
    warm: bool = False
    base: Path | None = None
    time_limit: float = 600.0
    memory_limit: pydantic.PositiveInt | None = None

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everything that is measured: workloads and models."""
        return self.workloads + self.models

    def cells(self) -> list[Key]:
        """Backend, precision and mode of each process of a workload."""
        return [
            (name, precision, mode)
            for precision, name in itertools.product(
                self.precisions, self.backends
            )
            for mode in self._modes(name)
        ]

    def _modes(self, name: str) -> list[str]:
        if self.modes:
            return [mode for mode in MODES[name] if mode in self.modes]
        return list(MODES[name][: 1 if self.suite == "quick" else None])


def read(path: Path) -> dict[str, Any]:
    """Reads a configuration file: the fields of `Plan`, in TOML.

    Args:
        path: the file.

    Raises:
        UsageError: if it cannot be read or is not TOML.

    Example:
        ```toml
        workloads = ["dcn_train"]
        backends = ["jax", "torch"]
        precisions = ["float32", "mixed_bfloat16"]
        modes = ["xla", "eager", "compile"]
        batch_sizes = [64, 256, 1024, 4096]
        budget = 120
        ```
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"cannot read configuration file {str(path)!r}: {error.strerror}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{str(path)!r} is not TOML: {error}") from error


def make(settings: Mapping[str, Any]) -> Plan:
    """Checks settings and fills in what they leave open.

    Args:
        settings: fields of `Plan`. Without workloads and models, those of
            the suite run; without backends, all installed.

    Raises:
        UsageError: if a field is unknown or has a bad value.
        BackendError: if a backend is not installed.

    Example:
        >>> from benchmarks import plan
        >>> plan.make({"workloads": ["dcn_train"]}).target
        0.02
    """
    try:
        plan = Plan.model_validate(settings)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"setting {where!r}: {first['msg']}. "
            f"Received: {first.get('input')!r}"
        ) from error
    _one_of("suite", [plan.suite], SUITES)
    _one_of("precision", plan.precisions, (*backend.PRECISIONS, backend.AUTO))
    _one_of(
        "matmul precision", [plan.matmul_precision], backend.MATMUL_PRECISIONS
    )
    _one_of("mode", plan.modes, tuple(sum(MODES.values(), ())))
    for name in ("target", "time_limit"):
        _positive(name, getattr(plan, name))
    for name in ("budget", "rounds"):
        if name in plan.model_fields_set:
            _positive(name, getattr(plan, name))
    for name in plan.workloads:
        workload.check(name)
    for reference in plan.models:
        source.split(reference)
    for name in plan.backends:
        backend.require(name)
    if not backend.available():
        backend.require()
    _check_affinity(plan.affinity)
    rounds = _ROUNDS["base" if plan.base else plan.suite]
    filled: dict[str, Any] = {
        "backends": plan.backends or backend.available(),
        "budget": plan.budget or _BUDGET[plan.suite],
        "rounds": plan.rounds or rounds,
        "base": plan.base and checkout.check(plan.base),
        "repeats": _REPEATS_OF_BASE
        if plan.base and "repeats" not in plan.model_fields_set
        else plan.repeats,
    }
    if not plan.subjects:
        quick = plan.suite == "quick"
        filled["workloads"] = _QUICK if quick else workload.names()
    plan = plan.model_copy(update=filled)
    if not plan.cells():
        raise UsageError(
            f"no backend of {', '.join(plan.backends)} has a mode of "
            f"{', '.join(plan.modes)}"
        )
    names = [workload.label(subject) for subject in plan.subjects]
    if len(set(names)) < len(names):
        raise UsageError(
            f"workloads need different names. Received: {', '.join(names)}"
        )
    return plan


def _check_affinity(affinity: tuple[int, ...]) -> None:
    unknown = set(affinity) - set(backend.cores())
    if unknown or len(set(affinity)) < len(affinity):
        raise UsageError(
            "affinity lists different cores of "
            f"{', '.join(map(str, backend.cores()))}. "
            f"Received: {', '.join(map(str, affinity))}"
        )


def _one_of(
    what: str, values: tuple[str, ...] | list[str], allowed: tuple[str, ...]
) -> None:
    for value in values:
        if value not in allowed:
            raise UsageError(
                f"unknown {what} {value!r}; choose one of {', '.join(allowed)}"
            )


def _positive(name: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        option = name.replace("_", "-")
        raise UsageError(f"--{option} must be positive. Received: {value}")
