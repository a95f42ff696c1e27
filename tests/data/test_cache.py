import errno
import json
import os
from pathlib import Path

import pytest

from keras_multi.data import default_cache_dir
from keras_multi.errors import DataError

from .conftest import ARCHIVE, NUMBERS, download, tiny


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def tamper(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def forget_a_file(path: Path) -> None:
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"files": {}}))


DAMAGES = [
    ("numbers.txt", truncate, "is truncated or changed"),
    ("numbers.txt", tamper, "is truncated or changed"),
    ("numbers.txt", Path.unlink, "cannot be read: No such file"),
    ("manifest.json", truncate, "is damaged"),
    ("manifest.json", lambda path: path.write_text("[]"), "is damaged"),
    ("manifest.json", lambda path: path.write_bytes(b"\xff"), "is damaged"),
    ("manifest.json", forget_a_file, "is damaged"),
]


@pytest.mark.parametrize(("name", "damage", "fault"), DAMAGES)
def test_a_damaged_file_is_named_and_fetched_again(
    serve, tmp_path, capfd, name, damage, fault
):
    server = serve(ARCHIVE)
    info = tiny(download(server.url))
    info.files(tmp_path, progress=False)
    path = tmp_path / "data" / "tiny" / name
    damage(path)
    capfd.readouterr()

    assert info.files(tmp_path, progress=False) == {"numbers.txt": NUMBERS}
    assert f"{path} {fault}" in capfd.readouterr().err
    assert server.requests == 2
    assert info.files(tmp_path, progress=False) == {"numbers.txt": NUMBERS}
    assert server.requests == 2


@pytest.mark.parametrize(("name", "damage", "fault"), DAMAGES)
def test_a_damaged_file_that_no_source_replaces(
    serve, tmp_path, name, damage, fault
):
    server = serve(ARCHIVE)
    info = tiny(download(server.url))
    info.files(tmp_path, progress=False)
    path = tmp_path / "data" / "tiny" / name
    damage(path)
    server.close()
    with pytest.raises(DataError, match="Cannot get") as error:
        info.files(tmp_path, progress=False)
    assert f"{path} {fault}" in str(error.value)
    assert f"{server.url}/tiny.zip: ConnectionError" in str(error.value)
    assert "\n" not in str(error.value)


def test_files_of_an_archive_that_is_not_used_any_more(serve, tmp_path):
    tiny(download(serve(ARCHIVE).url)).files(tmp_path, progress=False)
    with pytest.raises(DataError, match="does not match the known hash"):
        tiny(download(serve(ARCHIVE).url, sha="0" * 64)).files(
            tmp_path, progress=False
        )


def test_the_cache_is_not_a_folder(serve, tmp_path):
    place = tmp_path / "file"
    place.write_text("")
    info = tiny(download(serve(ARCHIVE).url))
    with pytest.raises(DataError, match=f"{place}.*Not a directory"):
        info.files(place, progress=False)


def test_the_disk_is_full(serve, tmp_path, monkeypatch):
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    info = tiny(download(serve(ARCHIVE).url))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(DataError, match=r"No space left on device. Free"):
            info.files(tmp_path, progress=False)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert info.files(tmp_path, progress=False) == {"numbers.txt": NUMBERS}


def test_default_cache_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_MULTI_CACHE", "~/here")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_cache_dir() == tmp_path / "here"
    monkeypatch.delenv("KERAS_MULTI_CACHE")
    assert default_cache_dir() == Path("/xdg/keras-multi")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_dir() == tmp_path / ".cache" / "keras-multi"
