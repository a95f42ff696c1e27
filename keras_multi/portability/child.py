"""A probe's process as the check sees it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

POLL_SECONDS = 0.02
IN_CHILD = "KERAS_MULTI_CHECK_CHILD"


@dataclass
class Answer:
    """What a backend answered to one stage.

    Attributes:
        values: plain values.
        path: npz file with the arrays.
        failure: why there is no answer, in one line.
        kind: `"error"` if the code raised, `"usage"` if the model could not
            be made, `"crash"` or `"hang"` if the process is no more.
        place: file and line in the user's code.
    """

    values: dict[str, Any] = field(default_factory=dict)
    path: Path = Path()
    failure: str = ""
    kind: str = ""
    place: tuple[str, int] | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        with np.load(self.path) as stored:
            return dict(stored)


class Child:
    """Starts a probe on a backend.

    Args:
        name: the backend.
        folder: an empty folder for its answers.
        reference: `FILE.py:FUNCTION`.
        time_limit: seconds that one stage may take.
    """

    def __init__(
        self, name: str, folder: Path, reference: str, time_limit: float
    ) -> None:
        self.name, self._folder, self._limit = name, folder, time_limit
        self._asked = -1
        self._started = 0.0
        self._over: Answer | None = None
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(
            filter(None, [os.environ.get("PYTHONPATH"), root])
        )
        self._errors = folder / "stderr.txt"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "keras_multi.portability.probe",
                    str(folder),
                    reference,
                ],
                env={
                    **os.environ,
                    "KERAS_BACKEND": name,
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                    "PYTHONPATH": path,
                    IN_CHILD: "1",
                },
                stdin=subprocess.PIPE,
                stdout=2,  # what the user's code prints
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def ask(self, stage: str, **arguments: Any) -> None:
        """Sends a stage; `answer` waits for it."""
        self._asked += 1
        self._started = time.monotonic()
        if self._over:
            return
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{stage} {json.dumps(arguments)}\n")
            self._process.stdin.flush()
        except OSError:
            self._process.wait()

    def answer(self) -> Answer:
        """Waits for the answer; a child that is no more answers why."""
        path = self._folder / f"{self._asked}.json"
        while not self._over and not path.exists():
            if self._process.poll() is not None and not path.exists():
                self._over = Answer(failure=self._why(), kind="crash")
            elif time.monotonic() - self._started > self._limit:
                self.kill()
                self._over = Answer(
                    failure=f"took longer than {self._limit:g} s, the time "
                    "limit (--time-limit)",
                    kind="hang",
                )
            else:
                time.sleep(POLL_SECONDS)
        if self._over:
            return self._over
        values = json.loads(path.read_text())
        kind = next((k for k in ("usage", "error") if k in values), "")
        place = values.get("place")
        return Answer(
            values,
            path.with_suffix(".npz"),
            values.get(kind, ""),
            kind,
            tuple(place) if place else None,
        )

    def _why(self) -> str:
        code = self._process.returncode
        if code < 0:
            return f"the process was ended by {signal.Signals(-code).name}"
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        last = f": {lines[-1][:300]}" if lines else ""
        return f"the process ended with code {code}{last}"

    def kill(self) -> None:
        """Ends the process and all that it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None and not self._process.stdin.closed:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                return
