import numpy as np
import pytest

from continuo.firmware_py.box.net_process import Receiver, Sender
from continuo.firmware_py.rt.counters import AudioCounter, new_audio_counters
from continuo.firmware_py.rt.rings import ARRIVAL_NS, FLAGS, HEAD_WORDS, NUMBER, AudioRing
from continuo.firmware_py.rt.spec import StreamSpec

SPEC = StreamSpec(48_000, 64, 1)
SILENCE = np.zeros((64, 1), np.float32)


@pytest.fixture
def ring():
    return AudioRing(SPEC, 8)


@pytest.fixture
def receiver(ring):
    state, counters = np.zeros(8, np.int64), new_audio_counters()

    def make():
        made = Receiver(ring, SPEC, state, counters)
        made.counters = counters
        return made

    return make


def heads(ring):
    head, samples, out = np.zeros(HEAD_WORDS, np.int64), SILENCE.copy(), []
    while ring.pop(head, samples):
        out.append((int(head[NUMBER]), int(head[ARRIVAL_NS]), int(head[FLAGS])))
    return out


def test_packets_keep_the_endpoints_numbers(ring, receiver):
    sink = receiver()
    for number in (70, 71, 73, 72):
        sink(number, 1000 * number, SILENCE, number == 72)
    assert heads(ring) == [(70, 70_000, 0), (71, 71_000, 0), (73, 73_000, 0), (72, 72_000, 1)]


def test_a_successor_goes_on_where_the_peer_is_by_now(ring, receiver):
    first = receiver()
    first(500, 0, SILENCE, False)
    first(501, SPEC.packet_ns, SILENCE, False)
    second = receiver()
    second(7, round(11.2 * SPEC.packet_ns), SILENCE, False)
    second(8, round(12.1 * SPEC.packet_ns), SILENCE, False)
    assert [number for number, _, _ in heads(ring)] == [500, 501, 511, 512]


def test_a_full_ring_is_counted(receiver):
    sink = receiver()
    for number in range(10):
        sink(number, 0, SILENCE, False)
    assert sink.counters[AudioCounter.RECEIVE_DROPPED] == 2


def test_what_was_captured_is_sent(ring):
    sent = []
    sender = Sender(ring, SPEC, lambda number, samples: sent.append((number, samples[0, 0])) or True)
    for number in range(3):
        ring.push(number, 0, 0, SILENCE + np.float32(number))
    sender.work()
    sender.work()
    assert sent == [(0, 0), (1, 1), (2, 2)]
