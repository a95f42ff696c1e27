"""Short measurements, and the file that remembers what they decided."""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_multi import __version__, backend
from keras_multi.data.cache import default_cache_dir
from keras_multi.errors import KerasMultiError
from keras_multi.files import prepare_folder, write_json
from keras_multi.info import versions

FILE = "inference.json"
WARM_UPS = 2
ROUNDS = range(3, 30)


def turns(
    contenders: dict[Any, Callable[[], Any]], seconds: float, rounds: range
) -> dict[Any, list[float]]:
    """Times functions in turns.

    Args:
        contenders: functions without arguments that return tensors.
        seconds: time in which rounds are begun, once there are enough.
        rounds: at least as many as its start, and less than its stop.

    Returns:
        The times of each, in seconds.
    """
    times: dict[Any, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        for _ in range(WARM_UPS):
            backend.synchronize(contender())
    end = time.perf_counter() + seconds
    for done in range(rounds.stop - 1):
        if done >= rounds.start and time.perf_counter() > end:
            break
        for name, contender in contenders.items():
            start = time.perf_counter()
            backend.synchronize(contender())
            times[name].append(time.perf_counter() - start)
    return times


def race(
    contenders: dict[Any, Callable[[], Any]], seconds: float
) -> dict[Any, float]:
    """Gives the median times of functions, as `turns` takes them.

    Example:
        >>> times = race({"a": lambda: None, "b": lambda: None}, 0.01)
        >>> list(times)
        ['a', 'b']
    """
    times = turns(contenders, seconds, ROUNDS)
    return {name: statistics.median(each) for name, each in times.items()}


class Decisions:
    """What was decided on this machine, kept in a file.

    A file that cannot be read counts as empty, and one that cannot be written
    costs a new measurement the next time.

    Args:
        folder: of the file; the cache of the data sets by default.
        name: of the file.
    """

    def __init__(self, folder: Path | None = None, name: str = FILE) -> None:
        self.path = (folder or default_cache_dir()) / name
        self._machine = machine()
        self._known = self._read().get(self._machine, {})
        self._new: dict[str, str] = {}

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return {k: v for k, v in content.items() if isinstance(v, dict)}
        except (OSError, ValueError, AttributeError):
            return {}

    def get(self, problem: str) -> str | None:
        """The decision on a problem, or `None` if there is none yet."""
        return self._known.get(problem)

    def put(self, problem: str, decision: str) -> None:
        """Remembers a decision; `save` writes it."""
        self._known[problem] = self._new[problem] = decision

    def save(self) -> None:
        """Adds what is new to the file."""
        if not self._new:
            return
        content = self._read()
        content.setdefault(self._machine, {}).update(self._new)
        try:
            prepare_folder(self.path.parent)
            write_json(self.path, content)
        except KerasMultiError:
            return
        self._new = {}


def machine() -> str:
    """All but the problem that a measurement depends on."""
    device = backend.device()
    known = {"keras-multi": __version__, **versions()}
    return json.dumps(
        [backend.name(), device.kind, device.name, backend.threads(), known]
    )
