"""Two versions of the code, measured in the same rounds.

The versions are checkouts whose workers make their samples up, started as the
runner starts all workers, from a folder that holds the real ones.
"""

import json

import pytest
from typer.testing import CliRunner

from benchmarks import checkout, plan, results, runner
from benchmarks.judge import Outcome, pooled
from keras_multi.cli import app
from tests.benchmarks import fake


@pytest.fixture
def versions(tmp_path, monkeypatch):
    """The code here, a tenth slower than its base."""
    here = fake.version(tmp_path / "here", 1.1, rounds=12)
    base = fake.version(tmp_path / "base", 1.0, rounds=15)
    monkeypatch.setattr(checkout, "HERE", here)
    return here, base


def settings(base, *subjects):
    return plan.make(
        {
            "workloads": subjects or ["dcn_predict"],
            "precisions": ["float32"],
            "rounds": 9,
            "repeats": 1,
            "base": base,
        }
    )


def ignore(*_):
    pass


def log(version):
    """Weight files of the processes that ran a version."""
    return (version / "benchmarks" / "log").read_text().splitlines()


def test_each_version_runs_its_own_code_in_the_same_rounds(versions):
    _, base = versions
    new, old = runner.run(settings(base), ignore, ignore)
    assert new.session == old.session != ""
    for run, seconds, count in ((new, 1.1, 12), (old, 1.0, 15)):
        assert run.complete
        assert [cell.backend for cell in run.cells] == list(
            settings(base).backends
        )
        for cell in run.cells:
            (measured,) = cell.measurements
            assert min(measured.timing.samples) == seconds
            assert measured.rounds == list(range(count))
    ours, theirs = (set(log(version)) for version in versions)
    assert not ours & theirs


def test_repeats_number_the_rounds_of_both_alike():
    def outcome(samples):
        race = {"samples": {"keras": samples}, "joules": None}
        race |= {"errors": {}, "memory": {}}
        found = {"races": [race], "limits": None}
        return Outcome("w", ("jax", "float32", "xla"), found=found)

    new, old = pooled(
        [
            [outcome([1.0, 1.0]), outcome([1.0, 1.0, 1.0])],
            [outcome([2.0]), outcome([2.0])],
        ]
    )
    assert new.races[0]["rounds"] == [0, 1, 3]
    assert old.races[0]["rounds"] == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_neighbours_take_turns_in_being_first(count):
    cells = list(range(count))
    orders = [runner._order(cells, number) for number in range(2 * count)]
    assert all(sorted(order) == cells for order in orders)
    for first in range(0, count - 1, 2):
        earlier = [o.index(first) < o.index(first + 1) for o in orders]
        assert sum(earlier) == count
    assert {order[0] for order in orders} == set(cells)


def test_an_interrupted_comparison_goes_on(versions):
    _, base = versions
    both = settings(base, "dcn_predict", "dcn_train")
    saved = []

    def interrupt(runs):
        saved.append(runs)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(both, ignore, interrupt)
    (earlier,) = saved
    assert runner.resumable(earlier, both)
    other = earlier[1].model_copy(update={"session": "another"})
    assert not runner.resumable([earlier[0], other], both)
    new, old = runner.run(both, ignore, ignore, earlier)
    assert new.finished == old.finished == ["dcn_predict", "dcn_train"]
    assert new.session == earlier[0].session
    assert len(log(base)) == 2 * len(both.backends)


def test_the_command_tells_what_compare_tells(versions, tmp_path, monkeypatch):
    _, base = versions
    output = tmp_path / "results"
    arguments = ["bench", "--base", str(base), "--output", str(output)]
    arguments += ["--workload", "dcn_predict", "--backend", "torch", "--json"]
    told = CliRunner().invoke(app, [*arguments, "--precision", "float32"])
    assert told.exit_code == 1, told.stderr
    (row,) = json.loads(told.stdout)["rows"]
    assert row["verdict"] == "slower"
    assert row["ratio"]["median"] == pytest.approx(1.1)
    files = [str(output / name) for name in ("base.json", "results.json")]
    again = CliRunner().invoke(app, ["compare", *files, "--json"])
    assert again.stdout == told.stdout
    assert results.load(output / "base.json").complete
    assert (output / "report.html").exists()
