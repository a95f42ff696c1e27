"""Runs the tests: on each backend side by side, then what spans them.

`python tests/run.py jax torch tensorflow`. One process can run Keras on one
backend only, so each gets a process of its own. What does not depend on the
backend, and what measures time, runs once and alone.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from keras_multi.backend import threads

ONCE = (
    "tests/benchmarks",
    "tests/data",
    "tests/portability",
    "tests/test_cli.py",
    "tests/test_packaging.py",
)
# Measures the machine on each backend, so nothing may run beside it.
ALONE = "tests/test_limits.py"


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
    ignored = [f"--ignore={path}" for path in (*ONCE, ALONE)]
    workers = min(len(backends), threads())
    # More threads than cores would make each of the processes slower.
    share = str(max(1, threads() // workers))
    with ThreadPoolExecutor(workers) as pool:
        results = list(
            pool.map(
                lambda b: run(
                    f"tests on {b}",
                    ignored,
                    KERAS_BACKEND=b,
                    OMP_NUM_THREADS=share,
                ),
                backends,
            )
        )
    results += [
        run(f"limits on {b}", [ALONE], KERAS_BACKEND=b) for b in backends
    ]
    results.append(
        run("tests that run once", list(ONCE), KERAS_BACKEND=backends[0])
    )
    failed = list(filter(None, results))
    print("\nfailed:" if failed else "\nall tests passed", *failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["jax", "torch", "tensorflow"]))
