"""Each backend works in an environment that holds no other framework."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusion.emoji import SIZE
from diffusion.evaluate import nearest
from keras_multi import backend

# Imported by Python at its start, in child processes too. The packages look
# as if they were not installed, and there is no network.
BLOCKER = """
import socket
from importlib.machinery import PathFinder

def refuse(*arguments):
    raise OSError("there is no network")

socket.socket.connect = socket.getaddrinfo = refuse

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


def test_makes_pictures_at_once(alone, tmp_path):
    """As they were made on PyTorch, of what was asked for."""
    _, python = alone
    python(
        *("-m", "keras_multi", "diffusion", "generate", "red apple"),
        *("--batch-size", "3", "--seed", "5", "--grid"),
        *("--output", str(tmp_path / "made.png")),
    )
    made, expected, known = map(
        pixels,
        (
            tmp_path / "made.png",
            Path(__file__).with_name("red-apples.png"),
            Path(__file__).with_name("drawings.png"),
        ),
    )
    assert abs(made.astype(int) - expected).max() <= 2
    pictures = np.stack(np.split(made, 3, axis=1))
    drawings = np.stack(np.split(known, known.shape[1] // SIZE, axis=1))
    found = nearest(pictures, drawings)
    assert found.drawings.tolist() == [0, 0, 0]  # that of the red apple
    assert len(set(found.variants)) == 3
    assert found.psnr.min() > 20


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
