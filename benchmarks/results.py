"""The results file: its schema, and reading and writing it.

Times are in seconds per step, one sample per interleaved round, and every
sample is kept: each table, chart and comparison can be made again from the
file alone.
"""

import datetime
import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from keras_multi.errors import ResultsError

SCHEMA_VERSION = 2

Status = Literal["ok", "failed", "wrong"]
Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
Samples = Annotated[list[Positive], pydantic.Field(min_length=1)]


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, ser_json_inf_nan="strings"
    )


class Estimate(_Model):
    """A median with its 95 % confidence interval."""

    median: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """The wider half of the interval, relative to the median."""
        half = max(self.high - self.median, self.median - self.low)
        return half / self.median


class Timing(_Model):
    """Repeated measurements of one thing.

    Attributes:
        samples: seconds per step, in the order of the rounds.
        steps: how many steps one sample averages over.
        seconds: median of the samples with its interval.
    """

    samples: Samples
    steps: int
    seconds: Estimate


class Rival(_Model):
    """The same work done by other code in the same process, interleaved.

    Attributes:
        timing: its own times.
        ratio: our time over its time, paired round by round. For a native
            baseline this is the portability tax.
        error: largest difference of its output from ours, relative to the
            largest output.
    """

    timing: Timing
    ratio: Estimate
    error: float


class Cost(_Model):
    """What one step has to do at least, whatever runs it.

    Attributes:
        operations: floating-point operations of the matrix products and
            convolutions; a multiplication and an addition count as two.
        bytes: bytes that must pass between memory and processor: inputs,
            outputs and states that are read or written once.
        source: who counted, such as `"workload"` or `"FlopCounterMode"`.
    """

    operations: float
    bytes: float
    source: str


class Limits(_Model):
    """What the machine reached in the same process, in the same rounds.

    Attributes:
        operations_per_second: best rate of a large matrix product in the
            precision of the cell.
        bytes_per_second: best rate of reading and writing a large array.
        samples: seconds of each `"product"` and each `"copy"`, one of both
            per round: they tell how busy the machine was.
    """

    operations_per_second: Positive
    bytes_per_second: Positive
    samples: dict[str, Samples] = {}

    def seconds(self, cost: Cost) -> float:
        """Shortest time for a step: the slower of arithmetic and memory.

        Source: Williams, Waterman and Patterson, Roofline: an insightful
        visual performance model, Communications of the ACM 52 (2009).
        """
        return max(
            cost.operations / self.operations_per_second,
            cost.bytes / self.bytes_per_second,
        )


class Measurement(_Model):
    """One batch size of a cell.

    Attributes:
        batch_size: examples per step.
        unit: what `work` counts, such as `"examples"`.
        work: units of work per step.
        compile_seconds: first call less one steady step.
        timing: steady state of the Keras model.
        rounds: number of the round of each sample. What is measured well
            enough has no sample in the last rounds of a process.
        parity_error: largest difference of the output from the reference
            cell's, relative to the largest output; `None` where `unjudged`
            says why there is nothing to compare.
        unjudged: why outputs were not compared, such as a layer that draws
            random numbers.
        cost: what a step has to do at least, where it could be counted.
        joules: energy of one step, where the machine tells.
        chosen: the precision that `auto` took; of several processes all that
            they took.
        native: the hand-written baseline, where the workload has one.
        peers: other libraries' versions of the same work, by name.
    """

    batch_size: int
    unit: str
    work: float
    compile_seconds: float
    timing: Timing
    rounds: list[int] = []
    parity_error: float | None
    unjudged: str = ""
    cost: Cost | None = None
    joules: float | None = None
    chosen: str = ""
    native: Rival | None = None
    peers: dict[str, Rival] = {}

    @property
    def throughput(self) -> Estimate:
        """Units of work per second."""
        t = self.timing.seconds
        return Estimate(
            median=self.work / t.median,
            low=self.work / t.high,
            high=self.work / t.low,
        )


class Cell(_Model):
    """What one child process measured, or why it did not.

    Attributes:
        workload: name of the workload.
        backend: `"jax"`, `"torch"` or `"tensorflow"`.
        precision: a Keras dtype policy, or `"auto"`.
        mode: how the backend runs it: `"xla"`, `"graph"`, `"eager"` or
            `"compile"`.
        status: `"ok"`; `"failed"`, and `reason` says why; or `"wrong"`: it
            ran, but its output is not the reference's, so no speed is
            reported.
        peak_memory_bytes: peak resident memory of the process.
        peak_device_bytes: peak memory on the accelerator, where there is one.
        limits: what the machine reached beside this cell.
    """

    workload: str
    backend: str
    precision: str
    mode: str
    status: Status
    reason: str = ""
    measurements: list[Measurement] = []
    peak_memory_bytes: int | None = None
    peak_device_bytes: int | None = None
    limits: Limits | None = None

    def share_of_limit(self, measurement: Measurement) -> float | None:
        """Shortest possible time of a step over the measured median.

        Args:
            measurement: one of this cell's.
        """
        if self.limits is None or measurement.cost is None:
            return None
        shortest = self.limits.seconds(measurement.cost)
        return shortest / measurement.timing.seconds.median

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What identifies the cell within a run."""
        return (self.workload, self.backend, self.precision, self.mode)


class Environment(_Model):
    """The machine and the software that the figures belong to.

    Attributes:
        platform: operating system.
        python: version of Python.
        processor: model of the processor.
        processor_mhz: its clock at the start of the run, where it tells.
        cores: logical processors of the machine.
        affinity: those that the cells might use; its length is the number
            of threads.
        memory_bytes: main memory.
        accelerator: what the cells computed on, if it was no CPU.
        accelerator_driver: version of its driver.
        accelerator_mhz: its highest clock.
        energy: where energy was read, such as `"RAPL"`; `None` if nowhere.
        packages: versions of the packages that matter.
        commit: version of this project.
    """

    platform: str
    python: str
    processor: str
    processor_mhz: float | None
    cores: int
    affinity: list[int]
    memory_bytes: int
    accelerator: str | None
    accelerator_driver: str | None = None
    accelerator_mhz: float | None = None
    energy: str | None = None
    packages: dict[str, str]
    commit: str | None

    @property
    def threads(self) -> int:
        """Cores that the cells might compute on."""
        return len(self.affinity)


class Results(_Model):
    """A run, or the part of it that is finished.

    Attributes:
        schema_version: version of this schema.
        created: when the run began.
        session: the same in two runs whose samples were taken in the same
            rounds; empty in a run alone.
        suite: `"quick"`, `"full"` or the name of a configuration file.
        plan: everything that was asked for; the same plan on the same
            machine and code can be resumed.
        finished: the workloads and models whose cells all have their rows.
        complete: whether these are all that the plan names.
        seconds: time spent so far.
        matmul_precision: of float32 products on an accelerator.
        environment: machine and software.
        cells: one row each.
    """

    schema_version: int = SCHEMA_VERSION
    created: datetime.datetime
    session: str = ""
    suite: str
    plan: dict[str, Any] = {}
    finished: list[str] = []
    complete: bool = True
    seconds: float
    matmul_precision: str
    environment: Environment
    cells: list[Cell]


def programs(results: Results) -> str:
    """Where the programs of a run came from, in words.

    Args:
        results: the run.
    """
    warm = results.plan.get("warm", False)
    return "kept by earlier processes" if warm else "compiled anew"


def save(results: Results, path: Path) -> None:
    """Writes a results file; an old one stays whole until the new one is.

    Args:
        results: the run.
        path: the file to write.

    Raises:
        ResultsError: if the file cannot be written.
    """
    write_atomically(path, results.model_dump_json(indent=1))


def load(path: Path) -> Results:
    """Reads a results file.

    Args:
        path: a file that `save` wrote.

    Raises:
        ResultsError: if it cannot be read, is not a results file, or is of
            another schema version.

    Example:
        >>> from pathlib import Path
        >>> from benchmarks import results
        >>> run = results.load(Path("results/results.json"))  # doctest: +SKIP
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(
            f"cannot read results file {str(path)!r}: {error.strerror}"
        ) from error
    except ValueError as error:
        raise ResultsError(
            f"{str(path)!r} is not a results file: it is not JSON ({error}); "
            "make one with `keras-multi bench`"
        ) from error
    version = (
        content.get("schema_version") if isinstance(content, dict) else None
    )
    if version != SCHEMA_VERSION:
        raise ResultsError(
            f"{str(path)!r} has results schema {version!r}, this version "
            f"reads {SCHEMA_VERSION}; run `keras-multi bench` again"
        )
    try:
        return Results.model_validate(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ResultsError(
            f"{str(path)!r} is not a valid results file: at {where}: "
            f"{first['msg']}; run `keras-multi bench` again"
        ) from error


def check_writable(folder: Path) -> None:
    """Makes a folder and proves that files can be written into it.

    Called before a long run, so that its results are not lost.

    Raises:
        ResultsError: if they cannot.
    """
    write_atomically(folder / ".writable", "")
    (folder / ".writable").unlink()


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file under a temporary name, then renames it.

    Raises:
        ResultsError: if it cannot be written; nothing half-written stays.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w",
            encoding="utf-8",
            dir=path.parent,
            prefix=f".{path.name}.",
            delete=False,
        ) as file:
            temporary = file.name
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise ResultsError(
            f"cannot write {str(path)!r}: {error.strerror}; choose another "
            "folder with --output"
        ) from error
