import os
from pathlib import Path

import pytest

from continuo.firmware_py.atomic import atomic_folder, atomic_path
from continuo.firmware_py.errors import RunError


def test_the_file_appears_at_the_end_and_nothing_else_stays(tmp_path):
    target = tmp_path / "report.json"
    target.write_text("old")
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".json"
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_an_exception_leaves_the_old_file_and_no_temporary_one(tmp_path):
    target = tmp_path / "report.json"
    target.write_text("old")

    def write():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_path(tmp_path / "atomic") as temporary:
        temporary.write_text("")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with atomic_path(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_relative_name_without_a_folder_is_a_file_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with atomic_path("trace.txt") as temporary:
        temporary.write_text("0")
    assert Path("trace.txt").read_text() == "0"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("missing/out.wav", "does not exist"),
        ("", "is a folder"),
        ("pipe", "not a regular file"),
        ("loop", "loop"),
        ("a\0b", "null"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(tmp_path, name, expected):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    target = tmp_path / name
    with pytest.raises(RunError, match=expected) as caught, atomic_path(target) as temporary:
        temporary.write_text("")
    assert str(target) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_a_run_error(tmp_path):
    with pytest.raises(RunError, match="No space left"), atomic_path(tmp_path / "out.wav"):
        raise OSError(28, "No space left on device")


def test_files_of_a_folder_appear_together_and_strangers_stay(tmp_path):
    out = tmp_path / "new" / "out"
    with atomic_folder(out) as temporary:
        (temporary / "a.txt").write_text("1")
        assert not (out / "a.txt").exists()
    (out / "mine.txt").touch()
    with atomic_folder(out, owned=("a.txt", "b.txt")) as temporary:
        (temporary / "b.txt").write_text("2")
        assert (out / "a.txt").read_text() == "1"
    assert {file.name for file in out.iterdir()} == {"b.txt", "mine.txt"}


def test_an_exception_leaves_the_folder_as_it_was(tmp_path):
    def fill(out):
        with atomic_folder(out, owned=("a.txt",)) as temporary:
            (temporary / "a.txt").write_text("half")
            raise KeyboardInterrupt

    (tmp_path / "a.txt").write_text("old")
    for out in (tmp_path, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            fill(out)
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("name", ["file", "file/below", "nul\0"])
def test_a_folder_that_cannot_be_is_said_before_the_work(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write"), atomic_folder(tmp_path / name):
        pytest.fail("the block must not run")
