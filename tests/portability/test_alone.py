"""Each backend works in an environment that holds no other framework."""

import json
import os
import subprocess
import sys

import pytest

from keras_multi import backend

# Imported by Python at its start, in child processes too. The packages look
# as if they were not installed.
BLOCKER = """
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec

def find_others(name, path=None, target=None):
    if name.partition(".")[0] in {blocked!r}:
        return None
    return find_spec(name, path, target)

PathFinder.find_spec = find_others
"""


@pytest.fixture(params=backend.BACKENDS)
def alone(request, tmp_path):
    """Runs Python with one framework; the others cannot be imported."""
    others = set(backend.BACKENDS) - {request.param}
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BLOCKER.format(blocked=others))
    path = os.pathsep.join(
        filter(None, [str(site), os.environ.get("PYTHONPATH")])
    )

    def python(*arguments: str) -> str:
        child = subprocess.run(
            [sys.executable, *arguments],
            env={
                **os.environ,
                "PYTHONPATH": path,
                "KERAS_BACKEND": request.param,
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert child.returncode == 0, child.stderr[-2000:]
        return child.stdout

    return request.param, python


def test_imports_trains_and_measures(alone, tmp_path):
    name, python = alone
    code = "import keras_multi; print(*keras_multi.backend.available())"
    assert python("-c", code).split() == [name]
    python("-c", "from keras_multi.layers import FeatureCross, MLP")

    run = ["-m", "keras_multi"]
    trained = json.loads(
        python(
            *run, "recsys", "train", "--model", "dcn", "--data", "blender",
            "--epochs", "1", "--output", str(tmp_path / "run"), "--json",
        )
    )  # fmt: skip
    assert trained["backend"] == name
    assert trained["test"]["rmse"] > 0

    measured = json.loads(
        python(
            *run, "bench", "--backend", name, "--workload", "dcn_predict",
            "--precision", "float32", "--output", str(tmp_path), "--json",
        )
    )  # fmt: skip
    (cell,) = measured["cells"]
    assert cell["status"] == "ok"
    assert len(cell["measurements"]) == 1
    assert (tmp_path / "report.html").exists()
