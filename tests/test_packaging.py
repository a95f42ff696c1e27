"""The wheel holds the six packages, their templates and the preset."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = {"keras_multi", "recsys", "vision", "nlp", "diffusion", "benchmarks"}


def test_wheel_carries_the_packages(tmp_path):
    subprocess.run(
        [
            *(sys.executable, "-m", "build", "--wheel", "--no-isolation"),
            *("--outdir", str(tmp_path), str(ROOT)),
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.partition("/")[0] for name in names}
    assert {f for f in folders if not f.endswith(".dist-info")} == PACKAGES
    assert "keras_multi/py.typed" in names
    assert "benchmarks/report/templates/report.html" in names
    preset = ROOT / "diffusion" / "presets" / "emoji"
    own = {str(path.relative_to(ROOT)) for path in preset.rglob("*.*")}
    assert own <= set(names)
    assert {"README.md", "model_index.json"} <= {Path(n).name for n in own}
