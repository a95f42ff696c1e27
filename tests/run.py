"""Runs the tests: on each backend side by side, then what must be alone.

`python tests/run.py jax torch tensorflow`. One process can run Keras on one
backend only, so each gets a process of its own. What does not depend on the
backend runs once, and what measures time alone.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from keras_multi.backend import threads

# Starts processes on all backends itself.
ACROSS = ("tests/portability", "tests/data", "tests/test_packaging.py")
# Measures time and memory, so nothing may run beside it.
ALONE = ("tests/benchmarks", "tests/test_cli.py")
# The same, on each backend.
LIMITS = "tests/test_limits.py"


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


def main(backends: list[str]) -> int:
    """Gives the exit code: 0 if all passed."""
    ignored = [f"--ignore={path}" for path in (*ACROSS, *ALONE, LIMITS)]
    jobs = [(f"tests on {b}", ignored, b) for b in backends]
    jobs.append(("tests across backends", list(ACROSS), backends[0]))
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
            # Most of a test's time on JAX is compilation.
            JAX_DISABLE_MOST_OPTIMIZATIONS="1",
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
    sys.exit(main(sys.argv[1:] or ["jax", "torch", "tensorflow"]))
