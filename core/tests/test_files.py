"""Files and folders that are replaced as a whole, or stay what they were."""

import pytest

from slmk import RunError
from slmk.files import read_json, replacing, write_json


@pytest.fixture(params=["file", "folder"])
def kind(request):
    """What is replaced: a file, or a folder with a file in it."""
    return request.param


def write(path, text, kind):
    """Write the text to a file, or to one in a folder that is made."""
    if kind == "folder":
        path.mkdir()
        path /= "a"
    path.write_text(text)


def read(path, kind):
    """The text that `write` wrote, where nothing else is in the folder."""
    if kind == "folder":
        (path,) = path.iterdir()
    return path.read_text()


def test_it_takes_the_place_at_the_end(kind, tmp_path):
    """Whoever reads meanwhile finds the former content, and nothing else is left."""
    path = tmp_path / "it"
    for former, text in ((None, "old"), ("old", "new")):
        with replacing(path) as temporary:
            write(temporary, text, kind)
            assert (read(path, kind) if path.exists() else None) == former
        assert read(path, kind) == text
    assert [each.name for each in tmp_path.iterdir()] == ["it"]


def test_after_an_error_it_is_what_it_was(kind, tmp_path):
    """An error passes on; the former content stays whole, and no rest is left."""
    path = tmp_path / "it"
    write(path, "old", kind)
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:  # noqa: PT012
        write(temporary, "new", kind)
        raise ZeroDivisionError
    assert read(path, kind) == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["it"]


@pytest.mark.parametrize("rest", ["file", "folder"])
def test_what_a_killed_process_has_left_is_removed(rest, kind, tmp_path):
    """Whatever it is that lies under the temporary name."""
    write(tmp_path / "it.tmp", "half", rest)
    with replacing(tmp_path / "it") as temporary:
        write(temporary, "new", kind)
    assert read(tmp_path / "it", kind) == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["it"]


def test_what_cannot_be_written_is_named(tmp_path):
    """Where the folder is a file: one sentence with the path, and not that of the temporary file."""
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"^cannot write .*/file/it: Not a directory$"):
        write_json(tmp_path / "file" / "it", {})


def test_json_comes_back(tmp_path):
    """As it was written."""
    write_json(tmp_path / "it", {"a": [1, None, "ä"]})
    assert read_json(tmp_path / "it") == {"a": [1, None, "ä"]}
