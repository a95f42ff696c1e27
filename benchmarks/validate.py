"""Does `bench --base` tell what is true? Forty comparisons of each kind.

    python benchmarks/validate.py [FILE]

Each comparison measures this code and a copy of it in the same rounds, on one
backend after the other: once as they are, and once with a sleep of 10 % put
into every sample of the code here. As they are, at most 5 % should be called
different; with the sleep, at least 95 % slower. Exit code 0 if both hold.

Every comparison is a line of FILE (`results/validate.jsonl`). Those that are
there are not measured again, so the same command goes on after an
interruption. Let nothing else run.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from benchmarks import checkout, compare, plan, runner
from benchmarks.dcn import DCNWorkload, Shape
from benchmarks.workload import Contender, Setting
from keras_multi import backend
from keras_multi.errors import KerasMultiError, ResultsError, UsageError

COMPARISONS = 40
SLOWDOWN = 0.1
MOST_FALSE, LEAST_FOUND = 0.05, 0.95
ROUNDS, STEPS = 40, 16
_SLOW = "KERAS_MULTI_VALIDATE_SLOW"
_CODE = "benchmarks", "keras_multi", "recsys", "vision", "nlp", "diffusion"

Kind = Literal["same", "slower"]


class _Slowed(Contender):
    """Sleeps after every sample for a share of the time that it took."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender

    def output(self) -> np.ndarray:
        """The output of the contender."""
        return self.contender.output()

    def run(self, steps: int) -> None:
        """Runs the contender, then sleeps."""
        start = time.perf_counter()
        self.contender.run(steps)
        time.sleep(SLOWDOWN * (time.perf_counter() - start))


class _Validation(DCNWorkload):
    """Predictions of a small DCN, slowed in the code that is named."""

    def steps(self, batch_size: int) -> int:
        """Few: more rounds average more than longer ones."""
        return STEPS

    def build(self, setting: Setting) -> Contender:
        """The project's DCN."""
        contender = super().build(setting)
        slow = os.environ.get(_SLOW) == str(checkout.HERE)
        return _Slowed(contender) if slow else contender

    def native(self, setting: Setting) -> None:
        """None: it takes time and is not compared."""

    def peers(self, setting: Setting) -> dict[str, Contender]:
        """None, as well."""
        return {}


WORKLOAD = _Validation(
    Shape(
        vocabulary_sizes=(1000,) * 8,
        num_dense=8,
        embedding_dim=16,
        num_cross_layers=3,
        deep_units=(128, 64),
        binary=True,
    ),
    batch_sizes=(256,),
    training=False,
)


class Comparison(pydantic.BaseModel):
    """What one comparison told.

    Attributes:
        kind: whether the two versions were the same, or one was slower.
        backend: where.
        commit: version of this project.
        ratio: time of the code here over that of its copy.
        p_value: of the test.
        verdict: what `compare` says.
        seconds: time that the comparison took.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    backend: str
    commit: str | None
    ratio: float
    p_value: float
    verdict: compare.Verdict
    seconds: float


def measure(kind: Kind, name: str, copy: Path) -> Comparison:
    """Makes one comparison.

    Args:
        kind: `"slower"` puts the sleep in.
        name: a backend.
        copy: folder with a copy of the code.

    Raises:
        KerasMultiError: if a cell has no figures.
    """
    os.environ[_SLOW] = str(checkout.HERE) if kind == "slower" else ""
    settings = {
        "workloads": [__file__],
        "backends": [name],
        "precisions": ["float32"],
        "rounds": ROUNDS,
        "target": 1e-6,
        "budget": 1.0,
        "base": copy,
    }
    new, base = runner.run(plan.make(settings), lambda *_: None, lambda _: None)
    if failed := runner.failures([*new.cells, *base.cells]):
        raise KerasMultiError("; ".join(failed))
    (row,) = compare.compare(base, new)
    assert row.ratio is not None
    assert row.p_value is not None
    return Comparison(
        kind=kind,
        backend=name,
        commit=new.environment.commit,
        ratio=row.ratio.median,
        p_value=row.p_value,
        verdict=row.verdict,
        seconds=new.seconds,
    )


def load(path: Path) -> list[Comparison]:
    """Reads the comparisons that were made.

    Args:
        path: one a line; none if there is no such file.

    Raises:
        ResultsError: if a line is not a comparison.
        UsageError: if one is of another commit.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        made = [Comparison.model_validate_json(line) for line in lines]
    except (OSError, ValueError) as error:
        raise ResultsError(
            f"{str(path)!r} holds something else than comparisons; name "
            "another file"
        ) from error
    commit = checkout.commit(checkout.HERE)
    if any(one.commit != commit for one in made):
        raise UsageError(
            f"{str(path)!r} holds comparisons of another commit than "
            f"{commit}; name another file"
        )
    return made


def main(path: Path) -> int:
    """Makes the comparisons that are missing; prints both shares.

    Args:
        path: holds the comparisons.

    Returns:
        The exit code.
    """
    made = load(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    backends = backend.available()
    kinds: tuple[Kind, ...] = "same", "slower"
    todo = [
        (kind, backends[number % len(backends)])
        for number in range(COMPARISONS)
        for kind in kinds
    ]
    with tempfile.TemporaryDirectory() as folder:
        for package in _CODE:
            shutil.copytree(checkout.HERE / package, Path(folder) / package)
        for kind, name in todo[len(made) :]:
            made.append(measure(kind, name, Path(folder)))
            with path.open("a", encoding="utf-8") as file:
                file.write(made[-1].model_dump_json() + "\n")
            print(
                f"{len(made)} of {len(todo)}: {kind} on {name}: "
                f"{made[-1].ratio:.3f} {made[-1].verdict}",
                flush=True,
            )
    same = [one.verdict for one in made if one.kind == "same"]
    slowed = [one.verdict for one in made if one.kind == "slower"]
    false, found = len(same) - same.count("same"), slowed.count("slower")
    print(
        f"same code: {false} of {len(same)} called different "
        f"({false / len(same):.1%}, at most {MOST_FALSE:.0%} wanted)\n"
        f"{SLOWDOWN:.0%} slower: {found} of {len(slowed)} called slower "
        f"({found / len(slowed):.1%}, at least {LEAST_FOUND:.0%} wanted)\n"
        f"{sum(one.seconds for one in made) / 60:.0f} minutes"
    )
    holds = false <= MOST_FALSE * len(same) and found >= LEAST_FOUND * len(
        slowed
    )
    return 0 if holds else 1


if __name__ == "__main__":
    try:
        file = Path((sys.argv[1:] or ["results/validate.jsonl"])[0])
        sys.exit(main(file))
    except KerasMultiError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
