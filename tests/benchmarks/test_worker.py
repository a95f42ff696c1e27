"""How many steps and samples a contender gets."""

import time

import numpy as np
import pytest

from benchmarks import worker
from benchmarks.energy import Meter
from benchmarks.job import Job
from benchmarks.workload import Contender, Setting, Workload
from keras_multi import precision


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
        mode="xla",
        code=folder,
        weights=folder / "weights.npz",
        **{"precision": "float32", **fields},
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
    monkeypatch.setattr(worker, "_workloads", lambda job, precision: [workload])
    races = worker.set_up(job(tmp_path, first_size=first))
    assert [race.setting.batch_size for race in races] == sizes


@pytest.mark.parametrize("seconds", [2e-3, 2e-2])
def test_auto_takes_the_faster_precision(monkeypatch, tmp_path, seconds):
    class Either(Work):
        def build(self, setting):
            low = setting.precision == "mixed_bfloat16"
            return Sleeper(seconds if low else 1e-2, 0)

    workload = Either(0)
    workload.batch_sizes = (8,)
    monkeypatch.setattr(worker, "_workloads", lambda job, name: [workload])
    monkeypatch.setattr(precision, "_slow_product", lambda candidate: None)
    monkeypatch.setattr(precision, "SECONDS", 0.1)
    (race,) = worker.set_up(job(tmp_path, precision="auto"))
    chosen = "mixed_bfloat16" if seconds < 1e-2 else "float32"
    assert (race.chosen, race.setting.precision) == (chosen, chosen)
    assert worker.describe(race, Meter())["chosen"] == [chosen]


def test_what_uses_all_the_time_gets_fewer_samples(tmp_path):
    long = job(tmp_path, target=1e-9, budget=30.0)
    race = worker.Race(Work(1.0), None, {}, 1, np.zeros(1), 0.0, spent=31.0)
    race.samples["keras"] = [1.0, 2.0, 3.0, 4.0]
    assert not race.settled(long)
    race.samples["keras"].append(5.0)
    assert race.settled(long)
    race.spent = 29.0
    assert not race.settled(long)
