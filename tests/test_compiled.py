"""Compiled programs that a later process takes."""

import os
import subprocess
import sys

from keras_multi.backend import compiled

COUNT = """
import sys
from keras_multi import backend
backend.select("jax")
backend.keep_compiled(sys.argv[1])
import jax
taken = []
jax.monitoring.register_event_listener(lambda event, **_: taken.append(event))
jax.jit(lambda x: x * 3 + 1)(2.0).block_until_ready()
print(taken.count("/jax/compilation_cache/cache_hits") > 0)
"""


def takes(folder, **environment):
    child = subprocess.run(
        [sys.executable, "-c", COUNT, str(folder)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return child.stdout.strip()


def test_a_later_process_takes_what_an_earlier_one_compiled(tmp_path):
    folder = tmp_path / "compiled"
    assert takes(folder) == "False"
    assert takes(folder) == "True"
    assert takes(folder, **compiled.NOT_KEPT) == "False"
    assert folder.stat().st_mode & 0o022 == 0


def test_nothing_is_kept_where_others_may_write(tmp_path):
    inner = compiled.kept(tmp_path)["JAX_COMPILATION_CACHE_DIR"]
    os.chmod(os.path.dirname(inner), 0o777)
    assert compiled.kept(tmp_path) == {}
    (tmp_path / "file").write_text("")
    assert compiled.kept(tmp_path / "file") == {}
