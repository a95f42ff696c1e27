import math

import numpy as np
import pytest

from benchmarks.report import charts, resources, rounds, scaling
from tests.benchmarks import fake


@pytest.fixture(scope="module")
def run():
    return fake.run()


@pytest.fixture(scope="module")
def full():
    return fake.full()


def rows(chart) -> list[dict]:
    """All data of a chart but the reference rule's."""
    found = []

    def visit(node):
        if isinstance(node, dict):
            values = node.get("values")
            if isinstance(values, list) and isinstance(values[0], dict):
                found.extend(row for row in values if "workload" in row)
            for child in node.values():
                visit(child)
        elif isinstance(node, list):
            for child in node:
                visit(child)

    visit(chart.specification)
    return [dict(items) for items in {tuple(row.items()) for row in found}]


def cell(run, workload, backend, precision):
    key = (workload, backend, precision, fake.MODES[backend])
    [found] = [cell for cell in run.cells if cell.key == key]
    return found


def pick(chart, **names) -> dict:
    [row] = [
        row
        for row in rows(chart)
        if all(row[name] == value for name, value in names.items())
    ]
    return row


def test_throughput_has_one_chart_per_workload_and_batch(run):
    got = charts.throughput(run)
    assert [chart.title for chart in got] == [
        "dcn_train, batch 256",
        "dcn_train, batch 4096",
        "dcn_predict, batch 256",
        "dcn_predict, batch 4096",
        "dcn_movielens, batch 1024",
    ]
    assert [len(rows(chart)) for chart in got] == [6, 6, 6, 6, 5]
    row = pick(got[1], backend="torch", precision="float32")
    samples = cell(run, "dcn_train", "torch", "float32").measurements[1]
    want = 4096 / np.median(samples.timing.samples)
    assert row["median"] == pytest.approx(want)
    assert row["low"] < row["median"] < row["high"]


def test_mixed_precision_is_float32_time_over_mixed_time(run):
    chart = charts.mixed_precision(run)
    assert len(rows(chart)) == 14
    row = pick(chart, workload="dcn_train", backend="torch", batch=256)
    plain, mixed = (
        np.median(
            cell(run, "dcn_train", "torch", precision)
            .measurements[0]
            .timing.samples
        )
        for precision in fake.PRECISIONS
    )
    assert row["precision"] == "mixed_bfloat16"
    assert row["median"] == pytest.approx(plain / mixed)


def test_tax_and_peers_show_the_paired_ratios(run):
    tax = charts.portability_tax(run)
    assert len(rows(tax)) == 29
    names = {"backend": "jax", "precision": "float32", "batch": 256}
    measured = cell(run, "dcn_predict", "jax", "float32").measurements[0]
    row = pick(tax, workload="dcn_predict", **names)
    assert row["median"] == measured.native.ratio.median
    [peer] = charts.peer_ratios(run)
    assert peer.title == "Against keras-rs"
    row = pick(peer, workload="dcn_predict", **names)
    assert row["median"] == measured.peers["keras-rs"].ratio.median
    assert "{'rule': 1.0}" in str(tax.specification)


def test_compile_time_below_the_axis_is_drawn_at_its_end(run):
    cells = [
        c.model_copy(
            update={
                "measurements": [
                    m.model_copy(update={"compile_seconds": -0.2})
                    for m in c.measurements
                ]
            }
        )
        for c in run.cells
    ]
    chart = resources.compile_time(run.model_copy(update={"cells": cells}))
    assert {row["shown"] for row in rows(chart)} == {1e-3}
    assert {row["seconds"] for row in rows(chart)} == {-0.2}


def test_peak_memory_leaves_out_failed_cells(run):
    got = resources.memory(run)
    assert [len(rows(chart)) for chart in got] == [6, 6, 5]
    row = pick(got[0], backend="jax", precision="float32")
    want = cell(run, "dcn_train", "jax", "float32").peak_memory_bytes
    assert row["size"] == want / 2**20


def test_nothing_measured_makes_no_chart(run):
    cells = [c.model_copy(update={"status": "wrong"}) for c in run.cells]
    wrong = run.model_copy(update={"cells": cells})
    assert charts.throughput(wrong) == []
    assert resources.memory(wrong) == []
    assert charts.peer_ratios(wrong) == []
    assert charts.share_of_limit(wrong) == []
    assert resources.energy(wrong) == []
    assert scaling.batch_sizes(wrong) == []
    assert scaling.total_time(wrong) == []
    assert rounds.samples(wrong) == []
    assert charts.mixed_precision(wrong) is None
    assert charts.portability_tax(wrong) is None
    assert resources.compile_time(wrong) is None


def test_share_of_limit_is_shortest_over_measured_time(full, run):
    got = charts.share_of_limit(full)
    assert [chart.title for chart in got] == [
        "dcn_train, batch 256",
        "dcn_train, batch 1024",
        "dcn_train, batch 4096",
        "cnn.py:build train, batch 32",
    ]
    first = full.cells[0]
    measurement = first.measurements[0]
    cost, limits = measurement.cost, first.limits
    shortest = max(
        cost.operations / limits.operations_per_second,
        cost.bytes / limits.bytes_per_second,
    )
    row = pick(got[0], backend="jax", precision="float32")
    seconds = measurement.timing.seconds
    for name, time in (
        ("median", seconds.median),
        ("low", seconds.high),
        ("high", seconds.low),
    ):
        assert row[name] == pytest.approx(100 * shortest / time)
    assert "{'rule': 100.0}" in str(got[0].specification)
    assert charts.share_of_limit(run) == []


def test_energy_is_joules_for_a_thousand_units(full, run):
    got = resources.energy(full)
    assert len(got) == 5
    measurement = full.cells[0].measurements[0]
    row = pick(got[0], backend="jax", precision="float32")
    assert row["size"] == pytest.approx(measurement.joules / 256 * 1000)
    assert "J per 1,000 examples" in str(got[0].specification)
    assert resources.energy(run) == []


def test_device_memory_is_a_chart_of_its_own(full):
    got = {chart.title: chart for chart in resources.memory(full)}
    chart = got["cnn.py:build train, accelerator"]
    row = pick(chart, backend="jax", precision="float32")
    [cell] = [
        c
        for c in full.cells
        if c.key == ("cnn.py:build train", "jax", "float32", "xla")
    ]
    assert row["size"] == cell.peak_device_bytes / 2**20
    assert "dcn_train, accelerator" not in got


def test_batch_sizes_are_charted_where_there_are_several(full):
    got = scaling.batch_sizes(full)
    assert [chart.title for chart in got] == ["dcn_train", "dcn_predict"]
    row = pick(got[0], variant="torch eager float32", batch=1024)
    [cell] = [
        c
        for c in full.cells
        if c.key == ("dcn_train", "torch", "float32", "eager")
    ]
    seconds = np.median(cell.measurements[1].timing.samples)
    assert row["speed"] == pytest.approx(1024 / seconds)


def variant(run, compile_seconds: float, seconds: float):
    measurement = run.cells[0].measurements[0]
    estimate = measurement.timing.seconds.model_copy(update={"median": seconds})
    timing = measurement.timing.model_copy(update={"seconds": estimate})
    return measurement.model_copy(
        update={"compile_seconds": compile_seconds, "timing": timing}
    )


@pytest.mark.parametrize(
    ("late", "want"),
    [
        ((10.0, 0.5), 18),
        ((10.25, 0.5), 19),
        ((10.0, 1.0), math.inf),
        ((10.0, 2.0), math.inf),
        ((1.0, 2.0), math.inf),
        ((1.0, 0.5), 0),
    ],
)
def test_break_even_is_the_first_step_that_is_not_behind(run, late, want):
    first = variant(run, 1.0, 1.0)
    other = variant(run, *late)
    assert scaling.break_even(other, first) == want
    behind = [n for n in range(1, 100) if late[0] + n * late[1] > 1.0 + n * 1.0]
    assert behind == list(range(1, min(want, 100)))


def test_total_time_is_compile_time_and_steps(full):
    chart = scaling.total_time(full)[0]
    assert chart.header[1] == "break-even steps"
    texts = [line[1] for line in chart.lines]
    assert texts.count("compiles first") == 1
    assert texts[-1] == "never"
    numbers = [
        int(text.replace(",", "")) for text in texts if text[0] in "123456789"
    ]
    assert numbers == sorted(numbers)
    measurement = full.cells[0].measurements[0]
    for row in rows(chart):
        if row["variant"] == "jax xla float32":
            assert row["total"] == pytest.approx(
                measurement.compile_seconds
                + row["steps"] * np.median(measurement.timing.samples)
            )


def test_rounds_keep_their_order_and_mark_outliers(full):
    chart = rounds.samples(full)[3]
    assert chart.title == "dcn_predict, batch 256"
    got = [r for r in rows(chart) if r["variant"] == "jax xla float32"]
    got.sort(key=lambda r: r["round"])
    [cell] = [c for c in full.cells if c.key == fake.DISTURBED]
    samples = cell.measurements[0].timing.samples
    assert [r["round"] for r in got] == list(range(1, 16))
    assert [r["step"] for r in got] == pytest.approx([1e3 * s for s in samples])
    assert {3, 8, 12} <= {r["round"] for r in got if r["outlier"]}
