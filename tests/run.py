"""Runs the tests: on each backend side by side, then what must be alone.

`python tests/run.py jax torch tensorflow`. One process can run Keras on one
backend only, so each gets a process of its own. What does not depend on the
backend runs once, and what measures time alone. Tests marked as slow run on
PyTorch, where nothing is compiled; with `--all` they run on each backend, and
so do those that start many processes.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from keras_multi.backend import threads

BACKENDS = ("jax", "torch", "tensorflow")
# Measures time and memory, so nothing may run beside it.
ALONE = ("tests/benchmarks/test_worker.py", "tests/test_startup.py")
# The same, on each backend.
LIMITS = "tests/test_limits.py"
# Starts processes on all backends itself.
ACROSS = {
    "tests of the harness": ("tests/benchmarks", "tests/test_cli.py"),
    "tests across backends": (
        "tests/portability",
        "tests/data",
        "tests/layers/test_saving.py",
        "tests/recsys/serve/test_server.py",
        "tests/test_packaging.py",
    ),
}


def run(name: str, arguments: list[str], **environment: str) -> str:
    """Runs pytest in a process of its own and prints what it printed.

    Returns:
        The name if a test failed, else nothing.
    """
    start = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(
        f"\n=== {name}\n{process.stdout}"
        f"=== {name}: {time.monotonic() - start:.0f} s",
        flush=True,
    )
    return name if process.returncode else ""


def ignoring(*paths: str) -> list[str]:
    """Options with which pytest leaves out the paths."""
    return [f"--ignore={path}" for path in paths]


def main(arguments: list[str]) -> int:
    """Gives the exit code: 0 if all passed."""
    everything = "--all" in arguments
    backends = [x for x in arguments if x != "--all"] or [*BACKENDS]
    thorough = "torch" if "torch" in backends else backends[0]
    alone = ignoring(*ALONE, LIMITS)
    own = ignoring(*(path for paths in ACROSS.values() for path in paths))
    few = [] if everything else ["-m", "not slow"]
    marked = {b: [] if b == thorough else few for b in backends}

    def on_each(name: str, *paths: str) -> list[tuple[str, list[str], str]]:
        return [
            (f"{name} on {b}", [*paths, *marked[b], *alone, *own], b)
            for b in backends
        ]

    # In parts, the longest first, so that the cores are busy to the end.
    jobs = [
        *on_each("tests", "--ignore=tests/recsys"),
        *(
            (name, [*paths, *few, *alone], backends[0])
            for name, paths in ACROSS.items()
        ),
        *on_each("recommenders", "tests/recsys"),
    ]
    workers = min(len(jobs), threads())
    # More threads than cores would make each of the processes slower.
    share = str(max(1, threads() // workers))

    def start(job: tuple[str, list[str], str]) -> str:
        name, arguments, backend = job
        return run(
            name,
            arguments,
            KERAS_BACKEND=backend,
            OMP_NUM_THREADS=share,
            # Most of a test's time on JAX and TensorFlow is compilation.
            JAX_DISABLE_MOST_OPTIMIZATIONS="1",
            XLA_FLAGS="--xla_backend_optimization_level=0 "
            "--xla_llvm_disable_expensive_passes=true",
        )

    with ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(start, jobs))
    results += [
        run(f"limits on {b}", [LIMITS], KERAS_BACKEND=b) for b in backends
    ]
    results.append(
        run("tests run alone", list(ALONE), KERAS_BACKEND=backends[0])
    )
    failed = list(filter(None, results))
    print("\nfailed:" if failed else "\nall tests passed", *failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
