import os
import subprocess
import sys

import pytest

from continuo.firmware_py.box.place import Place, ProcessMark, is_running, mark_of
from continuo.firmware_py.box.waker import Waker
from continuo.firmware_py.errors import RunError


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path / "box.toml")
    yield made
    if made.folder.exists():
        made.remove()


def test_a_process_is_known_by_its_number_and_its_start():
    mark = mark_of(os.getpid())
    assert is_running(mark)
    assert not is_running(ProcessMark(mark.pid, mark.start_ticks + 1))
    assert not is_running(None)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child_mark = mark_of(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(child_mark)  # its remains are not it
    child.wait()
    assert mark_of(child.pid) is None


def test_one_control_process_at_a_time(place, tmp_path):
    place.lock()
    code = (
        "import sys; from pathlib import Path; from continuo.firmware_py.box.place import Place\n"
        f"Place(Path({str(tmp_path / 'box.toml')!r})).lock()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"running already (process {os.getpid()})" in done.stderr


def test_another_configuration_is_another_place(place, tmp_path):
    other = Place(tmp_path / "other.toml")
    assert other.folder != place.folder
    assert place.folder.stat().st_mode & 0o077 == 0
    other.remove()


def test_marks_of_processes_that_run(place):
    assert place.read_marks() == ("", {})
    me = mark_of(os.getpid())
    place.write_marks("abc", {"audio": me, "net": ProcessMark(2**22 - 1, 5)})
    assert place.read_marks() == ("abc", {"audio": me})
    (place.folder / "processes.json").write_text('{"fingerprint": 1, "processes": [2]}')
    assert place.read_marks() == ("", {})


def test_the_session_keeps_its_start(place):
    started = place.session_started(anew=True)
    assert place.session_started(anew=False) == started


def test_a_pipe_wakes_and_never_blocks(place):
    place.make_pipes("net")
    place.make_pipes("net")
    ends = [Waker(place.pipe("net")) for _ in range(2)]
    for _ in range(100_000):  # more than it holds
        ends[0].wake()
    ends[1].drain()
    ends[1].drain()
    ends[0].wake()
    assert os.read(ends[1].fileno(), 10) == b"\0"


def test_the_root_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("continuo.firmware_py.box.place.ROOT", tmp_path / "no" / "root")
    with pytest.raises(RunError, match="cannot be made"):
        Place(tmp_path / "box.toml")
