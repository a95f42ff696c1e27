import json
import math
import os

import pydantic
import pytest

from benchmarks import results
from keras_multi.errors import ResultsError
from tests.benchmarks import fake


def test_round_trip(tmp_path):
    run = fake.run()
    path = tmp_path / "new" / "results.json"
    results.save(run, path)
    assert results.load(path) == run
    assert os.listdir(path.parent) == ["results.json"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_infinite_and_undefined_errors_survive(tmp_path):
    measured = fake.run().cells[0].measurements[0]
    for error in (math.nan, math.inf):
        run = fake.run()
        wrong = run.cells[0].model_copy(
            update={
                "status": "wrong",
                "measurements": [
                    measured.model_copy(update={"parity_error": error})
                ],
            }
        )
        path = tmp_path / "results.json"
        results.save(run.model_copy(update={"cells": [wrong]}), path)
        json.loads(path.read_text(), parse_constant=pytest.fail)
        got = results.load(path).cells[0].measurements[0].parity_error
        assert got == pytest.approx(error, nan_ok=True)


def test_throughput_turns_the_interval_round():
    measured = fake.run().cells[0].measurements[0]
    seconds = measured.timing.seconds
    assert measured.throughput.median == pytest.approx(256 / seconds.median)
    assert measured.throughput.low == pytest.approx(256 / seconds.high)
    assert measured.throughput.high == pytest.approx(256 / seconds.low)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "it is not JSON"),
        ("[]", "results schema None"),
        ('{"schema_version": 99}', "results schema 99, this version reads 2"),
        ('{"schema_version": 2}', "at created: Field required"),
    ],
)
def test_files_that_are_no_results(tmp_path, text, message):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ResultsError, match=message) as caught:
        results.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_truncated_file(tmp_path):
    path = tmp_path / "results.json"
    results.save(fake.run(), path)
    path.write_text(path.read_text()[:1000])
    with pytest.raises(ResultsError, match="not JSON"):
        results.load(path)


def test_binary_file(tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ResultsError, match="not JSON"):
        results.load(path)


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(ResultsError, match="No such file"):
        results.load(tmp_path / "results.json")


def test_unknown_fields_are_refused():
    content = fake.run().model_dump() | {"surprise": 1}
    with pytest.raises(pydantic.ValidationError, match="surprise"):
        results.Results.model_validate(content)


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="--output"):
        results.write_atomically(tmp_path / "file" / "results.json", "x")


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    path.write_text("old")

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ResultsError, match="No space left on device"):
        results.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["results.json"]
