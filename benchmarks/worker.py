"""The child process of one cell: builds the contenders and times them.

The runner writes one word a line to standard input: `setup`, then `round` any
number of times, then `finish`. Each is answered by one line of JSON on
standard output. Everything that a framework prints goes to standard error.

Started by the runner as `python -m benchmarks.worker WORKLOAD BACKEND
PRECISION MODE MATMUL_PRECISION SAMPLE_SECONDS`.
"""

import json
import math
import os
import sys
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

import numpy as np

from benchmarks.workload import Contender, Setting, Workload, load

WARM_UPS = 2
OURS, NATIVE = "keras", "native"


@dataclass
class Race:
    """The contenders at one batch size, and their samples.

    Attributes:
        steps: steps of one sample.
        first_seconds: time of the first call of the Keras model.
        samples: seconds per step, by contender.
        errors: relative difference of each rival's output from ours.
    """

    setting: Setting
    contenders: dict[str, Contender]
    output: np.ndarray
    first_seconds: float
    steps: int = 1
    samples: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)


def relative_error(output: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference over the largest value; infinite if not finite."""
    if output.shape != reference.shape or not np.isfinite(output).all():
        return math.inf
    scale = max(float(np.abs(reference).max()), 1e-12)
    return float(np.abs(output - reference).max()) / scale


def seconds_per_step(contender: Contender, steps: int) -> float:
    """Times some steps."""
    start = time.perf_counter()
    contender.run(steps)
    return (time.perf_counter() - start) / steps


def set_up_ours(
    workload: Workload, setting: Setting, sample_seconds: float
) -> Race:
    """Builds, compiles, calibrates and warms up the Keras model."""
    ours = workload.build(setting)
    start = time.perf_counter()
    output = ours.output()
    first_seconds = time.perf_counter() - start
    race = Race(setting, {OURS: ours}, output, first_seconds)
    while (
        race.steps < workload.max_steps
        and seconds_per_step(ours, race.steps) * race.steps < sample_seconds
    ):
        race.steps = min(2 * race.steps, workload.max_steps)
    _warm_up(ours, race.steps)
    race.samples[OURS] = []
    return race


def set_up_rivals(workload: Workload, race: Race) -> None:
    """Builds the others, compares their outputs and warms them up."""
    rivals = dict(workload.peers(race.setting))
    if native := workload.native(race.setting):
        rivals[NATIVE] = native
    for name, rival in rivals.items():
        race.errors[name] = relative_error(rival.output(), race.output)
        _warm_up(rival, race.steps)
        race.samples[name] = []
    race.contenders |= rivals


def _warm_up(contender: Contender, steps: int) -> None:
    for _ in range(WARM_UPS):
        contender.run(steps)


def take_round(race: Race, number: int) -> None:
    """Takes one sample of each contender; who starts changes by the round.

    Other processes have just run, so where steps are short one goes
    uncounted, to bring the caches back.
    """
    names = list(race.contenders)
    first = number % len(names)
    if race.steps > 1:
        race.contenders[names[first]].run(1)
    for name in names[first:] + names[:first]:
        seconds = seconds_per_step(race.contenders[name], race.steps)
        race.samples[name].append(seconds)


def describe(race: Race, workload: Workload) -> dict[str, Any]:
    """What the runner needs of a race."""
    return {
        "batch_size": race.setting.batch_size,
        "unit": workload.unit,
        "work": workload.work(race.setting.batch_size),
        "steps": race.steps,
        "first_seconds": race.first_seconds,
        "output_steps": workload.output_steps,
        "tolerance": workload.tolerance,
        "output": race.output.tolist(),
        "samples": race.samples,
        "errors": race.errors,
    }


def serve(arguments: list[str], answers: TextIO) -> None:
    """Answers the runner until it says `finish`."""
    name, backend_name, precision, mode, matmul_precision, seconds = arguments
    from keras_multi import backend

    backend.select(backend_name)
    backend.set_matmul_precision(matmul_precision)
    backend.seed(0)
    workload = load(name)

    def answer(content: Any) -> None:
        print(json.dumps(content), file=answers, flush=True)

    answer(backend.device()._asdict())
    races: list[Race] = []
    rounds = 0
    for line in sys.stdin:
        command = line.strip()
        if command == "setup":
            races = [
                set_up_ours(
                    workload, Setting(size, precision, mode), float(seconds)
                )
                for size in workload.batch_sizes
            ]
            memory = backend.peak_memory()
            for race in races:
                set_up_rivals(workload, race)
            answer(memory._asdict())
        elif command == "round":
            for race in races:
                take_round(race, rounds)
            rounds += 1
            answer({})
        elif command == "finish":
            answer([describe(race, workload) for race in races])
            return


def main() -> None:
    """Keeps standard output for the answers alone."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        serve(sys.argv[1:], answers)


if __name__ == "__main__":
    main()
