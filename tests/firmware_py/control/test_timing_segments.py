import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from continuo.firmware_py.control.row_pump import RowPump
from continuo.firmware_py.control.timing_folder import read_timing, read_timing_folder
from continuo.firmware_py.control.timing_log import TimingLogWriter, read_timing_log
from continuo.firmware_py.control.timing_segments import SegmentedTimingLog, segment_paths
from continuo.firmware_py.errors import InputError
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.rt.timing import BOX_TIMING_DTYPE, TIMING_DTYPE, TimingRing

SPEC = StreamSpec(48_000, 128, 2)


def rows_from(first, count, dtype=BOX_TIMING_DTYPE):
    rows = np.zeros(count, dtype)
    rows["sequence"] = np.arange(first, first + count)
    rows["total_ns"] = 1000 * rows["sequence"]
    return rows


def folder_bytes(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


def new_log(folder, max_bytes=1_000_000, started="2026-01-02T03:04:05+00:00", dtype=BOX_TIMING_DTYPE):
    return SegmentedTimingLog(folder, SPEC, "lpc", dtype, max_bytes, started=started)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=False).returncode:
        pytest.skip("needs the right to mount")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_segments_hold_every_row_and_each_is_a_log(tmp_path):
    log = new_log(tmp_path / "made" / "here")
    for first in range(0, 7000, 70):
        log.take(rows_from(first, 70), 0)
    log.close()
    paths = segment_paths(tmp_path / "made" / "here")
    assert [path.name for path in paths[:2]] == ["timing-000001.ctlg", "timing-000002.ctlg"]
    assert len(paths) > 3
    assert sum(len(read_timing_log(path).rows) for path in paths) == 7000
    folder = read_timing_folder(tmp_path / "made" / "here")
    assert folder.log.rows["sequence"].tolist() == list(range(7000))
    assert folder.log.meta == log.meta
    assert (folder.session, folder.sessions, log.rows_written, log.rows_lost) == (1, 1, 7000, 0)


@pytest.mark.parametrize("chunk", [1, 50, 5000])
def test_never_more_bytes_than_allowed_and_the_newest_stay(tmp_path, chunk):
    log = new_log(tmp_path, max_bytes=200_000)
    for first in range(0, 10_000, chunk):
        log.take(rows_from(first, chunk), 0)
        if first % 50 == 0:
            assert folder_bytes(tmp_path) <= 200_000
    log.close()
    kept = read_timing_folder(tmp_path).log.rows["sequence"]
    assert kept.tolist() == list(range(10_000 - len(kept), 10_000))
    assert len(kept) * BOX_TIMING_DTYPE.itemsize > 0.7 * 200_000


def test_sessions_share_the_room_and_are_told_apart(tmp_path):
    for number, started in enumerate(["a", "b", "c"]):
        log = new_log(tmp_path, started=started)
        log.take(rows_from(0, 100 * (number + 1)), 0)
        log.close()
    (tmp_path / "timing-000099.ctlg").write_bytes(b"")  # the power failed as it was begun
    (tmp_path / "notes.txt").write_text("not ours")
    for back, count in enumerate([300, 200, 100]):
        folder = read_timing_folder(tmp_path, back)
        assert len(folder.log.rows) == count
        assert (folder.session, folder.sessions) == (3 - back, 3)
        assert folder.damaged == (tmp_path / "timing-000099.ctlg",)
    with pytest.raises(InputError, match="holds 3 sessions: go back by 2 at most, not 3"):
        read_timing_folder(tmp_path, 3)
    log = new_log(tmp_path, max_bytes=50_000, started="d")
    log.take(rows_from(0, 50), 0)
    log.close()
    assert (tmp_path / "notes.txt").exists()
    assert segment_paths(tmp_path)[-1].name == "timing-000100.ctlg"
    assert sum(path.stat().st_size for path in segment_paths(tmp_path)) <= 50_000


def test_a_file_or_a_folder(tmp_path):
    log = new_log(tmp_path)
    log.take(rows_from(0, 5), 0)
    log.close()
    assert len(read_timing(tmp_path)[0].rows) == len(read_timing(segment_paths(tmp_path)[0])[0].rows) == 5
    with pytest.raises(InputError, match="is one file"):
        read_timing(segment_paths(tmp_path)[0], back=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no timing log"):
        read_timing(tmp_path / "empty")


def test_rows_dropped_from_the_ring_are_told_once(tmp_path):
    log = new_log(tmp_path)
    log.take(rows_from(0, 10), 3)
    log.take(rows_from(13, 10), 3)
    log.take(rows_from(23, 0), 5)
    log.close()
    assert read_timing_folder(tmp_path).log.dropped_rows == 5
    again = new_log(tmp_path)  # the control process was killed and came back: the ring's counter goes on
    again.take(rows_from(25, 10), 9)
    again.close()
    folder = read_timing_folder(tmp_path)
    assert folder.sessions == 1
    assert (folder.log.dropped_rows, len(folder.log.rows)) == (9, 30)


def test_a_full_disk_loses_rows_counts_them_and_is_survived(tmp_path, small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    log = new_log(small_disk / "log", max_bytes=10_000_000)
    for first in range(0, 2000, 50):
        log.take(rows_from(first, 50), 0)
    assert log.problem == "No space left on device"
    assert log.rows_lost > 0
    assert log.rows_lost + log.rows_written == 2000
    ballast.unlink()
    log.take(rows_from(2000, 50), 0)
    assert log.problem == ""
    log.close()
    read = read_timing_folder(small_disk / "log").log
    assert len(read.rows) == log.rows_written
    assert read.dropped_rows == log.rows_lost
    assert (np.diff(read.rows["sequence"]) > 0).all()
    assert (read.rows["total_ns"] == 1000 * read.rows["sequence"]).all()  # no row was torn
    assert read.rows["sequence"][-1] == 2049


def test_a_disk_that_is_full_from_the_start_leaves_nothing_behind(small_disk):
    log = new_log(small_disk / "log")
    (small_disk / "log").mkdir()
    with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    log.take(rows_from(0, 50), 0)
    assert (log.rows_lost, log.problem) == (50, "No space left on device")
    assert list((small_disk / "log").iterdir()) == []
    (small_disk / "ballast").unlink()
    log._retry_at_s = 0  # the test does not wait
    log.take(rows_from(50, 50), 0)
    log.close()
    read = read_timing_folder(small_disk / "log").log
    assert (read.rows["sequence"].tolist(), read.dropped_rows) == (list(range(50, 100)), 50)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    log = new_log(tmp_path / "file" / "log")
    log.take(rows_from(0, 5), 0)
    log.take(rows_from(5, 5), 0)
    assert log.problem == "Not a directory"
    assert log.rows_lost == 10
    log.close()


def test_the_pump_serves_every_sink_in_order_and_to_the_last_row(tmp_path):
    ring = TimingRing(64)
    log = new_log(tmp_path, dtype=TIMING_DTYPE)
    seen = []

    class Sink:
        def take(self, rows, dropped_rows):
            seen.extend(rows["sequence"].tolist())

    class Faulty:
        def take(self, rows, dropped_rows):
            raise ZeroDivisionError

    with RowPump(ring, [Faulty(), log, Sink()], period_s=0.002) as pump:
        for row in rows_from(0, 500, TIMING_DTYPE):
            while not ring.push(row):
                time.sleep(0.001)
    log.close()
    assert seen == read_timing_folder(tmp_path).log.rows["sequence"].tolist() == list(range(500))
    assert isinstance(pump.failure, ZeroDivisionError)
    assert "row-pump" not in {thread.name for thread in threading.enumerate()}


PROGRAM = """
import signal, sys, time, numpy as np
from continuo.firmware_py.control.row_pump import RowPump
from continuo.firmware_py.control.timing_segments import SegmentedTimingLog
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.rt.timing import TIMING_DTYPE, TimingRing
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ring, row = TimingRing(4096), np.zeros((), TIMING_DTYPE)
log = SegmentedTimingLog(sys.argv[1], StreamSpec(48_000), "lpc", TIMING_DTYPE, 1_000_000)
try:
    with RowPump(ring, [log], period_s=float(sys.argv[2])):
        for sequence in range(3000):
            row["sequence"] = sequence
            ring.push(row)
        while float(sys.argv[2]) < 1 and log.rows_written < 3000:
            time.sleep(0.01)
        print("pushed", flush=True)
        time.sleep(600)
finally:
    log.close()
"""


@pytest.mark.parametrize(("name", "period_s"), [("SIGTERM", 60), ("SIGKILL", 0.01)])
def test_a_writer_that_is_ended_leaves_every_row(tmp_path, name, period_s):
    command = [sys.executable, "-c", PROGRAM, tmp_path, str(period_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"pushed\n"
        os.kill(process.pid, getattr(signal, name))
    assert read_timing_folder(tmp_path).log.rows["sequence"].tolist() == list(range(3000))


def test_the_writer_of_the_simulator_writes_the_same_format(tmp_path):
    ring = TimingRing(64)
    with TimingLogWriter(tmp_path / "timing-000001.ctlg", ring, SPEC, "lpc"):
        for row in rows_from(0, 20, TIMING_DTYPE):
            ring.push(row)
    assert len(read_timing_folder(tmp_path).log.rows) == 20
