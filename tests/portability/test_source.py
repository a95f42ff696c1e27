"""The user's function, found in a file."""

import pytest

from keras_multi.errors import UsageError
from keras_multi.portability import source


def write(folder, code, name="mine.py"):
    path = folder / name
    path.write_text(code)
    return path


def test_finds_a_function_and_its_neighbours(tmp_path):
    write(tmp_path, "VALUE = 7\n", "neighbour_of_mine.py")
    path = write(
        tmp_path, "from neighbour_of_mine import VALUE\ndef f(): return VALUE\n"
    )
    assert source.find(f"{path}:f")() == 7


def test_a_file_of_a_package_may_import_from_it(tmp_path):
    package = tmp_path / "package_of_mine"
    package.mkdir()
    write(package, "", "__init__.py")
    write(package, "VALUE = 8\n", "other.py")
    path = write(package, "from .other import VALUE\ndef f(): return VALUE\n")
    assert source.find(f"{path}:f")() == 8


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = = 1\n", "line 1"),
        ("import no_such_module_at_all\n", "no_such_module_at_all"),
        ("raise SystemExit(0)\n", "SystemExit"),
        ("x = 1\nx / 0\n", "mine.py:2"),
        ("def g(): pass\n", "it has g"),
    ],
)
def test_what_cannot_be_imported_is_refused(tmp_path, code, words):
    path = write(tmp_path, code)
    with pytest.raises(UsageError, match=words):
        source.find(f"{path}:f")


def test_where_is_the_last_line_of_the_user(tmp_path):
    path = write(tmp_path, "import json\ndef f():\n    json.loads('{')\n")
    with pytest.raises(ValueError, match="Expecting") as caught:
        source.find(f"{path}:f")()
    assert source.line_of(caught.value, path) == (str(path), 3)
    assert source.where(caught.value, path).startswith(
        f"JSONDecodeError ({path}:3): Expecting"
    )
