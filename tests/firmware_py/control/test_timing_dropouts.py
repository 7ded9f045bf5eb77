import json

import numpy as np
import pytest
from rich.console import Console

from continuo.firmware_py.control.timing_dropouts import bursts_of, dropout_facts
from continuo.firmware_py.control.timing_log import TimingLog, TimingMeta, read_timing_log, write_timing_csv
from continuo.firmware_py.control.timing_plot import save_timing_picture
from continuo.firmware_py.control.timing_report import render_report, summary
from continuo.firmware_py.rt.timing import BOX_TIMING_DTYPE, TIMING_DTYPE, Cause, Rung

META = TimingMeta(48_000, 128, 1, "lpc", "2026-01-02T03:04:05+00:00")
PACKET_NS = 2_666_667


def session(count=3000, **causes):
    """A box's rows: packets 2.667 ms apart; ``causes`` gives the packets of each cause by its name."""
    rows = np.zeros(count, BOX_TIMING_DTYPE)
    rows["sequence"] = np.arange(count)
    rows["total_ns"] = 40_000
    rows["deadline_margin_ns"] = PACKET_NS - 40_000
    rows["arrival_ns"] = 10**12 + np.arange(count) * PACKET_NS
    rows["inter_arrival_ns"] = PACKET_NS
    rows["depth_samples"] = 256
    for name, packets in causes.items():
        cause = Cause[name.upper()]
        rows["cause"][packets] = cause
        if cause in (Cause.NETWORK_LOST, Cause.NETWORK_LATE, Cause.PEER_STOPPED):
            rows["lost"][packets], rows["rung"][packets] = 1, Rung.LPC
        if cause in (Cause.NETWORK_LOST, Cause.PEER_STOPPED):
            rows["arrival_ns"][packets], rows["inter_arrival_ns"][packets] = 0, 0
        if cause == Cause.NETWORK_LATE:
            rows["late_by_ns"][packets] = 1_000_000 * np.arange(1, len(packets) + 1)
        if cause == Cause.DEVICE_XRUN:
            rows["xrun"][packets] = 1
        if cause == Cause.CPU_DEADLINE:
            rows["deadline_missed"][packets] = 1
    return TimingLog(META, rows)


ALL = {
    "network_lost": [10, 11, 12, 500],
    "network_late": [100, 200],
    "cpu_deadline": [700],
    "device_xrun": [800],
    "peer_stopped": list(range(1000, 1400)),
    "inserted": [1500],
}


def printed(log, width=80):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(render_report(log))
    return capture.get()


def test_each_cause_is_counted_in_packets_and_bursts():
    facts = dropout_facts(session(**ALL))
    assert facts["dropouts"]["network_lost"] == {"packets": 4, "bursts": 2, "longest": 3, "share": 4 / 3000}
    assert facts["dropouts"]["peer_stopped"] == {"packets": 400, "bursts": 1, "longest": 400, "share": 400 / 3000}
    assert {name: cause["packets"] for name, cause in facts["dropouts"].items()} == {
        name: len(packets) for name, packets in ALL.items()
    }
    assert facts["xruns"] == 1


def test_late_by_inter_arrival_and_depth():
    facts = dropout_facts(session(**ALL))
    assert (facts["late_by_us"]["count"], facts["late_by_us"]["p50"], facts["late_by_us"]["max"]) == (2, 1500.0, 2000.0)
    assert facts["inter_arrival_us"]["count"] == 3000 - 4 - 400
    assert facts["inter_arrival_us"]["p999"] == pytest.approx(PACKET_NS / 1000, abs=0.001)
    assert facts["depth_samples"] == {
        "min": 256, "p001": 256, "p01": 256, "p10": 256, "p50": 256, "max": 256, "count": 2600,
    }  # fmt: skip


def test_a_session_without_a_dropout():
    facts = dropout_facts(session())
    assert facts["late_by_us"] == {"p50": None, "p90": None, "p99": None, "p999": None, "max": None, "count": 0}
    assert all(cause["packets"] == cause["longest"] == 0 for cause in facts["dropouts"].values())
    assert "Most:" not in printed(session())


def test_bursts():
    begins, lengths = bursts_of(np.array([1, 0, 1, 1, 0, 1], bool))
    assert (begins.tolist(), lengths.tolist()) == ([0, 2, 5], [1, 2, 1])
    assert len(bursts_of(np.zeros(0, bool))[0]) == 0


def test_the_simulator_knows_no_causes():
    log = TimingLog(META, np.zeros(5, TIMING_DTYPE))
    assert dropout_facts(log) == {}
    assert "Where dropouts" not in printed(log)


@pytest.mark.parametrize("width", [80, 120])
def test_the_printed_report(width):
    text = printed(session(**ALL), width)
    assert max(map(len, text.splitlines())) <= width
    lines = {line.strip()[:12].strip(): line for line in text.splitlines()}
    assert lines["network lost"].split()[2:7] == ["4", "0.13%", "2", "8.0", "ms"]
    assert lines["peer stopped"].split()[2:7] == ["400", "13.33%", "1", "1,066.7", "ms"]
    assert "▅" in lines["peer stopped"] or "█" in lines["peer stopped"]
    assert lines["late by"].split()[2:] == ["2", "1.50", "1.90", "1.99", "2.00", "2.00"]
    assert lines["buffer depth"].split()[2:] == ["2,600", "5.33", "5.33", "5.33", "5.33", "5.33"]
    assert "Most: network lost, 4 packets: a cable" in text
    assert "net.redundancy" in text


@pytest.mark.parametrize(
    ("causes", "says"),
    [
        ({"network_late": [5]}, "Most: network late, 1 packet: lower playout.tightness."),
        ({"cpu_deadline": [5]}, "`continuo doctor`"),
        ({"device_xrun": [5], "inserted": [6, 7]}, "raise audio.periods"),
        ({"peer_stopped": list(range(9)), "inserted": [20]}, "Most: peer stopped, 9 packets: look at the other end"),
        ({"inserted": [20]}, "the playout buffer grew"),
    ],
)
def test_what_to_do_about_the_commonest(causes, says):
    assert says in " ".join(printed(session(**causes), 160).split())


def test_through_json_and_csv(tmp_path):
    log = session(**ALL)
    facts = summary(log)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    write_timing_csv(tmp_path / "timing.csv", log.rows)
    assert ",network_lost\n" in (tmp_path / "timing.csv").read_text()
    read = read_timing_log(tmp_path / "timing.csv")
    assert read.rows.tolist() == log.rows.tolist()
    assert dropout_facts(read) == dropout_facts(log)
    assert "network lost" in printed(read)


@pytest.mark.parametrize("causes", [ALL, {}, {"peer_stopped": list(range(3000))}], ids=["all", "none", "stopped"])
@pytest.mark.parametrize("meta", [META, None], ids=["log", "csv"])
def test_pictures(tmp_path, causes, meta):
    pytest.importorskip("matplotlib")
    log = TimingLog(meta, session(**causes).rows)
    save_timing_picture(log, tmp_path / "timing.png")
    assert (tmp_path / "timing.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_one_packet(tmp_path):
    pytest.importorskip("matplotlib")
    save_timing_picture(session(1), tmp_path / "timing.png")
