import csv
import io
import math

import numpy as np
import pytest

from benchmarks import cli, export, runner
from benchmarks import plan as planning
from benchmarks.results import Cell
from tests.benchmarks import fake


def rows(run) -> list[dict]:
    return list(csv.DictReader(io.StringIO(export.csv(run))))


def only(run, **names):
    """The run with the cells that have these names."""
    cells = [
        cell
        for cell in run.cells
        if all(getattr(cell, name) in value for name, value in names.items())
    ]
    return run.model_copy(update={"cells": cells})


def test_csv_has_every_measurement_and_every_cell_without_figures():
    run = fake.full()
    got = rows(run)
    measured = [
        (cell, measurement)
        for cell in run.cells
        if cell.status == "ok"
        for measurement in cell.measurements
    ]
    assert len(got) == len(measured) + 2
    ok = [row for row in got if row["status"] == "ok"]
    for row, (cell, measurement) in zip(ok, measured, strict=True):
        assert (row["workload"], row["mode"]) == (cell.workload, cell.mode)
        samples = measurement.timing.samples
        assert float(row["seconds"]) == np.median(samples)
        assert int(row["samples"]) == len(samples)
        share = cell.share_of_limit(measurement)
        assert row["share_of_limit"] == ("" if share is None else str(share))
        if measurement.native:
            ratios = np.divide(samples, measurement.native.timing.samples)
            assert float(row["native"]) == pytest.approx(np.median(ratios))
        else:
            assert row["native"] == row["native_low"] == ""
    wrong = [row for row in got if row["status"] == "wrong"]
    assert [row["seconds"] for row in wrong] == [""]
    assert "more than 5e-02" in wrong[0]["reason"]


def test_csv_quotes_what_it_must():
    reason = 'a, "b"\nc; d'
    [row] = [row for row in rows(fake.run(reason=reason)) if row["reason"]]
    assert row["reason"] == reason


def test_csv_of_an_empty_run_is_its_header():
    empty = fake.run().model_copy(update={"cells": []})
    assert export.csv(empty).count("\n") == 1


def test_headline_of_one_workload():
    run = only(fake.run(), workload=["dcn_movielens"], precision=["float32"])
    seconds = {
        cell.backend: np.median(cell.measurements[0].timing.samples)
        for cell in run.cells
    }
    torch, tensorflow = (
        seconds[name] / seconds["jax"] for name in ("torch", "tensorflow")
    )
    assert tensorflow < torch
    assert export.headline(run) == (
        f"dcn_movielens: jax {tensorflow:.1f}x tensorflow, {torch:.1f}x torch "
        "(float32)"
    )


def test_headline_of_several_workloads_is_the_geometric_mean_of_each():
    run = fake.scaled(fake.run(), "torch", 2.0)
    logarithms: dict[str, list[float]] = {}
    for ours in run.cells:
        if ours.key[1:3] != ("jax", "float32"):
            continue
        [theirs] = only(
            run,
            workload=[ours.workload],
            backend=["torch"],
            precision=["float32"],
        ).cells
        logarithms[ours.workload] = [
            math.log(np.median(b.timing.samples) / np.median(a.timing.samples))
            for a, b in zip(ours.measurements, theirs.measurements, strict=True)
        ]
    want = math.exp(np.mean([np.mean(v) for v in logarithms.values()]))
    text = export.headline(run)
    assert text.startswith("geometric mean of 3 workloads: jax 1.1x tensorflow")
    assert f", {want:.1f}x torch (float32)" in text
    assert text.endswith("; 1 failed")
    assert len(text) <= 90


def test_headline_of_several_batch_sizes():
    run = only(fake.run(), workload=["dcn_train"])
    text = export.headline(run)
    assert text.startswith("dcn_train, geometric mean of 2 batch sizes: jax ")


def test_headline_counts_what_has_no_figures():
    text = export.headline(fake.full())
    assert text.endswith("(float32); 1 failed; 1 wrong")
    assert export.headline(fake.interrupted()).endswith("; incomplete")


def test_headline_of_one_backend():
    run = only(fake.run(), backend=["jax"])
    assert export.headline(run) == "3 workloads measured on jax alone (float32)"
    alone = only(run, workload=["dcn_movielens"])
    speed = 1024 / np.median(alone.cells[0].measurements[0].timing.samples)
    text = export.headline(alone)
    assert text.startswith("dcn_movielens: jax ")
    assert text.endswith(" examples/s at batch 1024 (float32)")
    shown = float(text.split()[2].replace(",", ""))
    assert shown == pytest.approx(speed, rel=5e-3)
    several = only(run, workload=["dcn_train"])
    assert export.headline(several) == (
        "dcn_train at 2 batch sizes measured on jax alone (float32)"
    )


def test_headline_without_float32_names_its_precision():
    run = only(fake.run(), precision=["mixed_bfloat16"], workload=["dcn_train"])
    assert "(mixed_bfloat16)" in export.headline(run)


def test_headline_where_nothing_can_be_compared():
    run = fake.run()
    cells: list[Cell] = [
        cell
        for cell in run.cells
        if (cell.workload, cell.backend)
        in [("dcn_train", "jax"), ("dcn_predict", "torch")]
    ]
    apart = run.model_copy(update={"cells": cells})
    assert export.headline(apart) == "no work that jax and torch all did"
    none = run.model_copy(update={"cells": []})
    assert export.headline(none) == "no figures"


def test_a_run_leaves_its_files_and_tells_its_headline(
    tmp_path, monkeypatch, capsys
):
    whole = fake.run()

    def run(plan, tick, save, earlier):
        save([whole])
        return [whole]

    monkeypatch.setattr(runner, "run", run)
    plan = planning.make({"workloads": ["dcn_train"]})
    (made,) = cli._with_progress(plan, tmp_path, None)
    cli._tell(made, tmp_path, ("results.json",), False)
    assert {path.name for path in tmp_path.iterdir()} == {
        "results.json",
        "results.csv",
        "results.md",
        "report.html",
    }
    assert (tmp_path / "results.csv").read_text() == export.csv(whole)
    assert export.headline(whole) in capsys.readouterr().out.splitlines()
