"""The audio thread's work, in virtual time, with the conceal process's worker called in between."""

import gc
import os
import select
import tracemalloc

import numpy as np
import pytest

from continuo.firmware_py.box.conceal_process import ConcealWorker
from continuo.firmware_py.box.engine import Engine
from continuo.firmware_py.box.memory import BoxMemory
from continuo.firmware_py.box.probe import LatencyProbe, Route
from continuo.firmware_py.box.steering import Steering
from continuo.firmware_py.box.waker import Waker
from continuo.firmware_py.methods import METHODS
from continuo.firmware_py.net.counters import NetCounter, PeerState
from continuo.firmware_py.rt.concealer import Concealer
from continuo.firmware_py.rt.counters import AudioCounter, Command
from continuo.firmware_py.rt.playout import Playout
from continuo.firmware_py.rt.preparer import Preparer
from continuo.firmware_py.rt.rings import FLAGS, HEAD_WORDS, NUMBER
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.rt.timing import BOX_TIMING_DTYPE, Cause, Rung

SPEC = StreamSpec(48_000, 128, 2)
METHOD = METHODS["lpc"]


class Box:
    """An engine and a conceal worker on a clock of their own."""

    def __init__(self, folder, spec=SPEC, period_samples=0, **playout):
        self.spec, self.now_ns = spec, 1_000_000_000
        self.period_samples = period_samples or spec.packet_samples
        self.period_ns = round(1e9 * self.period_samples / spec.sample_rate_hz)
        self.memory = BoxMemory(folder / "memory", spec, METHOD, create=True)
        for name in ("net", "conceal"):
            os.mkfifo(folder / name)
        self.playout = Playout()
        self.playout.prepare(spec, period_samples=self.period_samples, **({"fixed_packets": 2} | playout))
        steering = Steering(spec, self.playout, self.period_samples, enabled=playout.get("resampled", False))
        self.engine = Engine(
            self.memory, spec, METHOD, self.period_samples, self.playout, steering, Waker(folder / "net"),
            Waker(folder / "conceal"), lambda: self.now_ns,
        )  # fmt: skip
        preparer = Preparer(METHOD)
        preparer.prepare(spec)
        self.worker = ConcealWorker(preparer, spec, self.memory.pulled, self.memory.slots)
        self.woken, self.times_woken = Waker(folder / "conceal"), 0
        self.captured = np.zeros((self.period_samples, spec.channels), np.float32)
        self.out = np.zeros_like(self.captured)

    def hear(self, number, samples, recovered=False):
        self.memory.from_net.push(number, self.now_ns, recovered, samples)

    def period(self, captured=None, xrun=False, conceal=True):
        if captured is not None:
            self.captured[:] = captured
        self.engine.period(self.captured, self.out, xrun)
        if conceal and select.select([self.woken], [], [], 0)[0]:
            self.woken.drain()
            self.times_woken += 1
            self.worker.work()
        self.now_ns += self.period_ns
        return self.out.copy()

    def rows(self):
        self.engine.finish()
        rows = np.zeros(16_384, BOX_TIMING_DTYPE)
        return rows[: self.memory.timing.drain(rows)]

    def count(self, *names):
        return tuple(int(self.memory.audio[AudioCounter[name]]) for name in names)


@pytest.fixture
def box(tmp_path):
    return lambda spec=SPEC, **options: Box(tmp_path, spec, **options)


def music(spec, count, seed=0):
    rng, t = np.random.default_rng(seed), np.arange(count * spec.packet_samples)[:, np.newaxis]
    tones = 0.3 * np.sin(0.05 * t * [1.0, 1.5][: spec.channels]) + rng.normal(0, 1e-3, (len(t), spec.channels))
    return tones.astype(np.float32).reshape(count, spec.packet_samples, spec.channels)


def losses(count, seed=1, most=1.0):
    rng, lost = np.random.default_rng(seed), np.zeros(count, bool)
    for n in range(1, count):
        lost[n] = rng.random() < (0.6 if lost[n - 1] else 0.1 * most)
    lost[count // 2 : count // 2 + (40 if count < 300 else 30)] = True
    return lost


def play(box, packets, lost, **options):
    """Send the packets in time; return everything that is played."""
    out = []
    for number, packet in enumerate(packets):
        if not lost[number]:
            box.hear(number, packet)
        out.append(box.period(**options))
    return np.concatenate(out)


def recorded(memory, spec):
    head, samples, out = np.zeros(HEAD_WORDS, np.int64), np.zeros((spec.packet_samples, spec.channels), np.float32), []
    while memory.record_played.pop(head, samples):
        out.append((int(head[NUMBER]), int(head[FLAGS]), samples.copy()))
    return out


@pytest.mark.parametrize("packet_samples", [64, 512])
def test_plays_what_the_simulator_plays(box, packet_samples):
    spec = StreamSpec(44_100, packet_samples, 2)
    packets, lost = music(spec, 400), losses(400)
    lost[-10:] = False
    made = box(spec)
    out = play(made, packets, lost)
    concealer = Concealer(METHOD)
    concealer.prepare(spec)
    expected = np.concatenate(
        [concealer.process(None if lost[n] else packet).copy() for n, packet in enumerate(packets)]
    )
    start = int(np.flatnonzero(np.any(out != 0, axis=1))[0]) - int(np.flatnonzero(np.any(expected != 0, axis=1))[0])
    assert 0 < start <= 4 * packet_samples
    np.testing.assert_array_equal(out[:start], 0)
    np.testing.assert_array_equal(out[start:], expected[: len(expected) - start])
    assert made.count("DEADLINE_MISSES", "INSERTED", "DROPPED", "LATE") == (0, 0, 0, 0)
    rows = made.rows()
    np.testing.assert_array_equal(rows["sequence"], np.arange(len(rows)))
    np.testing.assert_array_equal(rows["lost"], lost[: len(rows)])
    np.testing.assert_array_equal(rows["cause"], np.where(lost[: len(rows)], Cause.NETWORK_LOST, Cause.NONE))
    assert set(rows["rung"][rows["lost"] != 0]) <= {Rung.LPC, Rung.FADE}
    assert made.count("CONCEALED")[0] == rows["lost"].sum() == made.count("RUNG_LPC")[0] + made.count("RUNG_FADE")[0]


@pytest.mark.parametrize("period_samples", [48, 100, 128, 480, 1000])
def test_periods_need_not_be_packets(box, period_samples):
    """Captured samples leave in packets, packets are played in periods, none is lost or moved.

    Packets that come several at once may begin one too deep, which is put right after half a second.
    """
    made = box(period_samples=period_samples, fixed_packets=12)
    packets = music(SPEC, 600)
    whole = packets.reshape(-1, 2)
    sent, out, number = [], [], 0
    head, block = np.zeros(HEAD_WORDS, np.int64), np.zeros((128, 2), np.float32)
    for index in range(600 * 128 // period_samples):
        out.append(made.period(whole[index * period_samples : (index + 1) * period_samples]))
        while made.memory.to_net.pop(head, block):
            assert head[NUMBER] == len(sent)
            sent.append(block.copy())
            made.hear(number, block)
            number += 1
    np.testing.assert_array_equal(np.concatenate(sent), whole[: 128 * len(sent)])
    out = np.concatenate(out)
    start = int(np.flatnonzero(np.any(out != 0, axis=1))[0])
    assert start < 20 * 128 + 2 * period_samples
    played = out[start : start + 180 * 128]
    np.testing.assert_array_equal(played, whole[: len(played)])
    assert made.count("CONCEALED", "CAPTURE_DROPPED") == (0, 0)


def test_late_is_told_from_lost_and_from_stopped(box):
    made, packets = box(), music(SPEC, 420)
    for number, packet in enumerate(packets):
        if number == 110:
            made.hear(100, packets[100])
        if number not in {50, 100} and number < 200:
            made.hear(number, packet)
        made.period()
    rows = made.rows()
    causes = {int(row["sequence"]): Cause(int(row["cause"])) for row in rows if row["cause"]}
    assert causes.pop(50) == Cause.NETWORK_LOST
    assert causes.pop(100) == Cause.NETWORK_LATE
    late = rows[rows["sequence"] == 100][0]
    assert 6 * made.period_ns < late["late_by_ns"] < 11 * made.period_ns
    assert late["lost"] == 1
    assert set(causes.values()) == {Cause.PEER_STOPPED}
    assert min(causes) == 200
    assert made.count("LATE") == (1,)
    assert not made.out.any()


def test_the_conceal_process_is_left_alone_while_packets_are_in_time(box):
    made, packets = box(), music(SPEC, 200)
    lost = np.zeros(200, bool)
    play(made, packets[:100], lost)
    before = made.times_woken
    for number in range(100, 180):
        made.hear(number, packets[number])
        made.period()
    assert made.times_woken - before == 10
    assert len(made.memory.pulled) < 8


def test_a_miss_is_the_machines_fault(box):
    made, packets = box(), music(SPEC, 100)
    lost = np.zeros(100, bool)
    lost[60:62] = True
    play(made, packets, lost, conceal=False)
    rows = made.rows()
    assert list(rows["cause"][60:62]) == [Cause.CPU_DEADLINE] * 2
    assert list(rows["deadline_missed"][59:63]) == [0, 1, 1, 0]
    assert list(rows["rung"][60:62]) == [Rung.REPEAT] * 2
    assert made.count("DEADLINE_MISSES", "CONCEALED", "RUNG_REPEAT") == (2, 2, 2)


def test_an_xrun_is_the_devices_fault(box):
    made, packets = box(), music(SPEC, 60)
    for number, packet in enumerate(packets):
        made.hear(number, packet)
        made.period(xrun=number == 40)
    rows = made.rows()
    assert rows["xrun"].sum() == 1
    assert list(rows["cause"][rows["xrun"] != 0]) == [Cause.DEVICE_XRUN]


def test_tightness_follows_control(box):
    made, packets = box(fixed_packets=-1, tightness=0.0), music(SPEC, 1200)
    for number, packet in enumerate(packets):
        made.hear(number, packet)
        made.period()
        if number == 600:
            before = made.playout.tolerance_samples
            made.memory.audio[AudioCounter.TIGHTNESS_MILLIONTHS] = 1_000_000
    assert made.playout.tolerance_samples < before
    assert made.count("TOLERANCE_SAMPLES")[0] == made.playout.tolerance_samples
    assert made.count("LOST_NETWORK", "LATE") == (0, 0)
    rows = made.rows()
    assert set(rows["cause"]) <= {Cause.NONE, Cause.INSERTED}


def test_goodbye_stops_at_once_and_a_new_stream_begins(box):
    made, packets = box(), music(SPEC, 100)
    play(made, packets, np.zeros(100, bool))
    made.memory.net[NetCounter.PEER_STATE] = PeerState.GONE
    for _ in range(10):
        made.period()
    assert not made.out.any()
    concealed = made.count("CONCEALED")
    made.memory.net[NetCounter.PEER_STATE] = PeerState.PLAYING
    for number, packet in enumerate(packets, 2000):
        made.hear(number, packet)
        made.period()
    np.testing.assert_array_equal(made.out, packets[-3 if (made.out == packets[-3]).all() else -4])
    assert made.count("CONCEALED") == concealed


def test_stop_fades_both_ways(box):
    made, packets = box(), music(SPEC, 130)
    play(made, packets[:100], np.zeros(100, bool))
    made.memory.audio[AudioCounter.COMMAND] = Command.STOP
    out, loud = [], np.full((128, 2), 0.5, np.float32)
    for number in range(100, 130):
        made.hear(number, packets[number])
        out.append(made.period(captured=loud))
    assert made.engine.faded_out
    assert not np.any(out[-1])
    assert not made.captured.any()
    assert np.abs(np.diff(np.concatenate(out), axis=0)).max() < 0.1


@pytest.mark.parametrize("resampled", [False, True])
def test_nothing_is_allocated(box, resampled):
    made, packets = box(resampled=resampled), music(SPEC, 200)
    lost = losses(200)
    play(made, packets, lost)
    numbers = iter(range(200, 100_000))

    def periods(count, peak=0):
        for _ in range(count):
            number = next(numbers)
            if not lost[number % 200]:
                made.hear(number, packets[number % 200])
            start, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            made.engine.period(made.captured, made.out, False)
            peak = max(peak, tracemalloc.get_traced_memory()[1] - start)
            made.worker.work()
            made.now_ns += made.period_ns
        return peak

    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        periods(300)
        before, _ = tracemalloc.get_traced_memory()
        peak = periods(2000)
        growth = tracemalloc.get_traced_memory()[0] - before
        blocks = tracemalloc.take_snapshot().filter_traces([tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)])
        assert sum(trace.size for trace in blocks.traces) == 0
    finally:
        tracemalloc.stop()
        gc.enable()
    assert growth < 2048
    assert peak < 2048  # Python's own objects; a packet has 1024 bytes


@pytest.mark.parametrize("loss", [0.0, 1.0])
def test_concealment_adds_no_latency(box, loss):
    """A click comes out as long after it came in, losses or not."""
    made, packets, lost = box(), np.zeros((200, 128, 2), np.float32), losses(200, most=loss)
    lost[90:] &= loss > 0
    lost[[0, 149, 150, 151]] = False
    packets[150, 77] = 0.9
    out = play(made, packets, lost & (loss > 0))
    assert int(np.argmax(out[:, 0])) == (150 + 2 + 1) * 128 + 77  # two packets wait, and the one that is pulled


def test_latency_is_measured_by_a_click(box):
    """Device: a cable three periods long. Network: a peer that sends back what it hears."""
    made = box(fixed_packets=2)
    made.engine.probe = probe = LatencyProbe(8000, clicks=3)
    cable = [np.zeros((128, 2), np.float32) for _ in range(3)]
    head, block = np.zeros(HEAD_WORDS, np.int64), np.zeros((128, 2), np.float32)
    while not probe.done:
        cable.append(made.period(cable.pop(0)))
        while made.memory.to_net.pop(head, block):
            made.hear(int(head[NUMBER]), block)
    np.testing.assert_array_equal(probe.results[Route.DEVICE], 3 * 128)
    np.testing.assert_array_equal(probe.results[Route.NETWORK], (1 + 2 + 1) * 128)


def test_a_click_that_does_not_come_back(box):
    made = box()
    made.engine.probe = probe = LatencyProbe(8000, clicks=2)
    while not probe.done:
        made.period(np.full((128, 2), 1e-3, np.float32))
    assert (probe.results == -1).all()
