import json
import subprocess
import sys

import numpy as np
import pytest

from continuo.firmware_py.control.timing_log import TimingLogWriter, read_timing_log
from continuo.firmware_py.control.timing_segments import SegmentedTimingLog
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.rt.timing import BOX_TIMING_DTYPE, TIMING_DTYPE, Cause, TimingRing


@pytest.fixture
def log(tmp_path):
    ring = TimingRing(64)
    path = tmp_path / "session.ctlg"
    rows = np.zeros(50, TIMING_DTYPE)
    rows["sequence"] = np.arange(50)
    rows["lost"][::7], rows["rung"][::7], rows["predict_ns"][::7] = 1, 3, 500_000
    rows["total_ns"] = rows["predict_ns"] + 2000
    rows["deadline_margin_ns"] = 11_609_977 - rows["total_ns"]
    with TimingLogWriter(path, ring, StreamSpec(44_100), "lpc"):
        for index in range(50):
            ring.push(rows[index : index + 1].reshape(()))
    return path


def test_report(continuo, log):
    code, out, err = continuo("timing", "report", log)
    assert (code, err) == (0, "")
    for words in ("lost", "8 (16.00%)", "deadline misses", "predict", "p99.9", "share"):
        assert words in out


def test_report_as_json_with_a_picture(continuo, log, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, err = continuo("timing", "report", log, "--json", "--out", tmp_path / "pictures")
    facts = json.loads(out)
    assert code == 0
    assert (facts["packets"], facts["lost"], facts["rungs"]["lpc"]) == (50, 8, 8)
    assert facts["predict_us"]["p50"] == facts["predict_us"]["max"] == 500.0
    assert "timing.png" in err
    assert (tmp_path / "pictures" / "timing.png").stat().st_size > 0


def test_report_without_matplotlib_goes_on(continuo, log, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = continuo("timing", "report", log, "--out", tmp_path / "a.png")
    assert code == 0
    assert "predict" in out
    assert err == "continuo: no picture: matplotlib is not installed; pip install 'continuo-nmp[eval]'\n"


def test_export_and_read_back(continuo, log, tmp_path):
    assert continuo("timing", "export", log, "--csv", tmp_path / "timing.csv")[0] == 0
    assert read_timing_log(tmp_path / "timing.csv").rows.tolist() == read_timing_log(log).rows.tolist()
    code, out, _ = continuo("timing", "report", tmp_path / "timing.csv", "--json")
    assert code == 0
    assert json.loads(out)["lost"] == 8
    assert continuo("timing", "export", log, "--chrome-trace", tmp_path / "trace.json")[0] == 0
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["report"], 2, "Missing argument"),
        (["report", "no-such-file"], 2, "is not there"),
        (["report", "{log}", "--out", "a.wav"], 2, "not a name for a picture"),
        (["export", "{log}"], 2, "exactly one of --csv OUT.csv and --chrome-trace OUT.json"),
        (["export", "{log}", "--csv", "a.csv", "--chrome-trace", "a.json"], 2, "exactly one of"),
        (["export", "{log}", "--csv", "no-such-folder/a.csv"], 4, "cannot write"),
        (["export", "{log}", "--parquet", "a"], 2, "--parquet"),
        (["explode", "{log}"], 2, "explode"),
    ],
)
def test_wrong_input_is_one_line_and_a_code(continuo, log, arguments, code, says):
    got, out, err = continuo("timing", *(argument.format(log=log) for argument in arguments))
    assert got == code
    assert out == ""
    assert err.startswith("continuo: ")
    assert says in err
    assert err.count("\n") == 1


def test_as_a_process_without_traceback(tmp_path):
    (tmp_path / "junk").write_bytes(b"RIFF")
    program = "from continuo.firmware_py.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "timing", "report", tmp_path / "junk"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"continuo: {tmp_path / 'junk'} is not a timing log: pass one written by Continuo, or a timing.csv"
    ]


def test_the_folder_of_a_box(continuo, tmp_path):
    spec = StreamSpec(48_000, 128)
    for session in range(2):
        box = SegmentedTimingLog(tmp_path, spec, "lpc", BOX_TIMING_DTYPE, 1_000_000, started=f"session {session}")
        rows = np.zeros(100 * (session + 1), BOX_TIMING_DTYPE)
        rows["sequence"] = np.arange(len(rows))
        rows["deadline_margin_ns"] = 2_666_667
        rows["cause"][:5], rows["lost"][:5] = Cause.NETWORK_LATE, 1
        box.take(rows, 0)
        box.close()
    code, out, err = continuo("timing", "report", tmp_path)
    assert (code, err) == (0, "")
    assert "2 of 2 in the folder" in out
    assert "Most: network late, 5 packets" in out
    code, out, _ = continuo("timing", "report", tmp_path, "--back", 1, "--json")
    assert (json.loads(out)["packets"], json.loads(out)["dropouts"]["network_late"]["packets"]) == (100, 5)
    code, out, _ = continuo("timing", "export", tmp_path, "--csv", tmp_path / "timing.csv")
    assert (code, out.split()[0]) == (0, "200")
    code, out, err = continuo("timing", "report", tmp_path, "--back", 2)
    assert (code, out) == (2, "")
    assert "go back by 1 at most" in err
