import time
from dataclasses import replace

import numpy as np
import pytest

from continuo.firmware_py.box.conceal_process import ConcealWorker
from continuo.firmware_py.box.fan_out import FanOut
from continuo.firmware_py.box.memory import LOST, RESET, WANTED, BoxMemory
from continuo.firmware_py.methods import METHODS, NETWORKS
from continuo.firmware_py.rt.concealer import Concealer
from continuo.firmware_py.rt.counters import AudioCounter
from continuo.firmware_py.rt.ladder import Ladder
from continuo.firmware_py.rt.preparer import Preparer
from continuo.firmware_py.rt.refiner_tflite import TfliteRefiner
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.rt.timing import Rung

SPEC = StreamSpec(48_000, 128, 2)
METHOD, REFINED = METHODS["lpc"], METHODS["lite-int8"]


class Audio:
    """The audio thread's part: plays by the ladder and tells the conceal process, as the engine does."""

    def __init__(self, memory, method=METHOD, spec=SPEC):
        self.ladder = Ladder(method)
        self.ladder.prepare(spec, memory.slots)
        self.pulled = memory.pulled

    def play(self, packet, next_is_there=False, first=False):
        index = self.ladder.index
        out = self.ladder.lost() if packet is None else self.ladder.received(packet)
        flags = LOST * (packet is None) | WANTED * (not next_is_there) | RESET * first
        self.pulled.push(index, 0, flags, out if packet is None else packet)
        return out.copy()


@pytest.fixture
def memory(tmp_path):
    return BoxMemory(tmp_path / "memory", SPEC, METHOD, create=True)


def worker_on(memory, method=METHOD, spec=SPEC):
    preparer = Preparer(method)
    preparer.prepare(spec)
    worker = ConcealWorker(preparer, spec, memory.pulled, memory.slots, memory.audio)
    worker.catch_up()
    return worker


@pytest.fixture
def packets():
    rng, t = np.random.default_rng(0), np.arange(400 * SPEC.packet_samples)[:, np.newaxis]
    tones = 0.3 * np.sin(0.05 * t * [1.0, 1.5]) + rng.normal(0, 1e-3, (len(t), 2))
    return tones.astype(np.float32).reshape(400, SPEC.packet_samples, 2)


@pytest.fixture
def lost():
    rng = np.random.default_rng(1)
    lost = rng.random(400) < 0.2
    lost[200:330] = True
    return lost


def test_equals_the_concealer(memory, packets, lost):
    audio, worker, reference = Audio(memory), worker_on(memory), Concealer(METHOD)
    reference.prepare(SPEC)
    for index, packet in enumerate(packets):
        heard = None if lost[index] else packet
        there = index + 1 < len(lost) and not lost[index + 1]
        np.testing.assert_array_equal(audio.play(heard, there), reference.process(heard))
        assert not audio.ladder.missed or index == 0
        worker.work()


def test_behind_by_some_packets_it_catches_up(memory, packets):
    """Late replacements of a burst are used for the rest of it; afterwards everything is as if nothing had been."""
    audio, worker, reference = Audio(memory), worker_on(memory), Concealer(METHOD)
    reference.prepare(SPEC)
    for packet in packets[:100]:
        audio.play(packet)
        reference.process(packet)
    worker.work()
    worker.work()
    rungs = []
    for _ in range(2):
        audio.play(packets[100])
        audio.play(None)
        rungs.append(audio.ladder.rung)
        worker.work()
        audio.play(None)
        rungs.append(audio.ladder.rung)
        worker.work()
    assert rungs == [Rung.REPEAT, Rung.LPC] * 2


def test_a_successor_has_the_history(memory, packets):
    """Its first prediction equals the one of a process that was there from the beginning."""
    audio, first = Audio(memory), worker_on(memory)
    for index, packet in enumerate(packets[:150]):
        audio.play(packet, next_is_there=index < 149)
        first.work()
    out = np.zeros((2, first._preparer.burst.ahead_samples), np.float32)
    assert memory.slots.take(150, out) == 0
    expected = out.copy()
    memory.slots.publish(150, 0, 0, 0, 0, np.zeros_like(out))
    second = worker_on(memory)
    second.work()  # takes the last packet again, which still waits for its successor
    assert memory.slots.take(150, out) == 0
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("spec", [StreamSpec(48_000, 512, 1), StreamSpec(48_000, 32, 1)], ids=str)
def test_a_successor_has_all_that_a_network_looks_back_on(tmp_path, spec):
    """More than five seconds lie in the ring: its first refinement equals the one of a process that was there."""
    memory = BoxMemory(tmp_path / "memory", spec, REFINED, create=True)
    audio, first = Audio(memory, REFINED, spec), worker_on(memory, REFINED, spec)
    count = 270_000 // spec.packet_samples
    rng, t = np.random.default_rng(0), np.arange(count * spec.packet_samples)[:, np.newaxis]
    beat = 0.3 * np.sin(0.02 * t) * np.exp(-(t % 201_000) / 4000)  # what repeats itself is four seconds back
    packets = (beat + rng.normal(0, 1e-3, t.shape)).astype(np.float32).reshape(count, spec.packet_samples, 1)
    for index, packet in enumerate(packets):
        audio.play(packet, next_is_there=index < count - 1)
        first.work()
    out = np.zeros((1, first._preparer.burst.ahead_samples), np.float32)
    assert memory.slots.take(count, out) == 1
    assert memory.slots.rung == Rung.LITE
    expected = out.copy()
    memory.slots.publish(count, 1, 0, 0, 0, np.zeros_like(out))
    second = worker_on(memory, REFINED, spec)
    second.work()
    assert memory.slots.take(count, out) == 1
    np.testing.assert_array_equal(out, expected)


class SlowRefiner(TfliteRefiner):
    """The network that ships, on a machine as slow as wanted."""

    pause_s = 0.0

    def refine(self, *arguments):
        time.sleep(self.pause_s)
        return super().refine(*arguments)


def test_a_network_too_slow_for_the_machine_rests(tmp_path, packets):
    """It must not make predictions late: after one refinement that would have, predictions alone are published."""
    spec = StreamSpec(48_000, 512, 1)
    method = replace(REFINED, refiner=lambda: SlowRefiner(NETWORKS / "lite-int8.tflite"))
    memory = BoxMemory(tmp_path / "memory", spec, method, create=True)
    audio, worker = Audio(memory, method, spec), worker_on(memory, method, spec)
    out = np.zeros((1, worker._preparer.burst.ahead_samples), np.float32)
    packets = packets[:400, :, :1].reshape(-1, 512, 1)

    def level_published(packet):
        audio.play(packet)
        worker.work()
        return memory.slots.take(audio.ladder.index, out)

    slow = worker._preparer._refiners[0]
    assert level_published(packets[0]) == 1
    slow.pause_s = 2 * spec.packet_ns / 1e9
    assert level_published(packets[1]) == 1  # what was made is published all the same
    assert memory.audio[AudioCounter.REFINED_SLOWLY] == 1
    assert [level_published(packet) for packet in packets[2:12]] == [0] * 10
    assert memory.audio[AudioCounter.REFINED_SLOWLY] == 1
    slow.pause_s = 0.0
    time.sleep(1.1)
    assert level_published(packets[12]) == 1


def test_another_stream_begins_without_the_history(memory, packets):
    audio, worker = Audio(memory), worker_on(memory)
    for packet in packets[:100]:
        audio.play(packet)
        worker.work()
    audio.ladder.reset()
    silence = np.zeros_like(packets[0])
    audio.play(silence, first=True)
    worker.work()
    np.testing.assert_array_equal(audio.play(None), 0)
    assert audio.ladder.rung == Rung.LPC


def test_a_thread_per_channel_changes_nothing(memory, packets, lost):
    audio, worker, reference = Audio(memory), worker_on(memory), Concealer(METHOD)
    worker._preparer.fan_out = FanOut(2)
    reference.prepare(SPEC)
    for index, packet in enumerate(packets):
        heard = None if lost[index] else packet
        np.testing.assert_array_equal(audio.play(heard), reference.process(heard))
        worker.work()
