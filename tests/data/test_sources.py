import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import keras_multi
from keras_multi import data
from keras_multi.data.sources import Wheel
from keras_multi.errors import DataError

from .conftest import ARCHIVE, NUMBERS, download, make_zip, sha256, tiny

CLOSED_PORT = "http://127.0.0.1:9"
WHEEL = make_zip(
    {
        "tiny_data/numbers.txt": NUMBERS,
        "tiny_data-1.0.dist-info/METADATA": (
            b"Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n"
        ),
        "tiny_data-1.0.dist-info/WHEEL": (
            b"Wheel-Version: 1.0\nGenerator: test\n"
            b"Root-Is-Purelib: true\nTag: py3-none-any\n"
        ),
        "tiny_data-1.0.dist-info/RECORD": b"",
    }
)


def files_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def wheel(sha: str = sha256(WHEEL)) -> Wheel:
    return Wheel(
        requirement="tiny-data==1.0",
        sha256=sha,
        members=("tiny_data/numbers.txt",),
    )


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder of wheels that is all pip looks at; it is empty."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_fetches_once_and_then_reads_the_cache(serve, tmp_path, capfd):
    server = serve(ARCHIVE)
    info = tiny(download(server.url))
    assert len(info.table(tmp_path, progress=True)) == 50_000
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("Licence: Free. http://127.0.0.1/") == 1
    assert "100%" in err

    assert len(info.table(tmp_path, progress=True)) == 50_000
    assert capfd.readouterr() == ("", "")
    assert server.requests == 1
    assert files_in(tmp_path) == ["manifest.json", "numbers.txt"]


def test_without_progress_only_the_licence_is_printed(serve, tmp_path, capfd):
    tiny(download(serve(ARCHIVE).url)).table(tmp_path, progress=False)
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ARCHIVE[:-1] + b"!", "does not match the known hash"),
        (ARCHIVE[:1000], "does not match the known hash"),
        (None, "404 Client Error"),
    ],
)
def test_a_bad_answer_is_refused(serve, tmp_path, content, reason):
    server = serve(content)
    info = tiny(download(server.url))
    with pytest.raises(DataError, match=reason) as error:
        info.table(tmp_path, progress=False)
    assert f"{server.url}/tiny.zip" in str(error.value)
    assert "\n" not in str(error.value)
    assert server.requests == 1
    assert files_in(tmp_path) == []


def test_the_wheel_serves_where_the_address_does_not(serve, tmp_path, index):
    (index / "tiny_data-1.0-py3-none-any.whl").write_bytes(WHEEL)
    cache = tmp_path / "cache"
    info = tiny(download(serve(None).url), wheel())
    assert info.files(cache, progress=False) == {"numbers.txt": NUMBERS}
    assert files_in(cache) == ["manifest.json", "numbers.txt"]


def test_a_wheel_with_another_checksum_is_refused(tmp_path, index):
    (index / "tiny_data-1.0-py3-none-any.whl").write_bytes(WHEEL)
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match=r"wheel tiny-data==1\.0: .*SHA-256"):
        tiny(wheel(sha="0" * 64)).files(cache, progress=False)
    assert files_in(cache) == []


def test_an_archive_put_into_the_cache_by_hand(tmp_path, index):
    info = tiny(download(CLOSED_PORT), wheel())
    folder = tmp_path / "data" / "tiny"
    with pytest.raises(DataError) as error:
        info.files(tmp_path, progress=False)
    names = "tiny.zip or tiny_data-1.0-py3-none-any.whl"
    assert str(error.value).endswith(f"or put {names} into {folder}.")

    folder.mkdir(parents=True)
    placed = folder / "tiny.zip"
    placed.write_bytes(ARCHIVE[:1000])
    with pytest.raises(DataError, match=f"delete {placed}"):
        info.files(tmp_path, progress=False)
    placed.write_bytes(ARCHIVE)
    assert info.files(tmp_path, progress=False) == {"numbers.txt": NUMBERS}


@pytest.mark.parametrize("name", ["movielens-100k", "adult"])
def test_no_network_and_no_package_index(name, tmp_path, index, monkeypatch):
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, CLOSED_PORT)
    cache = tmp_path / "cache"
    with pytest.raises(DataError) as error:
        data.load(name, cache_dir=cache, progress=False)
    message = str(error.value)
    assert "\n" not in message
    assert name in message
    assert "ProxyError" in message
    assert "pip: No matching distribution" in message
    assert str(cache / "data" / name) in message
    assert files_in(cache) == []


def test_pip_is_missing(tmp_path, index, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(DataError, match=r"wheel tiny-data.*No such file"):
        tiny(wheel()).files(tmp_path / "cache", progress=False)


def test_killed_in_mid_download(serve, tmp_path, monkeypatch):
    cache, scratch = tmp_path / "cache", tmp_path / "scratch"
    scratch.mkdir()
    root = Path(keras_multi.__file__).parents[1]
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.data.conftest import download, tiny\n"
        "tiny(download(sys.argv[1])).table(Path(sys.argv[2]), True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, serve(ARCHIVE, stall=True).url, cache],
        env=os.environ | {"PYTHONPATH": str(root), "TMPDIR": str(scratch)},
        cwd=root,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not any(p.stat().st_size for p in scratch.rglob("tmp*")):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        child.kill()
    assert child.wait() == -signal.SIGKILL
    assert files_in(cache) == []

    table = tiny(download(serve(ARCHIVE).url)).table(cache, progress=False)
    assert table["number"].tolist() == list(range(50_000))
    assert files_in(cache) == ["manifest.json", "numbers.txt"]
