"""`check`: the same model on every backend, compared."""

import inspect
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_multi import backend
from keras_multi.errors import UsageError
from keras_multi.portability import source, static
from keras_multi.portability.child import IN_CHILD, Answer, Child
from keras_multi.portability.judge import Judge, fault
from keras_multi.portability.report import (
    FAILED,
    NOTE,
    OK,
    Check,
    Finding,
    Report,
)

TIME_LIMIT = 300.0

Tick = Callable[[str], None]


def check(
    build_fn: source.BuildFunction,
    *,
    backends: Sequence[str] | None = None,
    time_limit: float = TIME_LIMIT,
    jit: bool = True,
) -> Report:
    """Checks whether a Keras model does the same on every backend.

    The model is built in one child process per backend, from the file that
    defines the function. This process needs no Keras, and may run it on any
    backend.

    Args:
        build_fn: a function at the top level of a file, without arguments.
            It returns a Keras model, or `(model, inputs)`, or
            `(model, inputs, targets)` with NumPy arrays.
        backends: names of the backends to compare; the installed ones by
            default.
        time_limit: seconds that one stage may take on one backend.
        jit: whether to compile the model too, which takes longest.

    Raises:
        UsageError: if the function cannot be imported by another process, or
            makes no model on any backend.
        BackendError: if a backend is unknown or not installed.

    Example:
        >>> import keras_multi
        >>> from my_model import build  # doctest: +SKIP
        >>> keras_multi.check(build).portable  # doctest: +SKIP
        True
    """
    return check_reference(_reference(build_fn), backends, time_limit, jit)


def _reference(build_fn: source.BuildFunction) -> str:
    name = getattr(build_fn, "__qualname__", "")
    try:
        file = inspect.getsourcefile(build_fn)
    except TypeError:
        file = None
    if not (name.isidentifier() and file and Path(file).is_file()):
        raise UsageError(
            "check needs a function at the top level of a file, since other "
            "processes import it; a lambda, a nested function or one typed at "
            f"a prompt will not do. Received: {build_fn!r}"
        )
    return f"{file}:{name}"


def check_reference(
    reference: str,
    backends: Sequence[str] | None = None,
    time_limit: float = TIME_LIMIT,
    jit: bool = True,
    tick: Tick = lambda text: None,
) -> Report:
    """Checks the model that `FILE.py:FUNCTION` names; see `check`.

    Args:
        reference: the file and the function.
        backends: names of backends; the installed ones by default.
        time_limit: seconds that one stage may take on one backend.
        jit: whether to compile the model too.
        tick: called with the name of each stage as it starts.
    """
    if os.environ.get(IN_CHILD):
        raise UsageError(
            "the model's file itself calls check when it is imported; put "
            'the call under `if __name__ == "__main__":`'
        )
    if time_limit <= 0:
        raise UsageError(
            f"the time limit must be positive. Received: {time_limit}"
        )
    names = tuple(dict.fromkeys(backends or backend.available()))
    for name in names:
        backend.require(name)
    if not names:
        backend.require()
    start = time.monotonic()
    path, _ = source.split(reference)
    with tempfile.TemporaryDirectory() as folder:
        session = _Session(Path(folder), reference, names, time_limit)
        try:
            checks = [_source(path), *_Run(session, jit, tick).checks(path)]
        finally:
            session.close()
    return Report(
        reference, names, tuple(checks), round(time.monotonic() - start, 1)
    )


def _source(path: Path) -> Check:
    found = static.findings(path)
    serious = [f for f in found if f.kind != "guarded"]
    if serious:
        return Check(
            "source", FAILED, _count(len(found), "finding"), tuple(found)
        )
    if found:
        return Check("source", NOTE, "code for one backend, guarded")
    return Check("source", OK, "names no framework")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


class _Session:
    """The children, and those that still answer."""

    def __init__(
        self,
        folder: Path,
        reference: str,
        names: Sequence[str],
        time_limit: float,
    ) -> None:
        self.folder = folder
        self.children: dict[str, Child] = {}
        for name in names:
            (folder / name).mkdir()
            self.children[name] = Child(
                name, folder / name, reference, time_limit
            )
        self.alive = list(names)

    def ask(
        self, stage: str, only: Sequence[str] | None = None, **arguments: Any
    ) -> dict[str, Answer]:
        """Asks the children at the same time."""
        asked = [n for n in self.alive if only is None or n in only]
        for name in asked:
            self.children[name].ask(stage, **arguments)
        answers = {name: self.children[name].answer() for name in asked}
        for name, answer in answers.items():
            if answer.kind in ("crash", "hang"):
                self.alive.remove(name)
        return answers

    def close(self) -> None:
        for child in self.children.values():
            child.kill()


class _Run:
    """Asks one stage after another and collects the verdicts."""

    def __init__(self, session: _Session, jit: bool, tick: Tick) -> None:
        self._session, self._jit, self._tick = session, jit, tick

    def _ask(self, stage: str, **arguments: Any) -> dict[str, Answer]:
        self._tick(stage)
        return self._session.ask(stage, **arguments)

    def checks(self, path: Path) -> list[Check]:
        answers = self._ask("build")
        good = [name for name, answer in answers.items() if not answer.failure]
        if not good and all(a.kind == "usage" for a in answers.values()):
            serious = [f for f in static.findings(path) if f.kind != "guarded"]
            if not serious:
                raise UsageError(next(iter(answers.values())).failure)
        build = _building(answers, good)
        if not good or len(good) < min(2, len(answers)):
            return [build]
        reference = good[0]
        good = [
            name
            for name in good
            if answers[name].values["shapes"]
            == answers[reference].values["shapes"]
        ]
        self._session.alive = [n for n in self._session.alive if n in good]
        self._ask("share", shared=str(answers[reference].path))
        judge = Judge(reference, answers[reference].values)
        checks = [build, judge.outputs(self._ask("outputs"))]
        if judge.random:
            return checks
        checks.append(judge.layers(self._layers(reference)))
        if FAILED in {check.status for check in checks[1:]}:
            return checks  # what follows would fail for the same reason
        checks.append(judge.gradients(self._ask("gradients")))
        checks.append(judge.training(self._ask("training")))
        checks.append(judge.saving(self._save(reference)))
        checks.append(judge.batch(self._ask("batch")))
        checks.append(judge.policy(self._ask("policy", name="mixed_bfloat16")))
        if self._jit:
            checks.append(judge.jit(self._ask("jit")))
        return checks

    def _layers(self, reference: str) -> dict[str, Answer]:
        """The reference first: the others get its inputs."""
        first = self._ask("layers", only=[reference], forced=None)
        if reference not in first or first[reference].failure:
            return first
        forced = str(first[reference].path)
        others = [n for n in self._session.alive if n != reference]
        return first | self._ask("layers", only=others, forced=forced)

    def _save(self, reference: str) -> dict[str, Answer]:
        saved = self._ask("save", only=[reference])
        if reference not in saved or saved[reference].failure:
            return saved
        model = self._session.folder / reference / "model.keras"
        return self._ask("load", path=str(model))


def _building(answers: dict[str, Answer], good: list[str]) -> Check:
    findings = [
        fault("build", name, answer)
        for name, answer in answers.items()
        if answer.failure
    ]
    seconds = max(a.values.get("seconds", 0.0) for a in answers.values())
    for name in good[1:]:
        mine, first = (answers[n].values["shapes"] for n in (name, good[0]))
        if mine != first:
            findings.append(
                Finding(
                    "weights",
                    f"on {name} the model has other weights ({len(mine)}) "
                    f"than on {good[0]} ({len(first)})",
                    (name,),
                )
            )
    if findings:
        return Check("build", FAILED, "", tuple(findings), seconds)
    count = answers[good[0]].values["parameters"]
    return Check("build", OK, f"{count:,} parameters", (), seconds)
