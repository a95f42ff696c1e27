import numpy as np
import pytest

from benchmarks.report import charts
from tests.benchmarks import fake


@pytest.fixture(scope="module")
def run():
    return fake.run()


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
    chart = charts.compile_time(run.model_copy(update={"cells": cells}))
    assert {row["shown"] for row in rows(chart)} == {1e-3}
    assert {row["seconds"] for row in rows(chart)} == {-0.2}


def test_peak_memory_leaves_out_failed_cells(run):
    got = charts.peak_memory(run)
    assert [len(rows(chart)) for chart in got] == [6, 6, 5]
    row = pick(got[0], backend="jax", precision="float32")
    want = cell(run, "dcn_train", "jax", "float32").peak_memory_bytes
    assert row["size"] == want / 2**20


def test_nothing_measured_makes_no_chart(run):
    cells = [c.model_copy(update={"status": "wrong"}) for c in run.cells]
    wrong = run.model_copy(update={"cells": cells})
    assert charts.throughput(wrong) == []
    assert charts.peak_memory(wrong) == []
    assert charts.peer_ratios(wrong) == []
    assert charts.mixed_precision(wrong) is None
    assert charts.portability_tax(wrong) is None
    assert charts.compile_time(wrong) is None
