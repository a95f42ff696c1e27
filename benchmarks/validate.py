"""Does `compare` tell what is true? At least forty comparisons of each kind.

    python benchmarks/validate.py

Runs the harness on one commit again and again, and compares each run with the
one before it; then once more with a sleep of 10 % put into every sample of
the Keras model, and compares that with the last plain one. Runs of the same
code should be called different in at most 5 % of the rows, runs with the
sleep slower in at least 95 %. Exit code 0 if both hold. Takes about 40
minutes on two cores; let nothing else run.
"""

import os
import sys
import time

import numpy as np

from benchmarks import compare, plan, runner
from benchmarks.compare import Row
from benchmarks.dcn import DCNWorkload, Shape
from benchmarks.results import Results
from benchmarks.workload import Contender, Setting
from keras_multi.errors import KerasMultiError

COMPARISONS = 40
SLOWDOWN = 0.1
MOST_FALSE, LEAST_FOUND = 0.05, 0.95
ROUNDS, REPEATS = 100, 2
STEPS = 16
_SLEEP = "KERAS_MULTI_VALIDATE_SLEEP"


class _Slowed(Contender):
    """Sleeps after every sample for a share of the time that it took."""

    def __init__(self, contender: Contender, share: float) -> None:
        self.contender, self.share = contender, share

    def output(self) -> np.ndarray:
        """The output of the contender."""
        return self.contender.output()

    def run(self, steps: int) -> None:
        """Runs the contender, then sleeps."""
        start = time.perf_counter()
        self.contender.run(steps)
        time.sleep(self.share * (time.perf_counter() - start))


class _Validation(DCNWorkload):
    """Predictions of a small DCN, slowed where the environment says so."""

    def steps(self, batch_size: int) -> int:
        """Few: more rounds average more than longer ones."""
        return STEPS

    def build(self, setting: Setting) -> Contender:
        """The project's DCN."""
        contender = super().build(setting)
        share = float(os.environ.get(_SLEEP, "0"))
        return _Slowed(contender, share) if share else contender

    def peers(self, setting: Setting) -> dict[str, Contender]:
        """None: they take time and are not compared."""
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
    batch_sizes=(64, 128, 256, 512),
    training=False,
)


def measure(sleep: float) -> Results:
    """One run of the harness.

    Args:
        sleep: share of its time that a sample of the Keras model sleeps.

    Raises:
        KerasMultiError: if a cell has no figures.
    """
    os.environ[_SLEEP] = str(sleep)
    settings = {
        "workloads": [__file__],
        "precisions": ["float32"],
        "batch_sizes": WORKLOAD.batch_sizes,
        "rounds": ROUNDS,
        "repeats": REPEATS,
        "target": 1e-6,
        "budget": 1.0,
    }
    run = runner.run(plan.make(settings), lambda *_: None, lambda _: None)
    if failed := runner.failures(run.cells):
        raise KerasMultiError("; ".join(failed))
    return run


def judge(kind: str, base: Results, new: Results) -> list[Row]:
    """Compares two runs and prints their ratios; a star marks a difference."""
    rows = compare.compare(base, new)
    ratios = [
        f"{row.ratio.median:.3f}{'*' if row.verdict != 'same' else ''}"
        for row in rows
        if row.ratio is not None
    ]
    print(f"{kind}: {' '.join(ratios)}", flush=True)
    return rows


def main() -> int:
    """Prints both shares; gives the exit code."""
    same: list[Row] = []
    slowed: list[Row] = []
    plain = measure(0.0)
    while len(same) < COMPARISONS:
        before, plain = plain, measure(0.0)
        same += judge("same code", before, plain)
        slowed += judge("10 % slower", plain, measure(SLOWDOWN))
    false = sum(row.verdict != "same" for row in same)
    found = sum(row.verdict == "slower" for row in slowed)
    print(
        f"same code: {false} of {len(same)} called different "
        f"({false / len(same):.1%}, at most {MOST_FALSE:.0%} wanted)\n"
        f"{SLOWDOWN:.0%} slower: {found} of {len(slowed)} called slower "
        f"({found / len(slowed):.1%}, at least {LEAST_FOUND:.0%} wanted)"
    )
    holds = false <= MOST_FALSE * len(same) and found >= LEAST_FOUND * len(
        slowed
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
