"""Folders that hold another version of the project."""

import pytest

from benchmarks import checkout
from benchmarks.results import SCHEMA_VERSION
from keras_multi.errors import UsageError
from tests.benchmarks.fake import version


def test_a_checkout_is_told_by_its_absolute_path(tmp_path, monkeypatch):
    folder = version(tmp_path / "old", 1.0)
    monkeypatch.chdir(tmp_path)
    relative = folder.relative_to(tmp_path)
    assert checkout.check(relative) == folder
    assert checkout.commit(folder) is None
    assert checkout.commit(checkout.HERE)


def test_a_folder_without_the_project_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError, match="must be the folder of a check"):
            checkout.check(folder)


def test_the_code_that_runs_is_refused(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(checkout.HERE)
    with pytest.raises(UsageError, match="another folder"):
        checkout.check(link)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("SCHEMA_VERSION = 1\n", f"schema 1, .* reads {SCHEMA_VERSION}"),
        ("", "schema unknown"),
        (None, "schema unknown"),
    ],
)
def test_another_schema_is_refused(tmp_path, source, words):
    results = version(tmp_path, 1.0) / "benchmarks" / "results.py"
    results.unlink()
    if source is not None:
        results.write_text(source)
    with pytest.raises(UsageError, match=words):
        checkout.check(tmp_path)
