"""Made-up but realistic runs, for tests of what reads results.

`run` is small and plain: the quick suite. `full` has all that a run can have.
`version` makes a checkout whose workers make their samples up.
"""

import datetime
from pathlib import Path

import numpy as np

from benchmarks import statistics
from benchmarks.results import (
    SCHEMA_VERSION,
    Cell,
    Cost,
    Environment,
    Limits,
    Measurement,
    Results,
    Rival,
    Timing,
)

WORKLOADS = {
    "dcn_train": (256, 4096),
    "dcn_predict": (256, 4096),
    "dcn_movielens": (1024,),
}
MODES = {"jax": "xla", "torch": "eager", "tensorflow": "xla"}
PRECISIONS = ("float32", "mixed_bfloat16")

FULL_WORKLOADS = {
    "dcn_train": (256, 1024, 4096),
    "dcn_predict": (256, 4096),
    "cnn.py:build train": (32,),
}
FULL_MODES = [
    ("jax", "xla"),
    ("torch", "eager"),
    ("torch", "compile"),
    ("tensorflow", "xla"),
    ("tensorflow", "graph"),
]
FAILED = ("dcn_predict", "tensorflow", "mixed_bfloat16", "graph")
WRONG = ("cnn.py:build train", "torch", "mixed_bfloat16", "compile")
DRIFTING = ("dcn_train", "torch", "float32", "eager")
DISTURBED = ("dcn_predict", "jax", "float32", "xla")
UNJUDGED = "random in training: Dropout"

# Seconds for 1,000 examples, tax over the native baseline, compile seconds.
_COST = {
    "dcn_train": 0.004,
    "dcn_predict": 0.0012,
    "dcn_movielens": 0.0007,
    "cnn.py:build train": 0.9,
}
_BACKEND = {
    "jax": (1.0, 1.04, 1.9),
    "torch": (1.25, 1.32, 0.02),
    "tensorflow": (1.1, 1.12, 3.4),
}
_BFLOAT16 = {"jax": 1.06, "torch": 0.72, "tensorflow": 0.7}
# Speed and compile seconds of the other modes, relative to the first.
_MODE = {"compile": (0.8, 900.0), "graph": (1.15, 0.4)}
_ROUNDS = 15
_WATTS = 45.0


def timing(seconds: float, generator: np.random.Generator) -> Timing:
    """Skewed samples around a median."""
    noise = generator.lognormal(sigma=0.03, size=_ROUNDS)
    noise += generator.exponential(0.01, size=_ROUNDS)
    samples = (seconds * noise).tolist()
    return Timing(
        samples=samples, steps=20, seconds=statistics.median_interval(samples)
    )


def rival(ours: Timing, ratio: float, generator: np.random.Generator) -> Rival:
    """Other code that takes `1 / ratio` of our time."""
    theirs = timing(ours.seconds.median / ratio, generator)
    return Rival(
        timing=theirs,
        ratio=statistics.ratio_interval(ours.samples, theirs.samples),
        error=3e-7,
    )


def measurement(
    workload: str,
    backend: str,
    precision: str,
    batch_size: int,
    generator: np.random.Generator,
) -> Measurement:
    """One batch size of a cell."""
    slowness, tax, compile_seconds = _BACKEND[backend]
    seconds = 3e-4 + _COST[workload] * slowness * batch_size / 1000
    if precision == "mixed_bfloat16":
        seconds *= _BFLOAT16[backend]
    ours = timing(seconds, generator)
    return Measurement(
        batch_size=batch_size,
        unit="examples",
        work=float(batch_size),
        compile_seconds=compile_seconds * generator.uniform(0.9, 1.1),
        timing=ours,
        parity_error=2e-6 if precision == "float32" else 4e-3,
        native=rival(ours, tax, generator),
        peers={}
        if workload == "dcn_movielens"
        else {"keras-rs": rival(ours, 0.93, generator)},
    )


def run(seed: int = 0, reason: str = "killed by signal 9 (SIGKILL)") -> Results:
    """Three workloads on three backends in two precisions, one cell failed.

    Args:
        seed: of the noise.
        reason: why the failed cell failed.
    """
    generator = np.random.default_rng(seed)
    cells = []
    for workload, batch_sizes in WORKLOADS.items():
        for backend, mode in MODES.items():
            for precision in PRECISIONS:
                name = (workload, backend, precision)
                failed = name == (
                    "dcn_movielens",
                    "tensorflow",
                    "mixed_bfloat16",
                )
                cells.append(
                    Cell(
                        workload=workload,
                        backend=backend,
                        precision=precision,
                        mode=mode,
                        status="failed" if failed else "ok",
                        reason=reason if failed else "",
                        measurements=[]
                        if failed
                        else [
                            measurement(*name, batch_size, generator)
                            for batch_size in batch_sizes
                        ],
                        peak_memory_bytes=None
                        if failed
                        else int(generator.uniform(0.6e9, 1.4e9)),
                    )
                )
    return Results(
        created=datetime.datetime(2025, 3, 1, 12, 30, tzinfo=datetime.UTC),
        suite="quick",
        seconds=312.4,
        matmul_precision="float32",
        environment=Environment(
            platform="Linux-6.1-x86_64",
            python="3.11.2",
            processor="AMD EPYC 9R14",
            processor_mhz=2600.0,
            cores=2,
            affinity=[0, 1],
            memory_bytes=16 * 2**30,
            accelerator=None,
            packages={
                "keras": "3.15.1",
                "jax": "0.10.2",
                "torch": "2.13.0",
                "tensorflow": "2.21.0",
            },
            commit="0123abc",
        ),
        cells=cells,
    )


def full(seed: int = 0) -> Results:
    """The full suite, with costs, limits, energy and disturbances.

    One cell failed and one is wrong; the samples of `DRIFTING` become slower,
    some of `DISTURBED` are outliers, and a user's model is not judged.

    Args:
        seed: of the noise.
    """
    generator = np.random.default_rng(seed)
    cells = [
        _full_cell((workload, backend, precision, mode), generator)
        for workload in FULL_WORKLOADS
        for backend, mode in FULL_MODES
        for precision in PRECISIONS
    ]
    plain = run(seed)
    environment = plain.environment.model_copy(
        update={
            "accelerator": "NVIDIA A10G",
            "accelerator_driver": "550.54",
            "accelerator_mhz": 1710.0,
            "energy": "RAPL + NVML",
        }
    )
    return plain.model_copy(
        update={
            "suite": "full",
            "plan": {
                "workloads": ["dcn_train", "dcn_predict"],
                "models": ["mine/cnn.py:build"],
            },
            "finished": ["dcn_train", "dcn_predict", "cnn.py:build"],
            "environment": environment,
            "cells": cells,
        }
    )


def interrupted(seed: int = 0) -> Results:
    """The full suite, interrupted after its first workload."""
    whole = full(seed)
    cells = [cell for cell in whole.cells if cell.workload == "dcn_train"]
    return whole.model_copy(
        update={"cells": cells, "finished": ["dcn_train"], "complete": False}
    )


def _full_cell(
    key: tuple[str, str, str, str], generator: np.random.Generator
) -> Cell:
    workload, backend, precision, mode = key
    reason = {
        FAILED: "killed by signal 9 (SIGKILL)",
        WRONG: "batch 32: output differs from native by 2.5e-01, more than "
        "5e-02",
    }.get(key, "")
    measurements = [
        _full_measurement(key, batch_size, generator)
        for batch_size in FULL_WORKLOADS[workload]
    ]
    low = precision != "float32"
    rate = 1.3e11 if low else 1.1e11
    on_device = workload.startswith("cnn")
    return Cell(
        workload=workload,
        backend=backend,
        precision=precision,
        mode=mode,
        status="failed" if key == FAILED else "wrong" if reason else "ok",
        reason=reason,
        measurements=[] if key == FAILED else measurements,
        peak_memory_bytes=int(generator.uniform(0.6e9, 1.4e9)),
        peak_device_bytes=int(generator.uniform(1e9, 3e9))
        if on_device
        else None,
        limits=Limits(
            operations_per_second=rate * (40 if on_device else 1),
            bytes_per_second=1.4e10 * (20 if on_device else 1),
            samples={
                name: timing(seconds, generator).samples
                for name, seconds in (("product", 0.02), ("copy", 0.01))
            },
        ),
    )


def _full_measurement(
    key: tuple[str, str, str, str],
    batch_size: int,
    generator: np.random.Generator,
) -> Measurement:
    workload, backend, precision, mode = key
    speed, compiling = _MODE.get(mode, (1.0, 1.0))
    plain = measurement(workload, backend, precision, batch_size, generator)
    samples = np.array(plain.timing.samples) * speed
    if key == DRIFTING:
        samples *= np.linspace(1.0, 1.15, _ROUNDS)
    if key == DISTURBED:
        samples[[2, 7, 11]] *= 1.7
    own = workload.startswith("cnn")
    ours = Timing(
        samples=samples.tolist(),
        steps=20,
        seconds=statistics.median_interval(samples.tolist()),
    )
    operations = 1e9 * _COST[workload] * batch_size / 20
    return plain.model_copy(
        update={
            "unit": "images" if own else "examples",
            "compile_seconds": plain.compile_seconds * compiling,
            "timing": ours,
            "parity_error": None if own else plain.parity_error,
            "unjudged": UNJUDGED if own else "",
            "cost": Cost(
                operations=operations * (30 if own else 1),
                bytes=operations / 20,
                source="FlopCounterMode" if own else "workload",
            )
            if workload != "dcn_predict"
            else None,
            "joules": None
            if own
            else _WATTS * ours.seconds.median * generator.uniform(0.8, 1.2),
            "native": None if own else rival(ours, 1.1, generator),
            "peers": {} if own else plain.peers,
        }
    )


def paired(factor: float, rounds: int = 30) -> tuple[Results, Results]:
    """A base and a run beside it, on a machine that slows down by half.

    Each has lost a few rounds that the other has.

    Args:
        factor: times of the run over those of the base.
        rounds: number of the rounds.
    """
    generator = np.random.default_rng(7)
    machine = np.linspace(1.0, 1.5, rounds)
    runs = []
    for one, kept in ((1.0, range(3, rounds)), (factor, range(rounds - 2))):
        content = run().model_copy(update={"session": "s"}).model_dump()
        for cell in content["cells"]:
            for measured in cell["measurements"]:
                noise = generator.lognormal(sigma=0.02, size=rounds)
                samples = one * machine * noise
                timing = measured["timing"]
                timing["samples"] = [float(samples[i]) for i in kept]
                measured["rounds"] = list(kept)
                measured["native"] = None
        runs.append(Results.model_validate(content))
    return runs[0], runs[1]


_WORKER = """
import json, os, sys

job = json.loads(sys.argv[1])
with open(os.path.join(os.path.dirname(__file__), "log"), "a") as log:
    log.write(job["weights"] + "\\n")
print('{{"kind": "cpu"}}', flush=True)
samples = []
for line in sys.stdin:
    answer = {{}}
    if line == "round\\n":
        samples.append({seconds} * (1 + len(samples) % 3 / 100))
        answer = {{"settled": len(samples) >= {rounds}}}
    if line == "finish\\n":
        race = dict(
            workload=job["label"], batch_size=8, unit="examples", work=8,
            steps=4, first_seconds=1.0, output_steps=1, tolerance=1e-4,
            output=[1.0], unjudged="", samples={{"keras": samples}},
            errors={{}}, cost=None, joules=None,
            memory={{"process": 1, "device": None}},
        )
        answer = {{"races": [race], "limits": None, "energy": None}}
    print(json.dumps(answer), flush=True)
"""


def version(folder: Path, seconds: float, rounds: int = 12) -> Path:
    """A checkout whose workers make their samples up.

    Args:
        folder: where to make it.
        seconds: of a step.
        rounds: number of samples that are enough.
    """
    files = {
        "keras_multi/__init__.py": "",
        "benchmarks/__init__.py": "",
        "benchmarks/results.py": f"SCHEMA_VERSION = {SCHEMA_VERSION}\n",
        "benchmarks/worker.py": _WORKER.format(seconds=seconds, rounds=rounds),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def scaled(results: Results, backend: str, factor: float) -> Results:
    """The same run with one backend's times multiplied by a factor."""
    content = results.model_dump()
    for cell in content["cells"]:
        if cell["backend"] != backend:
            continue
        for measured in cell["measurements"]:
            samples = measured["timing"]["samples"]
            measured["timing"]["samples"] = [factor * s for s in samples]
            seconds = measured["timing"]["seconds"]
            measured["timing"]["seconds"] = {
                name: factor * value for name, value in seconds.items()
            }
    return Results.model_validate(content)
