import os
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from continuo.firmware_py.control.timing_log import TimingLogWriter, read_timing_log, write_timing_csv
from continuo.firmware_py.errors import InputError, RunError
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.rt.timing import TIMING_DTYPE, Rung, TimingRing

SPEC = StreamSpec(44_100, 512, 2)
WIDE_DTYPE = np.dtype([*TIMING_DTYPE.descr, ("arrival_ns", "<i8"), ("buffer_depth", "<f4")])


def some_rows(count, dtype=TIMING_DTYPE):
    rng = np.random.default_rng(count)
    rows = np.zeros(count, dtype)
    rows["sequence"] = np.arange(count)
    rows["lost"] = rng.random(count) < 0.3
    rows["rung"] = np.where(rows["lost"] == 1, rng.integers(1, 6, count), Rung.RECEIVED)
    for name in dtype.names[3:8]:
        rows[name] = rng.integers(0, 20_000_000, count)
    rows["deadline_margin_ns"] -= 10_000_000
    rows["deadline_missed"] = rows["deadline_margin_ns"] < 0
    for name in dtype.names[9:]:
        rows[name] = rng.integers(0, 1000, count)
    return rows


def write_log(path, rows, ring_rows=4096, **options):
    ring = TimingRing(ring_rows, rows.dtype)
    with TimingLogWriter(path, ring, SPEC, "lpc", **options) as writer:
        for index in range(len(rows)):
            ring.push(rows[index : index + 1].reshape(()))
    return writer


@pytest.mark.parametrize("dtype", [TIMING_DTYPE, WIDE_DTYPE], ids=["plain", "wide"])
@pytest.mark.parametrize("count", [0, 1, 3000])
def test_what_goes_in_comes_out(tmp_path, count, dtype):
    rows = some_rows(count, dtype)
    writer = write_log(tmp_path / "a.ctlg", rows, started="2026-01-02T03:04:05+00:00", period_s=0.001)
    assert writer.rows_written == count
    log = read_timing_log(tmp_path / "a.ctlg")
    assert log.rows.dtype == dtype
    assert log.rows.tolist() == rows.tolist()
    assert log.dropped_rows == 0
    assert log.meta == writer.meta
    assert (log.meta.sample_rate_hz, log.meta.packet_samples, log.meta.channels) == (44_100, 512, 2)
    assert (log.meta.method, log.meta.started) == ("lpc", "2026-01-02T03:04:05+00:00")
    assert log.packet_ns == pytest.approx(SPEC.packet_ns, abs=1)


def test_the_header_tells_of_dropped_rows(tmp_path):
    ring = TimingRing(4)
    rows = some_rows(10)
    with TimingLogWriter(tmp_path / "a.ctlg", ring, SPEC, "lpc", period_s=60):
        for index in range(10):
            ring.push(rows[index : index + 1].reshape(()))
    log = read_timing_log(tmp_path / "a.ctlg")
    assert log.rows.tolist() == rows[:4].tolist()
    assert log.dropped_rows == 6


def test_a_killed_writer_leaves_a_readable_file(tmp_path):
    path = tmp_path / "a.ctlg"
    program = """
import sys, time, numpy as np
from continuo.firmware_py.control.timing_log import TimingLogWriter
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.rt.timing import TIMING_DTYPE, TimingRing
ring, row = TimingRing(256), np.zeros((), TIMING_DTYPE)
with TimingLogWriter(sys.argv[1], ring, StreamSpec(44_100), "lpc", period_s=0.01) as writer:
    for sequence in range(100):
        row["sequence"] = sequence
        ring.push(row)
    while writer.rows_written < 100:
        time.sleep(0.01)
    print("written", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"written\n"
        os.kill(process.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
    assert read_timing_log(path).rows["sequence"].tolist() == list(range(100))


def test_a_partial_last_row_is_ignored(tmp_path):
    path, rows = tmp_path / "a.ctlg", some_rows(5)
    write_log(path, rows)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    assert read_timing_log(path).rows.tolist() == rows[:4].tolist()


def test_a_writer_that_cannot_open_says_so(tmp_path):
    with (
        pytest.raises(RunError, match="cannot write the timing log"),
        TimingLogWriter(tmp_path / "no" / "a.ctlg", TimingRing(4), SPEC, "lpc"),
    ):
        pass


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_raises_at_the_end_and_never_in_push():
    with pytest.raises(RunError, match=r"No space left.*free some space"):
        write_log("/dev/full", some_rows(3))


def test_a_disk_that_fills_up_later_raises_at_the_end_alone(tmp_path, monkeypatch):
    ring, rows = TimingRing(8), some_rows(3)
    writer = TimingLogWriter(tmp_path / "a.ctlg", ring, SPEC, "lpc", period_s=0.001)

    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_drain", full)
    with pytest.raises(RunError, match="No space left"), writer:
        assert ring.push(rows[:1].reshape(()))
    monkeypatch.setattr(writer, "_error", None)
    with pytest.raises(KeyError), writer:  # the block's own error is not hidden
        raise KeyError


def test_the_background_thread_drains_while_the_block_runs(tmp_path):
    ring, row = TimingRing(8), np.zeros((), TIMING_DTYPE)
    with TimingLogWriter(tmp_path / "a.ctlg", ring, SPEC, "lpc", period_s=0.001) as writer:
        for sequence in range(50):
            row["sequence"] = sequence
            while not ring.push(row):
                time.sleep(0.001)
        rows_before_end = writer.rows_written
    assert rows_before_end >= 50 - 8
    assert read_timing_log(tmp_path / "a.ctlg").rows["sequence"].tolist() == list(range(50))


@pytest.mark.parametrize("dtype", [TIMING_DTYPE, WIDE_DTYPE], ids=["plain", "wide"])
@pytest.mark.parametrize("count", [0, 1, 5000])
def test_csv_round_trip(tmp_path, count, dtype):
    rows = some_rows(count, dtype)
    write_timing_csv(tmp_path / "timing.csv", rows)
    log = read_timing_log(tmp_path / "timing.csv")
    assert log.meta is None
    assert log.rows.dtype.names == dtype.names
    assert log.rows.tolist() == rows.tolist()


def test_csv_text(tmp_path):
    rows = np.zeros(2, TIMING_DTYPE)
    rows[1] = (1, 1, Rung.LITE, 2, 3, 4, 9, -5, 1)
    write_timing_csv(tmp_path / "timing.csv", rows)
    assert (tmp_path / "timing.csv").read_bytes() == (
        b"sequence,lost,rung,predict_ns,refine_ns,crossfade_ns,total_ns,deadline_margin_ns,deadline_missed\n"
        b"0,0,received,0,0,0,0,0,0\n1,1,lite,2,3,4,9,-5,1\n"
    )
    assert os.listdir(tmp_path) == ["timing.csv"]  # noqa: PTH208 (no temporary file is left)


def test_a_csv_that_fails_halfway_leaves_the_old_one(tmp_path):
    path = tmp_path / "timing.csv"
    path.write_text("old")

    class Failing(np.ndarray):
        def tolist(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_timing_csv(path, some_rows(3).view(Failing))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(RunError, match="cannot write"):
        write_timing_csv(tmp_path / "no" / "timing.csv", some_rows(3))


def test_a_csv_that_a_spreadsheet_saved_again(tmp_path):
    path, rows = tmp_path / "timing.csv", some_rows(20)
    write_timing_csv(path, rows)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_timing_log(path).rows.tolist() == rows.tolist()


HEADER = "sequence,lost,rung,predict_ns,refine_ns,crossfade_ns,total_ns,deadline_margin_ns,deadline_missed\n"
GOOD_JSON = (
    b'{"sample_rate_hz":44100,"packet_samples":512,"channels":1,"method":"lpc","started":"x","row":'
    + str([list(field) for field in TIMING_DTYPE.descr]).replace("'", '"').encode()
    + b"}"
)


def binary(text=GOOD_JSON, version=1, row_bytes=TIMING_DTYPE.itemsize, json_bytes=None):
    return (
        struct.pack("<4sHHIQ", b"CTLG", version, row_bytes, len(text) if json_bytes is None else json_bytes, 0) + text
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "is not there"),
        (b"", "is empty"),
        (b"RIFF....WAVE", "is not a timing log"),
        (b"\x00\xff" * 50, "is not a timing log"),
        (b"CTLG\x01", "cut off within its header"),
        (binary()[:60], "cut off within its header"),
        (binary(version=2), "log version 2, this Continuo reads 1: update"),
        (binary(json_bytes=2**32 - 1), "damaged header"),
        (binary(b"[]"), "damaged header"),
        (binary(b"not json"), "damaged header"),
        (binary(row_bytes=7), "rows of 7 bytes"),
        (binary(GOOD_JSON.replace(b"44100", b"7")), "sample_rate_hz is 7"),
        (binary(GOOD_JSON.replace(b"<i8", b"|O")), "has the type |O"),
        (binary(GOOD_JSON.replace(b"refine_ns", b"refuse_ns")), "columns are not those"),
        (b"sequence,lost\n1,2\n", "its header must begin sequence,lost,rung"),
        ((HEADER + "1,0,received,0,0\n").encode(), "line 2: 5 cells for 9 columns"),
        ((HEADER + "0,0,received,0,0,0,0,0,0\n1,0,great,0,0,0,0,0,0\n").encode(), "line 3: rung is 'great'"),
        ((HEADER + "1,0,lpc,x,0,0,0,0,0\n").encode(), "line 2: predict_ns is 'x'"),
        ((HEADER + "1,7,lpc,0,0,0,0,0,0\n").encode(), "line 2: lost is '7'"),
        ((HEADER + f"{2**70},0,lpc,0,0,0,0,0,0\n").encode(), "line 2: sequence is"),
        ((HEADER.strip() + ",depth\n1,0,lpc,0,0,0,0,0,0,deep\n").encode(), "line 2: depth is 'deep'"),
        (HEADER.encode() + b"\xff\xfe\n", "as CSV"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, content, says):
    path = tmp_path / "log"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_timing_log(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_not_a_log(tmp_path):
    with pytest.raises(InputError, match="pass a timing log"):
        read_timing_log(tmp_path)
