"""The runner: isolation, parity gate, and what it makes of samples."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from benchmarks import checkout, runner, table, workload
from benchmarks.child import CellFailed, Child
from benchmarks.job import Job
from benchmarks.judge import Outcome, judge, pooled
from benchmarks.plan import Plan
from keras_multi.errors import UsageError


def race(output, samples=(2.0, 2.0, 2.0), native=(1.0, 1.0, 1.0), error=0.0):
    return {
        "workload": "w",
        "batch_size": 8,
        "unit": "examples",
        "work": 8,
        "steps": 4,
        "first_seconds": 10.0,
        "output_steps": 3,
        "tolerance": 1e-4,
        "output": output,
        "unjudged": "",
        "samples": {"keras": list(samples), "native": list(native)},
        "rounds": list(range(len(samples))),
        "errors": {"native": error},
        "cost": None,
        "joules": None,
        "memory": {"process": 1, "device": None},
    }


def outcome(key, output, failure="", **kwargs):
    found = {"races": [race(output, **kwargs)], "limits": None, "energy": None}
    return Outcome("w", key, failure, found={} if failure else found)


def test_finds_workloads_by_their_files():
    assert {"dcn_movielens", "dcn_predict", "dcn_train"} <= set(
        workload.names()
    )
    with pytest.raises(UsageError, match="dcn_train"):
        workload.load("mnist")


def test_figures_of_a_cell():
    (made,) = judge([outcome(("jax", "float32", "xla"), [1.0, 2.0])])
    (measurement,) = made.measurements
    assert made.status == "ok"
    assert measurement.compile_seconds == 10.0 - 3 * 2.0
    assert measurement.throughput.median == 4.0
    assert measurement.native is not None
    assert measurement.native.ratio.median == 2.0


def test_wrong_output_gets_no_speed_and_says_why():
    cells = judge(
        [
            outcome(("torch", "mixed_bfloat16", "eager"), [1.0, 2.04]),
            outcome(("jax", "float32", "xla"), [1.0, 2.0]),
            outcome(("torch", "float32", "eager"), [1.0, 2.04]),
            outcome(("tensorflow", "float32", "xla"), [1.0, 2.0], error=0.5),
        ]
    )
    assert [c.status for c in cells] == ["ok", "ok", "wrong", "wrong"]
    assert "2.0e-02" in cells[2].reason
    assert "native" in cells[3].reason


def test_auto_is_judged_by_what_it_took():
    def cell(output, *chosen):
        made = outcome(("torch", "auto", "eager"), output)
        made.races[0]["chosen"] = list(chosen)
        return made

    exact = outcome(("jax", "float32", "xla"), [1.0, 2.0])
    near = [1.0, 2.04]
    low, wrong = (
        judge([cell(near, "mixed_bfloat16"), exact])[:1]
        + judge([cell(near, "float32"), exact])[:1]
    )
    assert (low.status, wrong.status) == ("ok", "wrong")
    assert low.measurements[0].chosen == "mixed_bfloat16"
    assert table.notes(low.measurements[0])[0] == "took mixed_bfloat16"
    both = pooled([[cell(near, "float32")], [cell(near, "mixed_bfloat16")]])
    (cells,) = judge([*both, exact])[:1]
    assert cells.measurements[0].chosen == "float32, mixed_bfloat16"


def test_failed_cells_do_not_hinder_others():
    cells = judge(
        [
            outcome(("jax", "float32", "xla"), [1.0], failure="killed"),
            outcome(("torch", "float32", "eager"), [1.0]),
        ]
    )
    assert [c.status for c in cells] == ["failed", "ok"]
    assert cells[0].reason == "killed"


def test_repeats_of_a_cell_are_pooled():
    def limits(rate, seconds):
        return {
            "operations_per_second": rate,
            "bytes_per_second": rate,
            "samples": {"product": [*seconds], "copy": [*seconds]},
        }

    key = ("jax", "float32", "xla")
    first = outcome(key, [1.0], samples=(1.0, 2.0), native=(1.0, 1.0))
    second = outcome(key, [1.0], samples=(4.0, 4.0), native=(2.0, 2.0))
    first.found["limits"] = limits(3.0, [0.5])
    second.found["limits"] = limits(5.0, [0.2])
    first.races[0] |= {"joules": 3.0, "memory": {"process": 7, "device": None}}
    second.races[0] |= {"joules": 5.0, "memory": {"process": 9, "device": None}}
    (cell,) = judge(pooled([[first], [second]]))
    (measurement,) = cell.measurements
    assert measurement.rounds == [0, 1, 2, 3]
    assert measurement.timing.samples == [1.0, 2.0, 4.0, 4.0]
    assert measurement.native.timing.samples == [1.0, 1.0, 2.0, 2.0]
    assert measurement.joules == 4.0
    assert cell.peak_memory_bytes == 9
    assert cell.limits.operations_per_second == 5.0
    assert cell.limits.samples["copy"] == [0.5, 0.2]
    lost = outcome(key, [1.0], failure="killed")
    (cell,) = judge(pooled([[outcome(key, [1.0])], [lost]]))
    assert cell.reason == "killed"


def job(subject, tmp_path):
    return Job(
        subject=subject,
        label=subject,
        backend="jax",
        precision="float32",
        mode="xla",
        code=checkout.HERE,
        weights=tmp_path / "weights.npz",
    )


def test_a_child_that_cannot_start_says_why(tmp_path):
    child = Child(job("no_such_workload", tmp_path), 2**40)
    child.answer(60)
    child.say("setup")
    with pytest.raises(CellFailed, match=r"exit code 2: .*no_such_workload"):
        child.answer(60)


def test_a_child_that_hangs_is_killed(tmp_path):
    child = Child(job("dcn_predict", tmp_path), 2**40)
    with pytest.raises(CellFailed, match="time limit"):
        child.answer(0.01)
    assert child._process.poll() == -signal.SIGKILL


def test_a_child_that_grows_is_killed(tmp_path):
    child = Child(job("dcn_predict", tmp_path), 50 * 2**20)
    with pytest.raises(CellFailed, match=r"out of memory: used 0.* of 0.0 GiB"):
        child.answer(60)


def test_cells_that_memory_has_no_room_for_run_later(monkeypatch):
    size, total = 4 * 2**30, 12 * 2**30
    log, alive = [], []

    class Fake:
        peak_memory = size

        def __init__(self, job, memory_limit):
            self.backend = job.backend

        def say(self, command):
            if command == "setup":
                alive.append(self.backend)
                log.append([*alive])

        def answer(self, seconds):
            return {"settled": True}

        def kill(self):
            if self.backend in alive:
                alive.remove(self.backend)

    class Memory:
        @property
        def available(self):
            return total - size * len(alive)

    monkeypatch.setattr(runner, "Child", Fake)
    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    backends = ("jax", "torch", "tensorflow")
    precisions = ("float32", "mixed_bfloat16")
    settings = {"workloads": ["dcn_predict"], "precisions": precisions}
    settings |= {"budget": 1.0, "rounds": 1, "backends": backends}
    for limit, at_once in ((0, 2), (5 * 2**30, 2), (8 * 2**30, 1), (2**30, 3)):
        log.clear()
        plan = Plan(**settings, memory_limit=limit or None)
        found = runner._run_workload(plan, "dcn_predict", lambda *_: None)
        assert [x.key[:2] for x in found] == [
            (p, b)[::-1] for p in precisions for b in backends
        ]
        assert max(map(len, log)) == at_once
        assert not alive


def test_killing_a_child_leaves_a_row_and_the_rest(tmp_path):
    parent = subprocess.Popen(
        [
            sys.executable, "-m", "keras_multi", "bench",
            "--workload", "dcn_predict", "--precision", "float32",
            "--backend", "jax", "--backend", "torch",
            "--output", str(tmp_path), "--json",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    victim = None
    end = time.monotonic() + 120
    while victim is None and time.monotonic() < end:
        time.sleep(0.2)
        for child in psutil.Process(parent.pid).children():
            with contextlib.suppress(psutil.Error):
                if '"backend":"torch"' in "".join(child.cmdline()):
                    victim = child
    assert victim is not None
    time.sleep(3)
    victim.kill()
    stdout, stderr = parent.communicate(timeout=300)
    assert parent.returncode == 1, stderr
    status = {c["backend"]: c for c in json.loads(stdout)["cells"]}
    assert status["jax"]["status"] == "ok"
    assert status["torch"]["status"] == "failed"
    assert "SIGKILL" in status["torch"]["reason"]
    saved = json.loads((tmp_path / "results.json").read_text())
    assert saved == json.loads(stdout)
    assert "SIGKILL" in (tmp_path / "report.html").read_text()
