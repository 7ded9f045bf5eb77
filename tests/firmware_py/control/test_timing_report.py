import json

import numpy as np
import pytest
from rich.console import Console

from continuo.firmware_py.control.timing_log import TimingLog, TimingMeta
from continuo.firmware_py.control.timing_plot import save_timing_picture
from continuo.firmware_py.control.timing_report import (
    picture_path,
    render_report,
    rung_counts,
    stage_percentiles,
    summary,
)
from continuo.firmware_py.errors import InputError, RunError
from continuo.firmware_py.rt.timing import TIMING_DTYPE, Rung

META = TimingMeta(44_100, 512, 1, "lite-int8", "2026-01-02T03:04:05+00:00")
PACKET_NS = 11_609_977


def session(count=1000, lost_every=10, late=()):
    """Every tenth packet is lost: predict 1 µs more for each, refine on every other one."""
    rows = np.zeros(count, TIMING_DTYPE)
    rows["sequence"] = np.arange(count)
    rows["total_ns"] = 2000
    lost = np.arange(count) % lost_every == lost_every - 1 if lost_every else np.zeros(count, bool)
    rows["lost"] = lost
    rows["predict_ns"][lost] = 1000 * np.arange(1, lost.sum() + 1)
    rows["refine_ns"][np.flatnonzero(lost)[1::2]] = 3_000_000
    rows["rung"][lost] = np.where(rows["refine_ns"][lost] > 0, Rung.LITE, Rung.LPC)
    rows["total_ns"] += rows["predict_ns"] + rows["refine_ns"]
    rows["total_ns"][list(late)] = PACKET_NS + 5_000_000
    rows["deadline_margin_ns"] = PACKET_NS - rows["total_ns"]
    rows["deadline_missed"] = rows["deadline_margin_ns"] < 0
    return rows


def printed(log, width=80):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(render_report(log))
    return capture.get()


def test_percentiles_are_over_the_rows_where_the_stage_ran():
    stages = stage_percentiles(session())
    assert stages["predict_us"]["count"] == 100
    assert stages["predict_us"]["p50"] == pytest.approx(50.5)
    assert stages["predict_us"]["p90"] == pytest.approx(90.1)
    assert stages["predict_us"]["p99"] == pytest.approx(99.01)
    assert stages["predict_us"]["p999"] == pytest.approx(99.901)
    assert stages["predict_us"]["max"] == 100.0
    assert stages["refine_us"]["count"] == 50
    assert stages["refine_us"]["p50"] == stages["refine_us"]["max"] == 3000.0
    assert stages["total_us"]["count"] == 1000
    assert stages["total_us"]["p50"] == 2.0


def test_a_margin_has_its_tail_at_the_low_end():
    margin = stage_percentiles(session(late=[500]))["deadline_margin_us"]
    assert margin["min"] == -5000.0
    assert margin["min"] < margin["p001"] < margin["p01"] < margin["p10"] < margin["p50"] <= margin["max"]


def test_a_stage_that_never_ran_has_no_figures():
    stages = stage_percentiles(session(lost_every=0))
    assert stages["predict_us"] == {"p50": None, "p90": None, "p99": None, "p999": None, "max": None, "count": 0}
    assert stage_percentiles(np.zeros(0, TIMING_DTYPE))["total_us"]["p50"] is None


def test_rung_counts_name_every_rung():
    assert rung_counts(session()) == {"received": 900, "fade": 0, "repeat": 0, "lpc": 50, "lite": 50, "full": 0}


def test_summary_is_json_and_counts():
    facts = summary(TimingLog(META, session(late=[3, 9]), dropped_rows=4))
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert {key: facts[key] for key in ("packets", "lost", "loss_rate", "deadline_misses", "dropped_rows")} == {
        "packets": 1000, "lost": 100, "loss_rate": 0.1, "deadline_misses": 2, "dropped_rows": 4,
    }  # fmt: skip
    assert (facts["sample_rate_hz"], facts["method"]) == (44_100, "lite-int8")
    assert facts["packet_us"] == pytest.approx(11_609.977)


def test_a_csv_tells_its_deadline_by_its_rows():
    facts = summary(TimingLog(None, session()))
    assert facts["packet_us"] == pytest.approx(11_609.977)
    assert facts["method"] is None


@pytest.mark.parametrize("width", [80, 120])
def test_the_printed_report(width):
    text = printed(TimingLog(META, session(late=[3]), dropped_rows=7), width)
    for words in ("lite-int8, 512 samples at 44100 Hz", "11.610 ms", "100 (10.00%)", "rows dropped", "lpc 50"):
        assert words in text
    assert max(map(len, text.splitlines())) <= width
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert lines["predict"][1:] == ["100", "50.5", "90.1", "99.0", "99.9", "100.0"]
    assert lines["late"][1] == "1"


def test_histogram_counts_every_packet_once_and_bars_keep_proportion():
    text = printed(TimingLog(META, session(late=[3, 9, 19])))
    rows = [line for line in text.splitlines() if "%  " in line or line.strip().startswith("late")]
    cells = [line.replace("<= ", "").replace(" ms", "").split() for line in rows]
    counts = [int(cell.replace(",", "")) for line in cells for cell in line if cell.replace(",", "").isdigit()]
    assert sum(counts) == 1000
    bars = [cell for line in cells for cell in line if cell.startswith("█")]
    assert {len(bar) for bar in bars if set(bar) == {"█"}} == {17}  # no bar is cut off at 80 columns


def test_an_empty_log_prints_its_counts():
    text = printed(TimingLog(META, np.zeros(0, TIMING_DTYPE)))
    assert "packets" in text
    assert "none" in text


def odd_sessions():
    silent = session(lost_every=0)
    silent["total_ns"] = 0
    all_lost = session(lost_every=1)
    one = session(1, lost_every=1)
    unknown_rung = session()
    unknown_rung["rung"][9] = 200
    return {
        "usual": session(late=[3, 9]),
        "long": session(30_000),
        "no time at all": silent,
        "all lost": all_lost,
        "one packet": one,
        "unknown rung": unknown_rung,
    }


@pytest.mark.parametrize("name", odd_sessions())
@pytest.mark.parametrize("meta", [META, None], ids=["log", "csv"])
def test_pictures_of_odd_sessions(tmp_path, name, meta):
    pytest.importorskip("matplotlib")
    log = TimingLog(meta, odd_sessions()[name])
    assert printed(log)
    save_timing_picture(log, tmp_path / "new" / "timing.png")
    assert (tmp_path / "new" / "timing.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_that_cannot_be(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(InputError, match="no packet to draw"):
        save_timing_picture(TimingLog(META, np.zeros(0, TIMING_DTYPE)), tmp_path / "a.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        save_timing_picture(TimingLog(META, session()), tmp_path / "file" / "a.png")


def test_where_the_picture_goes(tmp_path):
    assert picture_path(tmp_path) == tmp_path / "timing.png"
    assert picture_path(tmp_path / "new") == tmp_path / "new" / "timing.png"
    assert picture_path(tmp_path / "a.svg") == tmp_path / "a.svg"
    with pytest.raises(InputError, match=r"end it in \.png"):
        picture_path(tmp_path / "a.wav")
