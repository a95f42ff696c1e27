"""A worker process as the runner sees it."""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

import psutil

from benchmarks.job import Job
from keras_multi.backend import compiled
from keras_multi.errors import KerasMultiError

WATCH_SECONDS = 0.1
_OUT_OF_MEMORY = re.compile(
    r"out of memory|RESOURCE_EXHAUSTED|can't allocate memory|MemoryError"
    r"|bad_alloc|Unable to allocate",
    re.IGNORECASE,
)
_ERROR = re.compile(r"[\w.]*(Error|Exception|Exit)\b")


class CellFailed(KerasMultiError):
    """The process of a cell died, hung or raised; the message says which."""


def _search_path(code: Path) -> str:
    """The code of the job first, then what `python -m` would search."""
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join(
        [str(code), os.getcwd(), *([given] if given else [])]
    )


class Child:
    """Starts a worker and speaks with it.

    Args:
        job: what it is to do.
        memory_limit: bytes of resident memory at which it is ended, before
            the machine has none left for others.
    """

    def __init__(self, job: Job, memory_limit: int) -> None:
        self._memory_limit = memory_limit
        self._outgrown = False
        self.peak_memory = 0  # bytes, as far as it was watched
        self._errors: IO[str] = tempfile.TemporaryFile(  # noqa: SIM115
            "w+", encoding="utf-8", errors="replace"
        )
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "benchmarks.worker",
                job.model_dump_json(),
            ],
            env={
                **os.environ,
                "KERAS_BACKEND": job.backend,
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "PYTHONPATH": _search_path(job.code),
                **(
                    compiled.kept(job.compiled)
                    if job.compiled
                    else compiled.NOT_KEPT
                ),
                # Else two processes of the same code differ by their dicts.
                "PYTHONHASHSEED": "0",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._watch_memory, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)
        self._ended.set()

    def _watch_memory(self) -> None:
        try:
            process = psutil.Process(self._process.pid)
            while not self._ended.wait(WATCH_SECONDS):
                used = process.memory_info().rss
                self.peak_memory = max(self.peak_memory, used)
                if used > self._memory_limit:
                    self._outgrown = True
                    self._signal()
                    return
        except psutil.NoSuchProcess:
            pass

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
        self._signal()
        self._process.wait()
        self._ended.set()

    def _signal(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _why_it_died(self) -> str:
        code = self._process.wait()
        if self._outgrown:
            return (
                f"out of memory: used {self.peak_memory / 2**30:.1f} GiB of "
                f"{self._memory_limit / 2**30:.1f} GiB; use a smaller batch "
                "or raise --memory-limit"
            )
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        named = [line for line in lines if _ERROR.match(line)]
        told = (named or lines or ["it printed nothing"])[-1][:300]
        if any(_OUT_OF_MEMORY.search(line) for line in lines[-20:]):
            return f"out of memory: {told}"
        if code < 0:
            hint = " (out of memory?)" if code == -signal.SIGKILL else ""
            return f"killed by {signal.Signals(-code).name}{hint}"
        return f"exit code {code}: {told}"
