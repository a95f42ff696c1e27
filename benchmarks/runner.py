"""Runs cells, each in a process of its own, and collects their results.

The cells of one workload are alive at the same time and take their samples
in turn, so that a machine that slows down slows all of them alike. Only one
of them computes at any time.
"""

import datetime
import itertools
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

from benchmarks import workload
from benchmarks.child import CellFailed, Child
from benchmarks.job import Job
from benchmarks.judge import Outcome, judge, pooled
from benchmarks.plan import Key, Plan
from benchmarks.results import Cell, Environment, Results
from keras_multi import backend
from keras_multi.info import versions

Tick = Callable[[str, float], None]
Save = Callable[[Results], None]

MEMORY_SHARE = 0.9
MEMORY_OF_A_CELL = 2 * 2**30


class _Running:
    """A cell whose process is alive, or that failed."""

    def __init__(self, plan: Plan, job: Job) -> None:
        self.outcome = Outcome(job.label, job.key)
        self.name = " ".join(job.key)
        self.left = plan.time_limit
        self.settled = False
        free = psutil.virtual_memory().available
        self.child = Child(job, plan.memory_limit or int(MEMORY_SHARE * free))

    def ask(self, command: str | None) -> dict[str, Any]:
        """Sends a command and waits; a failure is kept, not raised."""
        if self.outcome.failure:
            return {}
        start = time.monotonic()
        try:
            if command is not None:
                self.child.say(command)
            answer: dict[str, Any] = self.child.answer(self.left)
            return answer
        except CellFailed as error:
            self.outcome.failure = str(error)
            return {}
        finally:
            self.left -= time.monotonic() - start

    def take_round(self) -> None:
        """Takes a sample of everything that is not measured well enough."""
        if not self.settled:
            self.settled = self.ask("round").get("settled", True)


def run(
    plan: Plan, tick: Tick, save: Save, earlier: Results | None = None
) -> Results:
    """Runs all cells of a plan.

    Args:
        plan: what to run.
        tick: called with a line on what is done now and the number of
            workloads that were finished, a fraction for one under way.
        save: called with the results so far after each workload.
        earlier: what an interrupted run of the same plan had finished, see
            `resumable`. Its cells are not run again.

    Returns:
        The results; a cell that died is a row that says why.
    """
    start = time.monotonic()
    results = earlier or Results(
        created=datetime.datetime.now(datetime.UTC),
        suite=plan.suite,
        plan=plan.model_dump(mode="json"),
        complete=False,
        seconds=0.0,
        matmul_precision=plan.matmul_precision,
        environment=environment(plan),
        cells=[],
    )
    spent = results.seconds
    for subject in plan.subjects:
        label = workload.label(subject)
        if label in results.finished:
            continue
        done, part = len(results.finished), 1 / plan.repeats
        outcomes = pooled(
            [
                _run_workload(plan, subject, _part(tick, done + i * part, part))
                for i in range(plan.repeats)
            ]
        )
        finished = [*results.finished, label]
        results = results.model_copy(
            update={
                "cells": results.cells + judge(outcomes),
                "finished": finished,
                "complete": len(finished) == len(plan.subjects),
                "seconds": spent + time.monotonic() - start,
                "environment": _completed(results.environment, outcomes),
            }
        )
        save(results)
    return results


def _part(tick: Tick, start: float, size: float) -> Tick:
    """Progress within a part, told as progress of the whole."""
    return lambda text, share: tick(text, start + size * share)


def resumable(results: Results, plan: Plan) -> bool:
    """Whether a run was interrupted that `run` can go on with.

    It must be of the same plan, machine and software.

    Args:
        results: what an earlier run saved.
        plan: what is to run now.
    """
    now = environment(plan)
    return (
        not results.complete
        and results.plan == plan.model_dump(mode="json")
        and all(
            getattr(results.environment, name) == getattr(now, name)
            for name in ("processor", "cores", "packages", "commit")
        )
    )


def _run_workload(plan: Plan, subject: str, tick: Tick) -> list[Outcome]:
    """Runs the cells of a workload, as many at a time as memory allows."""
    free = psutil.virtual_memory().available
    at_once = max(1, free // MEMORY_OF_A_CELL)
    cells = plan.cells()
    groups = [
        cells[first : first + at_once]
        for first in range(0, len(cells), at_once)
    ]
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.npz"
        for group in groups:
            done = len(outcomes) / len(cells)
            part = len(group) / len(cells)
            jobs = [_job(plan, subject, key, weights) for key in group]
            outcomes += _run_side_by_side(plan, jobs, _part(tick, done, part))
    return outcomes


def _job(plan: Plan, subject: str, key: Key, weights: Path) -> Job:
    name, precision, mode = key
    return Job(
        subject=subject,
        label=workload.label(subject),
        backend=name,
        precision=precision,
        mode=mode,
        batch_sizes=plan.batch_sizes,
        first_size=plan.suite == "quick",
        matmul_precision=plan.matmul_precision,
        affinity=plan.affinity,
        target=plan.target,
        rounds=plan.rounds,
        budget=plan.budget,
        weights=weights,
    )


def _run_side_by_side(plan: Plan, jobs: list[Job], tick: Tick) -> list[Outcome]:
    """Keeps some cells alive together and lets them compute in turns."""
    running: list[_Running] = []
    label = jobs[0].label
    try:
        for job in jobs:
            running.append(_Running(plan, job))
        # The frameworks load side by side; nothing is timed yet.
        for cell in running:
            tick(f"{label}: starting {cell.name}", 0.0)
            cell.outcome.device = cell.ask(None)
        for number, cell in enumerate(running):
            tick(
                f"{label}: compiling {cell.name}",
                0.1 + 0.3 * number / len(running),
            )
            cell.ask("setup")
        start = time.monotonic()
        for number in itertools.count(1):
            first = number % len(running)
            for cell in running[first:] + running[:first]:
                cell.take_round()
            spent = (time.monotonic() - start) / plan.budget
            share = min(number / plan.rounds, 1) * min(max(spent, 0.1), 1)
            tick(f"{label}: round {number}", 0.4 + 0.6 * share)
            settled = all(cell.settled for cell in running)
            if settled or (number >= plan.rounds and spent >= 1):
                break
        for cell in running:
            cell.outcome.found = cell.ask("finish")
    finally:
        for cell in running:
            cell.child.kill()
    return [cell.outcome for cell in running]


def environment(plan: Plan) -> Environment:
    """Describes the machine without importing a framework here.

    Args:
        plan: what is to run on it.
    """
    frequency = psutil.cpu_freq()
    return Environment(
        platform=platform.platform(),
        python=platform.python_version(),
        processor=backend.cpu_name(),
        processor_mhz=frequency.current if frequency else None,
        cores=os.cpu_count() or 1,
        affinity=list(plan.affinity or backend.cores()),
        memory_bytes=psutil.virtual_memory().total,
        accelerator=None,
        packages=versions(),
        commit=_commit(),
    )


def _completed(
    environment: Environment, outcomes: list[Outcome]
) -> Environment:
    """Adds what only the cells could tell."""
    found: dict[str, Any] = {}
    for cell in outcomes:
        if cell.device.get("kind", "cpu") != "cpu":
            found["accelerator"] = cell.device["name"]
            found["accelerator_driver"] = cell.device["driver"]
            found["accelerator_mhz"] = cell.device["mhz"]
        if cell.found.get("energy"):
            found["energy"] = cell.found["energy"]
    return environment.model_copy(update=found)


def _commit() -> str | None:
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return git.stdout.strip() or None


def failures(cells: Iterable[Cell]) -> list[str]:
    """One line for each cell that is not ok."""
    return [
        f"{' '.join(cell.key)}: {cell.status}: {cell.reason}"
        for cell in cells
        if cell.status != "ok"
    ]
