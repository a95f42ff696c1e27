"""The validation, with comparisons that are made up."""

import pytest

from benchmarks import validate
from keras_multi.errors import ResultsError, UsageError


@pytest.fixture
def measured(monkeypatch):
    """Calls of `measure`; the third breaks off, the seventh misses."""
    calls = []

    def measure(kind, name, copy):
        calls.append((kind, name))
        if len(calls) == 3:
            raise KeyboardInterrupt
        assert (copy / "benchmarks" / "worker.py").is_file()
        return validate.Comparison(
            kind=kind,
            backend=name,
            commit="c",
            ratio=1.0,
            p_value=0.5,
            verdict="same" if len(calls) == 7 else kind,
            seconds=30.0,
        )

    monkeypatch.setattr(validate, "measure", measure)
    monkeypatch.setattr(validate, "COMPARISONS", 3)
    monkeypatch.setattr(validate.checkout, "commit", lambda folder: "c")
    return calls


def test_goes_on_and_tells_both_shares(tmp_path, measured, capsys):
    path = tmp_path / "new" / "validate.jsonl"
    with pytest.raises(KeyboardInterrupt):
        validate.main(path)
    assert validate.main(path) == 1
    kinds = [kind for kind, _ in measured]
    assert kinds == ["same", "slower", "same"] + ["same", "slower"] * 2
    told = capsys.readouterr().out
    assert "same code: 0 of 3 called different (0.0%" in told
    assert "10% slower: 2 of 3 called slower (66.7%" in told
    assert validate.main(path) == 1
    assert len(measured) == 7


def test_refuses_other_files_and_other_commits(tmp_path, measured, monkeypatch):
    path = tmp_path / "validate.jsonl"
    path.write_text("{}\n")
    with pytest.raises(ResultsError, match="something else"):
        validate.load(path)
    path.write_text(
        validate.measure(
            "same", "jax", validate.checkout.HERE
        ).model_dump_json()
    )
    assert len(validate.load(path)) == 1
    monkeypatch.setattr(validate.checkout, "commit", lambda folder: "d")
    with pytest.raises(UsageError, match="another commit than d"):
        validate.load(path)
