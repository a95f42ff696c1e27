"""A made-up but realistic run, for tests of what reads results."""

import datetime

import numpy as np

from benchmarks import statistics
from benchmarks.results import (
    Cell,
    Environment,
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

# Seconds for 1,000 examples, tax over the native baseline, compile seconds.
_COST = {"dcn_train": 0.004, "dcn_predict": 0.0012, "dcn_movielens": 0.0007}
_BACKEND = {
    "jax": (1.0, 1.04, 1.9),
    "torch": (1.25, 1.32, 0.02),
    "tensorflow": (1.1, 1.12, 3.4),
}
_BFLOAT16 = {"jax": 1.06, "torch": 0.72, "tensorflow": 0.7}
_ROUNDS = 15


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
