import io
import json

import pytest
from rich.console import Console

from benchmarks import compare
from benchmarks.results import Results
from keras_multi.errors import UsageError
from tests.benchmarks import fake


@pytest.fixture(scope="module")
def base() -> Results:
    return fake.run(seed=0)


def edited(results: Results, key, **changes) -> Results:
    """The run with fields of one cell changed."""
    cells = [
        cell.model_copy(update=changes) if cell.key == key else cell
        for cell in results.cells
    ]
    return results.model_copy(update={"cells": cells})


def without(results: Results, key) -> Results:
    cells = [cell for cell in results.cells if cell.key != key]
    return results.model_copy(update={"cells": cells})


def verdicts(rows) -> dict:
    return {
        (row.workload, row.backend, row.precision, row.batch_size): row.verdict
        for row in rows
    }


JAX = ("dcn_train", "jax", "float32", "xla")
FAILED = ("dcn_movielens", "tensorflow", "mixed_bfloat16", "xla")


def test_a_run_equals_itself(base):
    rows = compare.compare(base, base)
    assert {row.verdict for row in rows} == {"same"}
    assert all(row.ratio.median == 1.0 for row in rows if row.ratio)
    assert not compare.has_regression(rows)
    assert compare.warnings(base, base) == []


def test_noise_alone_is_no_difference(base):
    rows = compare.compare(base, fake.run(seed=1))
    assert {row.verdict for row in rows} == {"same"}


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.2, "slower"), (0.8, "faster")]
)
def test_a_changed_backend_is_found_and_no_other(base, factor, verdict):
    new = fake.scaled(fake.run(seed=1), "torch", factor)
    rows = compare.compare(base, new)
    for row in rows:
        assert row.verdict == (verdict if row.backend == "torch" else "same")
        if row.backend == "torch":
            assert row.ratio.median == pytest.approx(factor, rel=0.05)
            assert row.ratio.low < row.ratio.median < row.ratio.high
            assert row.p_value < 0.01
    assert compare.has_regression(rows) == (verdict == "slower")


def test_a_change_below_the_threshold_does_not_count(base):
    new = fake.scaled(base, "torch", 1.2)
    rows = compare.compare(base, new, threshold=0.25)
    assert {row.verdict for row in rows} == {"same"}


def test_a_cell_that_fails_now_is_broken(base):
    new = edited(base, JAX, status="failed", reason="time limit")
    rows = compare.compare(base, new)
    broken = [row for row in rows if row.verdict == "broken"]
    assert [row.batch_size for row in broken] == [256, 4096]
    assert {row.reason for row in broken} == {"failed: time limit"}
    assert compare.has_regression(rows)


def test_a_wrong_cell_is_broken_although_it_has_times(base):
    new = edited(base, JAX, status="wrong", reason="error 0.3")
    got = verdicts(compare.compare(base, new))
    assert got["dcn_train", "jax", "float32", 256] == "broken"


def test_a_cell_or_batch_size_that_is_gone_is_missing(base):
    rows = compare.compare(base, without(base, JAX))
    assert verdicts(rows)["dcn_train", "jax", "float32", 4096] == "missing"
    assert compare.has_regression(rows)

    [cell] = [cell for cell in base.cells if cell.key == JAX]
    smaller = edited(base, JAX, measurements=cell.measurements[:1])
    got = verdicts(compare.compare(base, smaller))
    assert got["dcn_train", "jax", "float32", 256] == "same"
    assert got["dcn_train", "jax", "float32", 4096] == "missing"


def test_new_cells_are_no_regression(base):
    rows = compare.compare(without(base, JAX), base)
    assert verdicts(rows)["dcn_train", "jax", "float32", 256] == "new"
    assert not compare.has_regression(rows)

    rows = compare.compare(without(base, FAILED), base)
    assert [row.reason for row in rows if row.verdict == "new"] == [
        "failed: killed by signal 9 (SIGKILL)"
    ]


def test_a_cell_that_never_had_figures_is_the_same_or_absent(base):
    [row] = [row for row in compare.compare(base, base) if row.reason]
    assert (row.verdict, row.batch_size) == ("same", None)
    rows = compare.compare(base, without(base, FAILED))
    assert not compare.has_regression(rows)


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), float("inf")])
def test_bad_threshold(base, threshold):
    with pytest.raises(UsageError, match="Received: threshold="):
        compare.compare(base, base, threshold)


def test_warnings_name_what_differs(base):
    packages = base.environment.packages | {"jax": "0.9", "numpy": "2.0"}
    environment = base.environment.model_copy(
        update={"processor": "ARM", "cores": 8, "packages": packages}
    )
    new = base.model_copy(
        update={"environment": environment, "matmul_precision": "tf32"}
    )
    assert compare.warnings(base, new) == [
        "matmul precision differs: float32 in the base, tf32 in the new run",
        "processor differs: AMD EPYC 9R14 in the base, ARM in the new run",
        "cores differs: 2 in the base, 8 in the new run",
        "jax differs: 0.10.2 in the base, 0.9 in the new run",
        "numpy differs: not installed in the base, 2.0 in the new run",
    ]


def test_warns_where_the_rounds_cannot_show_a_difference(base):
    content = base.model_dump()
    for cell in content["cells"]:
        for measured in cell["measurements"]:
            for one in (measured, measured["native"]):
                del one["timing"]["samples"][5:]
    short = Results.model_validate(content)
    slower = fake.scaled(short, "torch", 3.0)
    rows = compare.compare(short, slower)
    assert {row.verdict for row in rows} == {"same"}
    assert compare.warnings(short, slower) == [
        "5 rounds against 5 are too few to show a difference among 29 "
        "comparisons; measure more rounds"
    ]


def test_table_shows_every_row_and_takes_no_markup(base):
    new = edited(base, JAX, status="failed", reason="[bold]odd[/nonsense]")
    rows = compare.compare(base, new)
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(compare.table(rows))
    text = console.export_text()
    assert "[bold]odd[/nonsense]" in text
    assert text.count("mixed_bfloat16") == 15


def test_as_dict_is_json(base):
    new = fake.scaled(base, "jax", 1.5)
    rows = compare.compare(base, new)
    content = json.loads(json.dumps(compare.as_dict(rows, ["a warning"])))
    assert content["regression"] is True
    assert content["warnings"] == ["a warning"]
    first = content["rows"][0]
    assert first["verdict"] == "slower"
    assert first["ratio"]["median"] == pytest.approx(1.5)
    assert first["batch_size"] == 256


def without_native(run, machine, slower=1.0):
    """A run whose cells have no baseline, on a machine of some slowness."""
    content = run.model_dump()
    for cell in content["cells"]:
        samples = [machine * x for x in (1.0, 1.01, 0.99)]
        cell["limits"] = {
            "operations_per_second": 1e11,
            "bytes_per_second": 1e10,
            "samples": {"product": samples, "copy": samples},
        }
        for measured in cell["measurements"]:
            measured["native"] = None
            timing = measured["timing"]
            timing["samples"] = [
                machine * slower * s for s in timing["samples"]
            ]
    return Results.model_validate(content)


def test_rows_with_a_baseline_are_judged_by_it(base):
    content = base.model_dump()
    for cell in content["cells"]:
        for measured in cell["measurements"]:
            for one in (measured, measured["native"]):
                samples = one["timing"]["samples"]
                one["timing"]["samples"] = [1.3 * s for s in samples]
    busy = Results.model_validate(content)
    rows = compare.compare(base, busy)
    assert {row.against for row in rows if row.ratio} == {"native"}
    assert {row.verdict for row in rows} == {"same"}


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "same"), (1.1, "slower"), (0.9, "faster")]
)
def test_runs_of_one_session_are_judged_round_by_round(factor, verdict):
    base, new = fake.paired(factor)
    rows = [row for row in compare.compare(base, new) if row.ratio]
    assert {row.against for row in rows} == {"rounds"}
    assert {row.verdict for row in rows} == {verdict}
    for row in rows:
        assert row.ratio.median == pytest.approx(factor, rel=0.03)
    # The machine drifts by more than what is found here.
    alone = new.model_copy(update={"session": "another"})
    assert "same" in {row.verdict for row in compare.compare(base, alone)}


def test_a_session_needs_enough_rounds_in_common():
    base, new = fake.paired(2.0, rounds=14)
    assert compare.warnings(base, new) == [
        "9 rounds against 9 are too few to show a difference among 29 "
        "comparisons; measure more rounds"
    ]
    assert compare.warnings(*fake.paired(2.0, rounds=20)) == []


@pytest.mark.parametrize(
    ("machine", "slower", "verdict"),
    [
        (1.3, 1.0, "same"),
        (0.8, 1.0, "same"),
        (1.3, 1.2, "slower"),
        (1.0, 1.2, "slower"),
        (1.0, 0.8, "faster"),
    ],
)
def test_a_slow_machine_is_no_slow_code(base, machine, slower, verdict):
    rows = compare.compare(
        without_native(base, 1.0), without_native(base, machine, slower)
    )
    assert {row.against for row in rows if row.ratio} == {"clock"}
    assert {row.verdict for row in rows if row.ratio} == {verdict}
