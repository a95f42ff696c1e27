"""Runs cells, each in a process of its own, and collects their results.

The cells of one workload are alive at the same time and take their samples
in turn, so that a machine that slows down slows all of them alike. Only one
of them computes at any time. Where a plan has a base, it is the two versions
of one cell that are alive at the same time.
"""

import datetime
import itertools
import os
import platform
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

from benchmarks import checkout, workload
from benchmarks.child import CellFailed, Child
from benchmarks.job import Job
from benchmarks.judge import Outcome, judge, pooled
from benchmarks.plan import Key, Plan
from benchmarks.results import Cell, Environment, Results
from keras_multi import backend, info
from keras_multi.commands import compiled_dir

Tick = Callable[[str, float], None]
Save = Callable[[list[Results]], None]

MEMORY_SHARE = 0.9
# What a cell takes before it has built anything, and how much more than the
# cells so far another one may want.
MEMORY_AT_START = 2**30
ROOM = 1.5


class _Running:
    """A cell whose process is alive, or that failed."""

    def __init__(self, plan: Plan, job: Job) -> None:
        self.outcome = Outcome(job.label, job.key)
        at = "" if job.code == checkout.HERE else f" of {job.code.name}"
        self.name = " ".join(job.key) + at
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
    plan: Plan, tick: Tick, save: Save, earlier: list[Results] | None = None
) -> list[Results]:
    """Runs all cells of a plan.

    Args:
        plan: what to run.
        tick: called with a line on what is done now and the number of
            workloads that were finished, a fraction for one under way.
        save: called with the results so far after each workload.
        earlier: what an interrupted run of the same plan had finished, see
            `resumable`. Its cells are not run again.

    Returns:
        The results of the code here, then those of the plan's base if it
        has one; a cell that died is a row that says why.
    """
    start = time.monotonic()
    runs = earlier or _started(plan)
    spent = runs[0].seconds
    for subject in plan.subjects:
        label = workload.label(subject)
        if label in runs[0].finished:
            continue
        done, part = len(runs[0].finished), 1 / plan.repeats
        outcomes = pooled(
            [
                _run_workload(plan, subject, _part(tick, done + i * part, part))
                for i in range(plan.repeats)
            ]
        )
        seconds = spent + time.monotonic() - start
        runs = [
            _extended(plan, run, label, outcomes[number :: len(runs)], seconds)
            for number, run in enumerate(runs)
        ]
        save(runs)
    return runs


def versions(plan: Plan) -> list[Path]:
    """Roots of the code that runs each cell: that here and the base.

    Args:
        plan: what is to run.
    """
    return [checkout.HERE] + ([plan.base] if plan.base else [])


def _started(plan: Plan) -> list[Results]:
    """Runs that have no cells yet."""
    first = Results(
        created=datetime.datetime.now(datetime.UTC),
        session=uuid.uuid4().hex if plan.base else "",
        suite=plan.suite,
        plan=plan.model_dump(mode="json"),
        complete=False,
        seconds=0.0,
        matmul_precision=plan.matmul_precision,
        environment=environment(plan, checkout.HERE),
        cells=[],
    )
    return [
        first.model_copy(update={"environment": environment(plan, code)})
        for code in versions(plan)
    ]


def _extended(
    plan: Plan,
    run: Results,
    label: str,
    outcomes: list[Outcome],
    seconds: float,
) -> Results:
    """A run with the cells of one more workload."""
    finished = [*run.finished, label]
    return run.model_copy(
        update={
            "cells": run.cells + judge(outcomes),
            "finished": finished,
            "complete": len(finished) == len(plan.subjects),
            "seconds": seconds,
            "environment": _completed(run.environment, outcomes),
        }
    )


def _part(tick: Tick, start: float, size: float) -> Tick:
    """Progress within a part, told as progress of the whole."""
    return lambda text, share: tick(text, start + size * share)


def resumable(runs: list[Results], plan: Plan) -> bool:
    """Whether a run was interrupted that `run` can go on with.

    It must be of the same plan, machine and software.

    Args:
        runs: what an earlier run saved.
        plan: what is to run now.
    """
    return all(
        not run.complete
        and (run.session, run.finished) == (runs[0].session, runs[0].finished)
        and run.plan == plan.model_dump(mode="json")
        and all(
            getattr(run.environment, name) == getattr(now, name)
            for name in ("processor", "cores", "packages", "commit")
        )
        for run, now in zip(
            runs,
            [environment(plan, code) for code in versions(plan)],
            strict=True,
        )
    )


def _run_workload(plan: Plan, subject: str, tick: Tick) -> list[Outcome]:
    """Runs the cells of a workload, as many at a time as memory allows.

    Both versions of a cell run beside each other, and beside no other cell.
    """
    codes = versions(plan)
    free = psutil.virtual_memory().available
    at_once = len(codes) if plan.base else max(1, free // MEMORY_AT_START)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        weights = {
            code: Path(folder) / f"weights{number}.npz"
            for number, code in enumerate(codes)
        }
        jobs = [
            _job(plan, subject, key, code, file)
            for key in plan.cells()
            for code, file in weights.items()
        ]
        while left := jobs[len(outcomes) :]:
            group = left[:at_once]
            done, part = len(outcomes) / len(jobs), len(group) / len(jobs)
            found = _run_side_by_side(plan, group, _part(tick, done, part))
            at_once = len(found)  # Others would start to be dropped again.
            outcomes += found
    return outcomes


def _job(plan: Plan, subject: str, key: Key, code: Path, weights: Path) -> Job:
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
        code=code,
        compiled=compiled_dir() if plan.warm else None,
        weights=weights,
    )


def _run_side_by_side(plan: Plan, jobs: list[Job], tick: Tick) -> list[Outcome]:
    """Keeps cells alive together and lets them compute in turns.

    Gives the outcomes of the first jobs, those that memory had room for; of
    all where the plan has a base, since its two versions belong together.
    """
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
            if (
                number
                and not plan.base
                and not _has_room(plan, running, number)
            ):
                _drop(running, number)
                break
            cell.ask("setup")
        start = time.monotonic()
        for number in itertools.count(1):
            for cell in _order(running, number):
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


def _has_room(plan: Plan, running: list[_Running], number: int) -> bool:
    """Whether one more cell fits beside the first ones."""
    peak = max(cell.child.peak_memory for cell in running[:number])
    wanted = plan.memory_limit or ROOM * peak
    return psutil.virtual_memory().available > wanted


def _drop(running: list[_Running], number: int) -> None:
    """Ends the cells after the first ones, to be started again later."""
    for cell in running[number:]:
        cell.child.kill()
    del running[number:]


def _order(running: list[_Running], number: int) -> list[_Running]:
    """Who computes when in a round.

    Another cell begins every two rounds; the second goes backwards, so that
    of two neighbours each is the first equally often.
    """
    first = number // 2 % len(running)
    order = running[first:] + running[:first]
    return order[::-1] if number % 2 else order


def environment(plan: Plan, code: Path) -> Environment:
    """Describes the machine without importing a framework here.

    Args:
        plan: what is to run on it.
        code: root of the version of this project that runs it.
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
        packages=info.versions(),
        commit=checkout.commit(code),
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


def failures(cells: Iterable[Cell]) -> list[str]:
    """One line for each cell that is not ok."""
    return [
        f"{' '.join(cell.key)}: {cell.status}: {cell.reason}"
        for cell in cells
        if cell.status != "ok"
    ]
