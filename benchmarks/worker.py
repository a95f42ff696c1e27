"""The child process of one cell: builds the contenders and times them.

The runner writes one word a line to standard input: `setup`, then `round` any
number of times, then `finish`. Each is answered by one line of JSON on
standard output. Everything that a framework prints goes to standard error.

Started by the runner as `python -m benchmarks.worker JOB`, a `Job` in JSON.
"""

import functools
import json
import math
import os
import sys
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

import numpy as np

from benchmarks import workload as finding
from benchmarks.energy import Meter
from benchmarks.job import Job
from benchmarks.workload import Contender, Setting, Workload
from keras_multi.errors import KerasMultiError

WARM_UPS = 2
# A sample need not be longer: what a call costs is lost in it.
LONG_SAMPLE = 1.0
# Fewest samples of what is too slow for all rounds, and seconds after which
# it is, whatever the budget.
FEWEST_ROUNDS = 5
SLOW_RACE = 20.0
OURS, NATIVE = "keras", "native"
EXACT = "float32"


@dataclass
class Race:
    """The contenders of a workload at one batch size, and their samples.

    Attributes:
        workload: what they do.
        setting: how they do it.
        contenders: by name; the Keras model is `OURS`.
        steps: steps of one sample.
        output: what the Keras model gave at the start.
        first_seconds: time of the first call of the Keras model.
        memory: peak memory of the process and its device when the Keras
            model had been warmed up and no rival was there.
        samples: seconds per step, by contender.
        errors: relative difference of each rival's output from ours.
        joules: energy that our samples took, where the machine tells.
        spent: seconds that the rounds took.
        chosen: the precision that `auto` took.
    """

    workload: Workload
    setting: Setting
    contenders: dict[str, Contender]
    steps: int
    output: np.ndarray
    first_seconds: float
    memory: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    joules: float = 0.0
    spent: float = 0.0
    chosen: str = ""

    def settled(self, job: Job) -> bool:
        """Whether to take no more samples.

        The median is known as well as the job wants it, or this race alone
        has used the time that its workload has.
        """
        samples = self.samples[OURS]
        longest = max(job.budget, SLOW_RACE)
        if len(samples) >= FEWEST_ROUNDS and self.spent > longest:
            return True
        if len(samples) < job.rounds:
            return False
        # SciPy comes after peak memory was read.
        from benchmarks import statistics

        seconds = statistics.median_interval(samples)
        return seconds.half_width <= job.target


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


def set_up_ours(workload: Workload, setting: Setting) -> Race:
    """Builds, compiles and warms up the Keras model."""
    ours = workload.build(setting)
    start = time.perf_counter()
    output = ours.output()
    first_seconds = time.perf_counter() - start
    steps = workload.steps(setting.batch_size)
    # Whole samples tell: a single step would count the cost of a call as its.
    seconds = min(seconds_per_step(ours, steps) for _ in range(WARM_UPS))
    steps = max(1, min(steps, int(LONG_SAMPLE / seconds)))
    race = Race(workload, setting, {OURS: ours}, steps, output, first_seconds)
    race.samples[OURS] = []
    return race


def set_up_rivals(race: Race) -> None:
    """Builds the others, compares their outputs and warms them up."""
    rivals = dict(race.workload.peers(race.setting))
    if native := race.workload.native(race.setting):
        rivals[NATIVE] = native
    for name, rival in rivals.items():
        race.errors[name] = relative_error(rival.output(), race.output)
        _warm_up(rival, race.steps)
        race.samples[name] = []
    race.contenders |= rivals


def _warm_up(contender: Contender, steps: int) -> None:
    for _ in range(WARM_UPS):
        contender.run(steps)


def take_round(race: Race, meter: Meter) -> None:
    """Takes one sample of each contender; who starts changes by the round.

    Other processes have just run, so where steps are short one goes
    uncounted, to bring the caches back.
    """
    start = time.perf_counter()
    names = list(race.contenders)
    first = len(race.samples[OURS]) % len(names)
    if race.steps > 1:
        race.contenders[names[first]].run(1)
    for name in names[first:] + names[:first]:
        before = meter.joules()
        seconds = seconds_per_step(race.contenders[name], race.steps)
        race.samples[name].append(seconds)
        if name == OURS and before is not None:
            race.joules += (meter.joules() or before) - before
    race.spent += time.perf_counter() - start


def describe(race: Race, meter: Meter) -> dict[str, Any]:
    """What the runner needs of a race."""
    batch_size = race.setting.batch_size
    cost = race.workload.cost(batch_size)
    steps = race.steps * len(race.samples[OURS])
    return {
        "workload": race.workload.name,
        "batch_size": batch_size,
        "unit": race.workload.unit,
        "work": race.workload.work(batch_size),
        "steps": race.steps,
        "first_seconds": race.first_seconds,
        "output_steps": race.workload.output_steps,
        "tolerance": race.workload.tolerance,
        "output": race.output.tolist(),
        "unjudged": race.contenders[OURS].unjudged,
        "samples": race.samples,
        "errors": race.errors,
        "cost": cost.model_dump() if cost else None,
        "joules": race.joules / steps if meter.source else None,
        "memory": race.memory,
        "chosen": [race.chosen] if race.chosen else [],
    }


def _workloads(job: Job, precision: str) -> list[Workload]:
    if not finding.is_model(job.subject):
        workload = finding.load(job.subject)
        workload.name = job.label
        return [workload]
    from benchmarks import model

    return model.workloads(job.subject, job.label, precision, job.weights)


def set_up(job: Job) -> list[Race]:
    """Makes the races of a cell.

    Peak memory is read before the rivals are there.
    """
    from keras_multi import backend

    made = functools.cache(functools.partial(_workloads, job))
    auto = job.precision == backend.AUTO
    races = []
    for number, workload in enumerate(made(EXACT if auto else job.precision)):
        own = workload.batch_sizes[: 1 if job.first_size else None]
        for size in job.batch_sizes or own:
            chosen = _choose(job, number, size) if auto else ""
            precision = chosen or job.precision
            setting = Setting(size, precision, job.mode)
            race = set_up_ours(made(precision)[number], setting)
            race.chosen = chosen
            race.memory = backend.peak_memory()._asdict()
            races.append(race)
    for race in races:
        set_up_rivals(race)
    return races


def _choose(job: Job, number: int, size: int) -> str:
    """The faster precision for a workload, measured in this process.

    Workloads are made anew for that, since training changes users' models.
    """
    from keras_multi.precision import Trial, fastest, tell

    def trial(precision: str) -> Trial:
        workload = _workloads(job, precision)[number]
        race = set_up_ours(workload, Setting(size, precision, job.mode))
        ours = race.contenders[OURS]
        return Trial(race.output, lambda: ours.run(race.steps))

    choice = fastest(trial, problem=None)
    tell(choice)
    return choice.precision


def _is_low(race: Race) -> bool:
    return race.setting.precision != EXACT


def serve(job: Job, answers: TextIO) -> None:
    """Answers the runner until it says `finish`."""
    from keras_multi import backend

    if job.affinity:
        backend.set_affinity(job.affinity)
    backend.select(job.backend)
    # Imports Keras, which must come after both.
    from benchmarks.limits import Limiter

    backend.set_matmul_precision(job.matmul_precision)
    backend.seed(0)

    def answer(content: Any) -> None:
        print(json.dumps(content), file=answers, flush=True)

    driver, mhz = backend.accelerator_details()
    answer(backend.device()._asdict() | {"driver": driver, "mhz": mhz})
    meter = Meter()
    races: list[Race] = []
    limiter: Limiter | None = None
    for line in sys.stdin:
        command = line.strip()
        if command == "setup":
            races = set_up(job)
            # The faster products, if `auto` chose by the batch size.
            limiter = Limiter(max(races, key=_is_low).setting.precision)
            answer({})
        elif command == "round":
            for race in races:
                if not race.settled(job):
                    take_round(race, meter)
            assert limiter is not None
            limiter.sample()
            answer({"settled": all(race.settled(job) for race in races)})
        elif command == "finish":
            limits = limiter.limits() if limiter else None
            answer(
                {
                    "races": [describe(race, meter) for race in races],
                    "limits": limits.model_dump() if limits else None,
                    "energy": meter.source,
                }
            )
            return


def main() -> None:
    """Keeps standard output for the answers alone."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        try:
            serve(Job.model_validate_json(sys.argv[1]), answers)
        except KerasMultiError as error:
            print(error, file=sys.stderr)
            sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
