"""A language model goes from one backend to the others, each alone."""

import json
import os
import subprocess
import sys

import pytest

from keras_multi import backend
from tests.portability.test_alone import BLOCKER

CODE = """
import json, os, sys
from nlp import GPT2
from nlp.recipe import Recipe
from nlp.train import train

folder, text = sys.argv[1:]
if not os.path.exists(folder):
    recipe = Recipe.of(
        data=text, vocabulary_size=300, num_layers=1, num_heads=2,
        hidden_dim=16, length=32, epochs=2, learning_rate=0.02,
    )
    train(recipe, folder, progress=False)
model = GPT2.from_preset(folder + "/model")
options = ({}, {"sampler": "top_k", "seed": 1})
print(json.dumps([
    model.generate(["the", "a fox"], max_new_tokens=12, **given)
    for given in options
]))
"""


@pytest.mark.skipif(
    set(backend.available()) != set(backend.BACKENDS), reason="needs all"
)
def test_a_model_trained_on_jax_writes_the_same_everywhere(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 100)
    written = []
    for name in ("jax", "torch", "tensorflow"):
        site = tmp_path / name
        site.mkdir()
        blocked = {*backend.BACKENDS, "keras_nlp", "keras_hub"} - {name}
        (site / "sitecustomize.py").write_text(BLOCKER.format(blocked=blocked))
        path = os.pathsep.join(
            filter(None, [str(site), os.environ.get("PYTHONPATH")])
        )
        child = subprocess.run(
            [sys.executable, "-c", CODE, str(tmp_path / "run"), str(text)],
            env={**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": name},
            capture_output=True,
            text=True,
            check=False,
        )
        assert child.returncode == 0, child.stderr[-2000:]
        written.append(json.loads(child.stdout.splitlines()[-1]))
    assert written[0] == written[1] == written[2]
    assert len(set(written[0][0][1])) > 5
