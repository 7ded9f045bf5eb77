"""The fields that the Trace Event Format document requires of each kind of event that we write."""

import json
from collections import defaultdict

import numpy as np
import pytest

from continuo.firmware_py.control.timing_log import TimingLog, TimingMeta
from continuo.firmware_py.control.timing_trace import chrome_trace_events, write_chrome_trace
from continuo.firmware_py.errors import InputError
from continuo.firmware_py.rt.timing import TIMING_DTYPE, Rung

META = TimingMeta(48_000, 480, 1, "lpc", "2026-01-02T03:04:05+00:00")
PACKET_NS = 10_000_000


def session(first_sequence=0):
    """Ten packets, 3 and 4 lost; 4 takes 1.5 packets and so misses its deadline."""
    rows = np.zeros(10, TIMING_DTYPE)
    rows["sequence"] = np.arange(10) + first_sequence
    rows["total_ns"] = 1000
    rows[3] = (3 + first_sequence, 1, Rung.LITE, 600_000, 3_000_000, 10_000, 3_610_000, 0, 0)
    rows[4] = (4 + first_sequence, 1, Rung.LPC, 15_000_000, 0, 10_000, 15_010_000, 0, 1)
    rows["crossfade_ns"][5] = 20_000
    rows["deadline_margin_ns"] = PACKET_NS - rows["total_ns"]
    return rows


def check_required_fields(event):
    assert isinstance(event["name"], str)
    assert isinstance(event["ph"], str)
    assert isinstance(event["pid"], int)
    assert isinstance(event["tid"], int)
    assert isinstance(event["ts"], int | float)
    assert event["ts"] >= 0
    assert isinstance(event["cat"], str)
    assert isinstance(event["args"], dict)
    if event["ph"] == "X":
        assert isinstance(event["dur"], int | float)
        assert event["dur"] > 0
    elif event["ph"] == "i":
        assert event["s"] in {"g", "p", "t"}
    elif event["ph"] == "C":
        assert event["args"]
        assert all(isinstance(value, int | float) for value in event["args"].values())
    elif event["ph"] == "M":
        key = {"process_name": "name", "thread_name": "name", "thread_sort_index": "sort_index"}[event["name"]]
        assert isinstance(event["args"][key], int if key == "sort_index" else str)
    else:
        raise AssertionError(f"unexpected phase {event['ph']}")


@pytest.mark.parametrize("meta", [META, None], ids=["log", "csv"])
def test_the_file_is_a_trace(tmp_path, meta):
    write_chrome_trace(tmp_path / "trace.json", TimingLog(meta, session()))
    document = json.loads((tmp_path / "trace.json").read_text())
    assert document["displayTimeUnit"] in {"ms", "ns"}
    for event in document["traceEvents"]:
        check_required_fields(event)
    tracks = {(event["pid"], event["tid"]) for event in document["traceEvents"] if event["ph"] == "X"}
    named = {(e["pid"], e["tid"]): e["args"]["name"] for e in document["traceEvents"] if e["name"] == "thread_name"}
    assert {named[track] for track in tracks} == {"packets", "stages"}
    assert [event["name"] for event in document["traceEvents"]].count("process_name") == 1


def test_each_packet_plays_at_its_sequence():
    packets = [e for e in chrome_trace_events(TimingLog(META, session(7))) if e["ph"] == "X" and e["cat"] == "packet"]
    assert [event["ts"] for event in packets] == [10_000.0 * sequence for sequence in range(7, 17)]
    assert {event["dur"] for event in packets} == {10_000.0}
    assert [event["name"] for event in packets][2:6] == ["received", "lite", "lpc", "received"]


def test_stages_come_before_their_deadline_in_order():
    stages = [e for e in chrome_trace_events(TimingLog(META, session())) if e["ph"] == "X" and e["cat"] == "stage"]
    assert [(e["name"], e["ts"], e["dur"]) for e in stages if e["args"]["sequence"] == 3] == [
        ("predict", 20_000.0, 600.0),
        ("refine", 20_600.0, 3000.0),
        ("crossfade", 23_600.0, 10.0),
    ]
    # 4 takes until 45.01 ms, so 5 cannot begin at 40 ms.
    assert [(e["name"], e["ts"]) for e in stages if e["args"]["sequence"] == 5] == [("crossfade", 45_010.0)]


def test_slices_of_one_track_never_overlap():
    rows = session()
    rows["predict_ns"], rows["total_ns"] = 12_000_000, 12_000_000
    rows["deadline_margin_ns"] = -2_000_000
    ends = defaultdict(float)
    for event in chrome_trace_events(TimingLog(META, rows)):
        if event["ph"] == "X":
            assert event["ts"] >= ends[event["tid"]] - 1e-6
            ends[event["tid"]] = event["ts"] + event["dur"]


def test_missed_deadlines_and_margins():
    events = list(chrome_trace_events(TimingLog(META, session())))
    assert [(e["ts"], e["args"]) for e in events if e["ph"] == "i"] == [(40_000.0, {"sequence": 4})]
    margins = [event["args"]["us"] for event in events if event["ph"] == "C"]
    assert len(margins) == 10
    assert margins[4] == -5010.0


def test_no_packet_is_an_error_and_leaves_no_file(tmp_path):
    with pytest.raises(InputError, match="no packet to export"):
        write_chrome_trace(tmp_path / "trace.json", TimingLog(META, np.zeros(0, TIMING_DTYPE)))
    assert not list(tmp_path.iterdir())
