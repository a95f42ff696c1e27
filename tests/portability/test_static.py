"""Constructs that tie source code to one framework, found by reading it."""

from pathlib import Path
from textwrap import dedent

import pytest

from keras_multi.errors import UsageError
from keras_multi.portability import static

ROOT = Path(__file__).parents[2]


def found(tmp_path, code, name="model.py"):
    path = tmp_path / name
    path.write_text(dedent(code))
    return [(Path(f.file).name, f.line, f.kind) for f in static.findings(path)]


def test_imports_and_uses_of_a_framework(tmp_path):
    code = """\
    import tensorflow as tf
    from torch.nn import functional as F
    def build():
        import jax.numpy as jnp
        return tf.nn.relu(jnp.ones(3)), F.relu
    def other(F):
        return F.relu
    """
    assert found(tmp_path, code) == [
        ("model.py", 1, "framework"),
        ("model.py", 2, "framework"),
        ("model.py", 4, "framework"),
        ("model.py", 5, "framework"),
        ("model.py", 5, "framework"),
        ("model.py", 5, "framework"),
    ]


def test_code_for_a_backend_that_asks_for_it_is_guarded(tmp_path):
    code = """\
    import keras
    from typing import TYPE_CHECKING
    if TYPE_CHECKING:
        import jax
    try:
        import torch
    except ImportError:
        torch = None
    if keras.backend.backend() == "torch":
        fast = torch.compile
    """
    assert [kind for *_, kind in found(tmp_path, code)] == ["guarded"] * 2


LAYER = """\
import keras
import numpy as np
from keras import layers, ops


class Mine(layers.Layer):
    def call(self, x, mask=None, training=False, steps: int = 3):
        {line}
        return x

    def helper(self, a, flag=False):
        if a.shape[0] > 2 and flag:
            a = np.sqrt(a)
        return a

    def width(self, a):
        return a.shape[-1]
"""


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("x = np.sin(x)", "numpy"),
        ("y = ops.sum(x); x = np.sqrt(y * 2)", "numpy"),
        ("x = ops.map(lambda row: np.sin(row), x)", "numpy"),
        ("if ops.mean(x) > 0: x = -x", "branch"),
        ("while ops.any(x > 1): x = x / 2", "branch"),
        ("assert ops.max(x) < 2", "branch"),
        ("x = x if x[0, 0] > 0 else -x", "branch"),
        ("x = x * float(ops.mean(x))", "branch"),
        ("x = x * bool(mask)", "branch"),
        ("x = x * ops.mean(x).item()", "host"),
        ("x = ops.sin(x.numpy())", "host"),
    ],
)
def test_what_cannot_be_traced(tmp_path, line, kind):
    assert found(tmp_path, LAYER.format(line=line)) == [("model.py", 8, kind)]


def test_functions_that_call_reaches(tmp_path):
    code = LAYER.format(line="x = self.helper(x)")
    assert found(tmp_path, code) == [("model.py", 13, "numpy")]


@pytest.mark.parametrize(
    "line",
    [
        "n = np.sqrt(x.shape[-1]); x = x / n",
        "x = x * np.sqrt(self.width(x))",
        "if mask is not None and training: x = x * mask",
        "if len(x.shape) == 3 or x.ndim > steps: x = ops.sum(x, 1)",
        "if isinstance(x, dict): x = x['a']",
        "if 'a' in x: x = x['a']",
        "if ops.shape(x)[1] > 3: x = x[:, :3]",
        "if keras.backend.standardize_dtype(x.dtype) == 'float16': pass",
        "for i, part in enumerate(ops.unstack(x)):\n            assert i < 9",
        "if any(part is None for part in [x, mask]): pass",
        "size = int(x.shape[1] ** 0.5); x = x[:, :size]",
        "x = ops.sin(x) if training else x",
        "x = x * np.arange(steps).sum() * float(self.rate)",
    ],
)
def test_what_is_known_when_traced_is_fine(tmp_path, line):
    assert found(tmp_path, LAYER.format(line=line)) == []


def test_modules_beside_the_file_are_read(tmp_path):
    (tmp_path / "blocks.py").write_text("import torch\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("from . import inner\n")
    (tmp_path / "parts" / "inner.py").write_text("import jax\n")
    (tmp_path / "unused.py").write_text("import tensorflow\n")
    code = "import blocks\nfrom parts import inner\n"
    assert found(tmp_path, code) == [
        ("blocks.py", 1, "framework"),
        ("inner.py", 1, "framework"),
    ]


@pytest.mark.parametrize(
    "path",
    [
        *sorted((ROOT / "keras_multi" / "layers").glob("*.py")),
        ROOT / "recsys" / "dcn.py",
        ROOT / "tests" / "benchmarks" / "user_models.py",
    ],
    ids=lambda path: path.stem,
)
def test_portable_code_gives_no_finding(path):
    assert static.findings(path) == []


def test_text_that_is_no_python_is_refused(tmp_path):
    with pytest.raises(UsageError, match="line 2"):
        found(tmp_path, "x = 1\ny = = 2\n")
