"""Runs the tests: once per backend, then across them.

`python tests/run.py jax torch tensorflow`. One process can run Keras on one
backend only, so each gets a process of its own. What does not depend on the
backend runs once.
"""

import os
import subprocess
import sys
import time

ONCE = (
    "tests/benchmarks",
    "tests/data",
    "tests/portability",
    "tests/test_cli.py",
    "tests/test_packaging.py",
)


def run(name: str, arguments: list[str], backend: str) -> bool:
    """Runs pytest in a process of its own; tells whether it passed."""
    print(f"\n=== {name}", flush=True)
    start = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        check=False,
    )
    print(f"=== {name}: {time.monotonic() - start:.0f} s", flush=True)
    return process.returncode == 0


def main(backends: list[str]) -> int:
    """Gives the exit code: 0 if all passed."""
    ignored = [f"--ignore={path}" for path in ONCE]
    failed = [
        name
        for name, arguments, backend in [
            *((f"tests on {b}", ignored, b) for b in backends),
            ("tests that run once", list(ONCE), backends[0]),
        ]
        if not run(name, arguments, backend)
    ]
    print("\nfailed:" if failed else "\nall tests passed", *failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["jax", "torch", "tensorflow"]))
