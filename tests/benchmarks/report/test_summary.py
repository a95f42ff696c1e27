import pytest

from benchmarks import statistics
from benchmarks.report import summary
from benchmarks.results import Timing
from tests.benchmarks import fake


def timed(results, samples: dict):
    """One workload and batch size, with the samples given per cell."""
    template = results.cells[0]
    cells = []
    for (backend, precision), values in samples.items():
        timing = Timing(
            samples=values, steps=1, seconds=statistics.median_interval(values)
        )
        measurement = template.measurements[0].model_copy(
            update={"timing": timing}
        )
        cells.append(
            template.model_copy(
                update={
                    "backend": backend,
                    "precision": precision,
                    "measurements": [measurement],
                }
            )
        )
    return results.model_copy(update={"cells": cells})


def around(median: float, half: float = 0.01) -> list[float]:
    return [median * (1 + half * (i - 5) / 5) for i in range(11)]


def test_winner_by_ratio_of_medians_of_each_backends_best_cell():
    run = timed(
        fake.run(),
        {
            ("jax", "float32"): around(2.0),
            ("torch", "float32"): around(9.0),
            ("torch", "mixed_bfloat16"): around(1.0),
            ("tensorflow", "float32"): around(3.0),
        },
    )
    sentence = summary.sentences(run)["dcn_train"]
    assert sentence.startswith(
        "At batch 256, torch (xla, mixed_bfloat16) is fastest, 2.00 times the "
        "speed of jax (xla, float32) (95 % interval "
    )
    low, high = sentence.rstrip(").").split("interval ")[1].split(" to ")
    assert 1.95 < float(low) <= 2.0 <= float(high) < 2.05


def test_overlapping_intervals_have_no_winner():
    run = timed(
        fake.run(),
        {
            ("jax", "float32"): around(1.0, 0.1),
            ("torch", "float32"): around(1.05, 0.1),
        },
    )
    assert summary.sentences(run)["dcn_train"] == (
        "At batch 256, no clear winner between jax (xla, float32) and torch "
        "(xla, float32)."
    )


def test_a_backend_alone_wins_nothing():
    run = timed(fake.run(), {("jax", "float32"): around(1.0)})
    assert summary.sentences(run)["dcn_train"] == (
        "At batch 256, only jax (xla, float32) gave a figure."
    )


@pytest.mark.parametrize("status", ["failed", "wrong"])
def test_cells_that_are_not_ok_take_no_part(status):
    run = fake.run()
    cells = [c.model_copy(update={"status": status}) for c in run.cells]
    got = summary.sentences(run.model_copy(update={"cells": cells}))
    assert set(got) == set(fake.WORKLOADS)
    assert set(got.values()) == {"No cell gave a figure."}


def test_one_clause_per_batch_size():
    got = summary.sentences(fake.run())
    assert list(got) == list(fake.WORKLOADS)
    assert "; at batch 4096, " in got["dcn_predict"]
