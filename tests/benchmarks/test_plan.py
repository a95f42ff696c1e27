"""What is to run: settings, configuration files, defaults."""

import pytest

from benchmarks import plan, workload
from keras_multi import backend
from keras_multi.errors import UsageError
from tests.benchmarks.fake import version


def test_defaults_are_a_few_workloads_on_all_backends():
    made = plan.make({})
    assert set(made.workloads) < set(workload.names())
    assert made.backends == backend.available()
    assert made.rounds > 5
    assert made.budget > 0
    assert [key[2] for key in made.cells()] == ["xla", "eager", "xla"] * 2


def test_a_model_runs_alone(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("")
    made = plan.make({"models": [f"{file}:build"]})
    assert made.workloads == ()
    assert workload.label(made.subjects[0]) == "mine.py:build"


def test_full_suite_and_modes():
    full = plan.make({"suite": "full", "precisions": ["float32"]})
    assert len(full.cells()) == 5
    assert full.workloads == workload.names()
    assert plan.make({"precisions": ["auto"]}).precisions == ("auto",)
    graph = plan.make({"modes": ["graph", "eager"], "precisions": ["float32"]})
    assert graph.cells() == [
        ("torch", "float32", "eager"),
        ("tensorflow", "float32", "graph"),
    ]


def test_a_base_gets_more_rounds_and_processes(tmp_path):
    folder = version(tmp_path, 1.0)
    made = plan.make({"base": folder})
    assert made.base == folder
    assert made.rounds > plan.make({"suite": "full"}).rounds
    assert (made.repeats, plan.make({}).repeats) == (2, 1)
    given = plan.make({"base": folder, "rounds": 5, "repeats": 1})
    assert (given.rounds, given.repeats) == (5, 1)
    with pytest.raises(UsageError, match="base must be"):
        plan.make({"base": tmp_path / "absent"})


def test_configuration_file(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text('batch_sizes = [1, 64]\nmodes = ["xla"]\nbudget = 5\n')
    made = plan.make(plan.read(path))
    assert made.batch_sizes == (1, 64)
    assert made.budget == 5.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"suite": "huge"}, "unknown suite 'huge'"),
        ({"precisions": ["int8"]}, "unknown precision 'int8'"),
        ({"modes": ["fast"]}, "unknown mode 'fast'"),
        ({"modes": ["graph"], "backends": ["jax"]}, "no backend of jax"),
        ({"batch_sizes": [0]}, r"'batch_sizes.0': .*greater than 0.*0"),
        ({"batchsize": 3}, "'batchsize': Extra inputs"),
        ({"target": -1}, "--target must be positive. Received: -1"),
        ({"budget": 0}, "--budget must be positive. Received: 0"),
        ({"workloads": ["mnist"]}, "unknown workload 'mnist'"),
        ({"workloads": ["no.py"]}, "no workload file 'no.py'"),
        ({"workloads": ["dcn_train"] * 2}, "different names"),
        ({"models": ["no.py:build"]}, "no file 'no.py'"),
        ({"models": ["build"]}, "FILE.py:FUNCTION"),
        ({"affinity": [99]}, "affinity lists different cores of 0"),
        ({"affinity": [0, 0]}, "Received: 0, 0"),
        ({"backends": ["mxnet"]}, "unknown backend 'mxnet'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(UsageError, match=message):
        plan.make(settings)


@pytest.mark.parametrize("content", [b"a = ", b"\xff\xfe"])
def test_files_that_are_no_configuration(tmp_path, content):
    path = tmp_path / "sweep.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"sweep.toml' is not TOML"):
        plan.read(path)
    with pytest.raises(UsageError, match=r"cannot read .*No such file"):
        plan.read(tmp_path / "absent.toml")
