"""An artifact of one backend, read by the others."""

import json
import os
import subprocess
import sys

import numpy as np

from keras_multi import backend
from recsys.recommend import recommend
from tests.recsys.two_stage_case import make


def test_other_backends_recommend_the_same(tmp_path):
    """Ten items of three users, scores within 1e-4."""
    code = (
        "import json, sys\n"
        "from recsys.recommend import recommend\n"
        "print(json.dumps([recommend(sys.argv[1], u) for u in (1, 5, 9)]))"
    )
    saved = tmp_path / "artifact"
    make().save(saved)
    mine = [recommend(saved, user) for user in (1, 5, 9)]
    for other in backend.available():
        output = subprocess.run(
            [sys.executable, "-c", code, str(saved)],
            env={
                **os.environ,
                "KERAS_BACKEND": other,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout
        theirs = json.loads(output.splitlines()[-1])
        for a, b in zip(mine, theirs, strict=True):
            assert [i["item"] for i in a] == [i["item"] for i in b]
            for key in ("score", "retrieval_score", "rank_score"):
                np.testing.assert_allclose(
                    [i[key] for i in a], [i[key] for i in b], atol=1e-4
                )
