import io
import math

import pytest
from rich.console import Console

from benchmarks import table
from benchmarks.results import Estimate
from tests.benchmarks import fake


def printed(results) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table.table(results))
    return console.export_text()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1.00"),
        (0.0123456, "0.0123"),
        (0.9996, "1.00"),
        (99.96, "100"),
        (1234567.0, "1,230,000"),
        (-2.5, "-2.50"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_figure(value, text):
    assert table.figure(value) == text


def test_interval_and_spread():
    estimate = Estimate(median=0.002, low=0.0019, high=0.00205)
    assert table.interval(estimate, 1e3) == "2.00 [1.90, 2.05]"
    assert table.spread(estimate, 1e3) == "2.00 ±5%"


def test_lines_are_sorted_and_complete():
    run = fake.run()
    columns, rows = table.lines(run)
    assert columns == [
        "ms per step",
        "examples per s",
        "compile s",
        "peak MiB",
        "parity error",
        "portability tax",
        "time / keras-rs",
        "notes",
    ]
    assert len(rows) == 30
    assert [row.names[0].text for row in rows] == sorted(
        row.names[0].text for row in rows
    )
    [failed] = [row for row in rows if row.status == "failed"]
    assert failed.figures == []
    assert failed.reason == "failed: killed by signal 9 (SIGKILL)"


def test_figures_are_those_of_the_cell():
    run = fake.run()
    _, rows = table.lines(run)
    [row] = [
        row
        for row in rows
        if [e.text for e in row.names]
        == ["dcn_train", "4096", "torch", "float32", "eager"]
    ]
    [cell] = [
        cell
        for cell in run.cells
        if cell.key == ("dcn_train", "torch", "float32", "eager")
    ]
    measurement = cell.measurements[1]
    median = sorted(measurement.timing.samples)[7]
    assert row.figures[0].value == median
    assert row.figures[0].text.startswith(f"{median * 1000:.1f} [")
    assert row.figures[1].value == pytest.approx(4096 / median)
    assert row.figures[3].text == f"{cell.peak_memory_bytes / 2**20:.0f}"
    assert row.figures[4].text == "2.0e-06"
    assert row.figures[5].value == measurement.native.ratio.median


def test_a_wrong_cell_shows_no_figure():
    run = fake.run()
    cells = [
        cell.model_copy(update={"status": "wrong", "reason": "error 0.25"})
        for cell in run.cells
    ]
    _, rows = table.lines(run.model_copy(update={"cells": cells}))
    assert len(rows) == len(run.cells)
    assert all(row.figures == [] for row in rows)
    assert "wrong: error 0.25" in {row.reason for row in rows}


def test_device_memory_has_a_column_where_it_was_measured():
    run = fake.run()
    cells = [
        cell.model_copy(update={"peak_device_bytes": 3 * 2**20})
        for cell in run.cells
    ]
    columns, rows = table.lines(run.model_copy(update={"cells": cells}))
    place = columns.index("device MiB")
    assert rows[0].figures[place].text == "3.00"


def test_table_shows_reasons_and_takes_no_markup():
    text = printed(fake.run(reason="[red]odd[/nonsense]"))
    assert "[red]odd" in text
    assert text.count("dcn_predict") == 12
    assert "±" in text


def test_empty_run():
    run = fake.run().model_copy(update={"cells": []})
    assert "workload" in printed(run)
    assert table.markdown(run).count("\n") == 2


def test_markdown_is_one_line_a_row_and_escaped():
    text = table.markdown(fake.run(reason="a | b\nc <d> & e"))
    lines = text.splitlines()
    assert len(lines) == 32
    assert lines[1].split(" | ")[:3] == ["| ---", "---:", "---"]
    [failed] = [line for line in lines if "failed" in line]
    assert r"failed: a \| b c &lt;d> &amp; e" in failed
    assert {line.replace(r"\|", "").count("|") for line in lines} == {14}


def test_optional_columns_show_share_energy_and_notes():
    run = fake.full()
    columns, rows = table.lines(run)
    assert columns[-3:] == ["share of limit", "J per step", "notes"]
    shown = {
        tuple(e.text for e in row.names): row.figures[-3:]
        for row in rows
        if row.figures
    }
    cell = run.cells[0]
    measurement = cell.measurements[0]
    share, joules, _ = shown["dcn_train", "256", *cell.key[1:]]
    assert share.value == pytest.approx(
        measurement.cost.operations
        / cell.limits.operations_per_second
        / measurement.timing.seconds.median
    )
    assert share.text == f"{100 * share.value:.1f} %"
    assert joules.value == measurement.joules
    name = ("dcn_train", "4096", *fake.DRIFTING[1:])
    drift = shown[name][2].text.split(",")[0]
    assert drift in {f"drift +{i} %" for i in range(10, 20)}
    disturbed = shown["dcn_predict", "256", *fake.DISTURBED[1:]]
    assert int(disturbed[2].text.split()[0]) >= 3
    assert disturbed[0].text == table.MISSING
    own = shown["cnn.py:build train", "32", "jax", "float32", "xla"]
    assert f"not judged: {fake.UNJUDGED}" in own[2].text
    assert own[1].value is None


def test_notes_count_outliers_and_leave_out_what_is_nothing():
    measurement = fake.run().cells[0].measurements[0]

    def noted(samples) -> list[str]:
        timing = measurement.timing.model_copy(update={"samples": samples})
        return table.notes(measurement.model_copy(update={"timing": timing}))

    assert noted([1.0, 1.001] * 10) == []
    assert noted([1.0, 1.001] * 10 + [2.0]) == ["1 outlier"]
    assert noted([1 + 1e-5 * i for i in range(20)]) == []
    assert noted([2.0 - 0.02 * i for i in range(21)]) == ["drift -22 %"]


def test_terminal_table_keeps_figures_whole_at_160_columns():
    text = printed(fake.full())
    assert max(map(len, text.splitlines())) <= 160
    _, rows = table.lines(fake.full())
    for row in rows:
        for entry in row.figures[:-1]:
            assert (entry.short or entry.text) in text
    assert "mixed_bfloat16" in text
    assert "tensorflow" in text
