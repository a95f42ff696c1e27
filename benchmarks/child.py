"""A worker process as the runner sees it."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from typing import IO, Any

from keras_multi.errors import KerasMultiError


class CellFailed(KerasMultiError):
    """The process of a cell died, hung or raised; the message says which."""


class Child:
    """Starts a worker and speaks with it.

    Args:
        arguments: command line of `benchmarks.worker`.
        backend: the Keras backend of the process.
    """

    def __init__(self, arguments: list[str], backend: str) -> None:
        self._errors: IO[str] = tempfile.TemporaryFile(  # noqa: SIM115
            "w+", encoding="utf-8", errors="replace"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", *arguments],
            env={
                **os.environ,
                "KERAS_BACKEND": backend,
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def say(self, command: str) -> None:
        """Sends a command; the answer is fetched with `answer`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise CellFailed(self._why_it_died()) from error

    def answer(self, seconds: float) -> Any:
        """Waits for the answer to the last command.

        Raises:
            CellFailed: if the process dies or the time is over.
        """
        try:
            line = self._lines.get(timeout=max(seconds, 0.01))
        except queue.Empty as error:
            self.kill()
            raise CellFailed(
                "took longer than its time limit; raise --time-limit"
            ) from error
        if line is None:
            raise CellFailed(self._why_it_died())
        return json.loads(line)

    def kill(self) -> None:
        """Ends the process and all that it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _why_it_died(self) -> str:
        code = self._process.wait()
        if code < 0:
            hint = " (out of memory?)" if code == -signal.SIGKILL else ""
            return f"killed by {signal.Signals(-code).name}{hint}"
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        last = lines[-1] if lines else "it printed nothing"
        return f"exit code {code}: {last[:300]}"
