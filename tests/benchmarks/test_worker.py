"""How many steps and samples a contender gets."""

import time

import numpy as np
import pytest

from benchmarks import worker
from benchmarks.job import Job
from benchmarks.workload import Contender, Setting, Workload


class Sleeper(Contender):
    """Takes a fixed time a step, and one a call."""

    def __init__(self, seconds, call):
        self.seconds, self.call = seconds, call

    def output(self):
        return np.zeros(1)

    def run(self, steps):
        time.sleep(self.call + steps * self.seconds)


class Work(Workload):
    def __init__(self, seconds, call=0.0):
        self.seconds, self.call = seconds, call

    def build(self, setting):
        return Sleeper(self.seconds, self.call)


def job(folder, **fields):
    return Job(
        subject="w",
        label="w",
        backend="jax",
        precision="float32",
        mode="xla",
        code=folder,
        weights=folder / "weights.npz",
        **fields,
    )


@pytest.mark.parametrize(
    ("seconds", "call", "steps"),
    [(1e-5, 0, 16), (1e-5, 0.05, 16), (0.02, 0, 4), (0.1, 0, 1)],
)
def test_a_slow_step_gets_shorter_samples(monkeypatch, seconds, call, steps):
    monkeypatch.setattr(worker, "LONG_SAMPLE", 0.09)
    monkeypatch.setattr(worker, "WARM_UPS", 1)
    race = worker.set_up_ours(Work(seconds, call), Setting(8, "float32", "xla"))
    assert race.steps == steps


@pytest.mark.parametrize(("first", "sizes"), [(True, [8]), (False, [8, 16])])
def test_the_quick_suite_takes_the_first_batch_size(
    monkeypatch, tmp_path, first, sizes
):
    workload = Work(1e-5)
    workload.batch_sizes = (8, 16)
    monkeypatch.setattr(worker, "_workloads", lambda job: [workload])
    races = worker.set_up(job(tmp_path, first_size=first))
    assert [race.setting.batch_size for race in races] == sizes


def test_what_uses_all_the_time_gets_fewer_samples(tmp_path):
    long = job(tmp_path, target=1e-9, budget=30.0)
    race = worker.Race(Work(1.0), None, {}, 1, np.zeros(1), 0.0, spent=31.0)
    race.samples["keras"] = [1.0, 2.0, 3.0, 4.0]
    assert not race.settled(long)
    race.samples["keras"].append(5.0)
    assert race.settled(long)
    race.spent = 29.0
    assert not race.settled(long)
