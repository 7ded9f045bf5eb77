import json

import numpy as np
import pytest

from continuo.firmware_py.control.config import load_box_config
from continuo.firmware_py.control.deadline import DEADLINE_EDGES
from continuo.firmware_py.control.status import SessionFacts, State, dbfs
from continuo.firmware_py.control.status_collector import StatusCollector
from continuo.firmware_py.control.status_line import status_line
from continuo.firmware_py.errors import InputError
from continuo.firmware_py.net.counters import NetCounter, PeerState
from continuo.firmware_py.rt.counters import AudioCounter, Command
from continuo.firmware_py.rt.timing import TIMING_DTYPE, Rung


def test_facts_of_a_configuration():
    overrides = {"net.insecure": True, "net.peer_host": "studio", "stream.channels": 2}
    facts = SessionFacts.of(load_box_config(None, overrides)[0])
    assert (facts.peer, facts.wire, facts.channels, facts.method) == ("studio:4464", "rtp", 2, "lite-int8")
    overrides = {"net.key": "A" * 40}
    facts = SessionFacts.of(load_box_config(None, overrides)[0])
    assert (facts.peer, facts.wire, facts.tightness) == ("whoever calls", "rtp, encrypted", 0.5)
    assert SessionFacts.of(load_box_config(None, overrides | {"playout.fixed_packets": 4})[0]).tightness is None


def test_counts_and_shares(box):
    box.begin()
    for _ in range(30):
        box.play(375, lost=0, late=0)
    for _ in range(5):
        box.play(375, lost=3, late=1, rung=Rung.LITE)
    snapshot = box.collector.snapshot()
    assert snapshot.state == State.PLAYING
    assert snapshot.packets["played"] == 35 * 375
    assert (snapshot.packets["lost"], snapshot.packets["late"], snapshot.packets["concealed"]) == (15, 5, 20)
    assert snapshot.rungs == {
        "received": 35 * 375 - 20, "fade": 0, "repeat": 0, "lpc": 0, "lite": 20, "full": 0,
    }  # fmt: skip
    assert 10 <= snapshot.recent_s < 12
    assert snapshot.recent["lost"] == pytest.approx(15 / (10 * 375), abs=1e-6)
    assert snapshot.recent["late"] == pytest.approx(5 / (10 * 375), abs=1e-6)
    assert 35 <= snapshot.playing_s < 40
    assert snapshot.history["lost"] == [0] * 30 + [3] * 5
    assert snapshot.history["late"] == [0] * 30 + [1] * 5
    assert json.loads(json.dumps(snapshot.as_json(), allow_nan=False))["state"] == "playing"


def test_a_lost_packet_that_comes_late_is_no_longer_lost(box):
    box.begin()
    box.play(lost=2)
    box.add(lost_network=-1, late=1)
    box.play()
    snapshot = box.collector.snapshot()
    assert (snapshot.packets["lost"], snapshot.packets["late"]) == (1, 1)
    assert snapshot.history["lost"] == [2, 0]


def test_causes_and_the_deadline_histogram_come_from_rows(box):
    assert sum(box.collector.snapshot().causes.values()) == 0
    assert box.collector.snapshot().deadline is None
    box.play(100, lost=2, late=1, share=0.3)
    box.play(7, share=1.5)
    snapshot = box.collector.snapshot()
    assert snapshot.causes["network_lost"] == 2
    assert snapshot.causes["network_late"] == 1
    outside = StatusCollector(SessionFacts("a", 48_000, 128, 2, "lpc", "rtp", "b"), box.audio, box.net).snapshot()
    assert outside.causes == snapshot.causes  # who only sees the shared memory knows them too
    assert "dropouts 2 lost, 1 late" in status_line(outside.as_json(), 300)
    assert snapshot.deadline[DEADLINE_EDGES.index(0.35)] == 100
    assert snapshot.deadline[-1] == 7
    assert sum(snapshot.deadline) == 107
    assert snapshot.deadline_used == pytest.approx(100 * 0.3 + 7 * 1.5, rel=1e-3)


def test_rows_of_the_simulator_have_no_causes(box):
    box.collector.take(np.zeros(5, TIMING_DTYPE), 0)
    assert sum(box.collector.snapshot().causes.values()) == 0


def test_levels_hold_their_peak_for_a_moment(box):
    box.audio[AudioCounter.CAPTURE_PEAK] = 500_000
    box.collector.sample()
    box.audio[AudioCounter.CAPTURE_PEAK] = 1
    assert box.collector.snapshot().levels_dbfs == {"capture": -6.0, "playback": None}
    box.ahead_ns += 10**9
    assert box.collector.snapshot().levels_dbfs["capture"] == -120.0
    assert dbfs(10**6) == 0
    assert dbfs(0) is None


def test_a_fixed_buffer_has_no_tightness(box):
    assert box.collector.snapshot().tightness == 0.5
    facts = SessionFacts("a", 48_000, 128, 1, "lpc", "rtp", "b")
    collector = StatusCollector(facts, box.audio, box.net)
    assert collector.snapshot().tightness is None
    with pytest.raises(InputError, match="the buffer is fixed"):
        collector.set_tightness(0.5)


@pytest.mark.parametrize(
    ("audio", "net", "state"),
    [
        ({}, {"PEER_STATE": PeerState.WAITING}, State.WAITING),
        ({}, {"PEER_STATE": PeerState.STOPPED}, State.PEER_STOPPED),
        ({}, {"PEER_STATE": PeerState.GONE}, State.PEER_GONE),
        ({"DEVICE_LOST": 2, "DEVICE_REOPENED": 1}, {}, State.DEVICE_LOST),
        ({"DEVICE_LOST": 2, "DEVICE_REOPENED": 2}, {}, State.PLAYING),
        ({"COMMAND": Command.STOP}, {}, State.LEAVING),
        ({"HEARTBEAT_AUDIO": 0}, {}, State.STARTING),
        ({"HEARTBEAT_AUDIO": 1}, {}, State.AUDIO_STOPPED),
    ],
)
def test_the_state(box, audio, net, state):
    box.begin()
    box.collector.sample()
    box.beats = False
    for name, value in audio.items():
        box.audio[AudioCounter[name]] = value
    for name, value in net.items():
        box.net[NetCounter[name]] = value
    assert box.collector.snapshot().state == state


def test_what_is_known_of_the_peer(box):
    snapshot = box.collector.snapshot()
    assert (snapshot.round_trip_ms, snapshot.peer_jitter_ms, snapshot.lost_by_peer) == (None, None, None)
    box.add(round_trip_ns=18_400_000, peer_jitter_ns=640_000, lost_by_peer=7, rtcp_received=1)
    box.audio[AudioCounter.DEPTH_SAMPLES_NOW] = 240
    box.audio[AudioCounter.TOLERANCE_SAMPLES] = 480
    box.audio[AudioCounter.DRIFT_PPB] = -12_345
    box.audio[AudioCounter.ROUND_TRIP_CLICK_SAMPLES] = 960
    box.audio[AudioCounter.NETWORK_CLICK_SAMPLES] = 1200
    snapshot = box.collector.snapshot()
    assert (snapshot.round_trip_ms, snapshot.peer_jitter_ms, snapshot.lost_by_peer) == (18.4, 0.64, 7)
    assert (snapshot.depth_ms, snapshot.tolerance_ms, snapshot.drift_ppm) == (5.0, 10.0, -12.345)
    assert (snapshot.latency_ms, snapshot.network_latency_ms) == (20.0, 25.0)


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({"wrong_size": 3, "peer_packet_samples": 256}, "packets of 256 samples, this box of 128"),
        ({"wrong_format": 3, "peer_sample_rate_hz": 44_100}, "another format (44100 Hz)"),
        ({"unauthenticated": 3}, "the same key at both ends"),
        ({"foreign_payload_type": 3}, "net.payload_type"),
        ({"send_failed": 1}, "net.peer_host"),
        ({"xruns_playback": 1}, "audio.periods"),
        ({"deadline_misses": 1}, "conceal.method"),
        ({"refined_slowly": 1}, "too slow for lpc now and then"),
        ({"log_dropped": 1}, "log.folder"),
    ],
)
def test_advice_while_it_happens_and_not_for_ever(box, counts, says):
    box.begin()
    assert box.collector.snapshot().advice == ()
    box.add(**counts)
    assert [says in line for line in box.collector.snapshot().advice] == [True]
    for _ in range(12):
        box.play()
    assert box.collector.snapshot().advice == ()


def test_advice_on_losses_and_notes(box):
    box.begin()
    box.play(lost=10, late=2)
    box.note = "recording stopped"
    lost, late, note = box.collector.snapshot().advice
    assert "net.redundancy" in lost
    assert "playout.tightness" in late
    assert note == "recording stopped"


@pytest.mark.parametrize("width", [20, 60, 80, 100, 200])
def test_the_line_fits(box, width):
    box.begin()
    box.play(lost=3)
    box.add(round_trip_ns=18_400_000, xruns_capture=2)
    line = status_line(box.collector.snapshot().as_json(), width)
    assert len(line) <= width
    assert line.startswith("playing")
    if width == 200:
        for part in ("lost 0.80%", "late 0.00%", "buffer 0.0 ms", "trip 18.4 ms", "xruns 2", "drift +0.0 ppm", "lpc 3"):
            assert part in line
        box.add(played=10)
        assert "in    -   out    -  " in line
