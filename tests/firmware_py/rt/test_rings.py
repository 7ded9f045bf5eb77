import subprocess
import sys

import numpy as np
import pytest

from continuo.firmware_py.errors import InputError, RunError
from continuo.firmware_py.rt.rings import ARRIVAL_NS, FLAGS, HEAD_WORDS, NUMBER, AudioRing
from continuo.firmware_py.rt.shared import SharedMemory
from continuo.firmware_py.rt.spec import StreamSpec

SPEC = StreamSpec(48_000, 32, 3)


@pytest.fixture
def head():
    return np.zeros(HEAD_WORDS, np.int64)


def packet(number):
    return np.full((SPEC.packet_samples, SPEC.channels), number, np.float32) + np.arange(3, dtype=np.float32) / 4


def test_packets_come_out_as_they_went_in(head):
    ring, out = AudioRing(SPEC, 4), packet(0)
    for number in range(40):
        assert not ring.pop(head, out)
        assert ring.push(number, 7 * number, 5, packet(number))
        assert len(ring) == 1
        assert ring.peek(head)
        assert ring.pop(head, out)
        assert (head[NUMBER], head[ARRIVAL_NS], head[FLAGS]) == (number, 7 * number, 5)
        np.testing.assert_array_equal(out, packet(number))


def test_a_full_ring_drops_and_counts_the_new(head):
    ring, out = AudioRing(SPEC, 4), packet(0)
    assert [ring.push(number, 0, 0, packet(number)) for number in range(6)] == [True] * 4 + [False] * 2
    assert ring.dropped_packets == 2
    numbers = []
    while ring.pop(head, out):
        numbers.append(int(head[NUMBER]))
    assert numbers == [0, 1, 2, 3]


def test_discard_skip_and_rewind(head):
    ring, out = AudioRing(SPEC, 8), packet(0)
    ring.discard()
    for number in range(8):
        ring.push(number, 0, 0, packet(number))
    ring.discard()
    assert ring.pop(head, out)
    assert head[NUMBER] == 1
    assert ring.skip() == 6
    assert ring.rewind(100) == 6  # two places stay free for the producer
    assert ring.pop(head, out)
    assert head[NUMBER] == 2
    np.testing.assert_array_equal(out, packet(2))


def test_attached_side_goes_on_where_the_other_left_off(head):
    memory, out = np.zeros(AudioRing.bytes_needed(SPEC, 4), np.uint8), packet(0)
    first = AudioRing(SPEC, 4, memory)
    first.push(1, 0, 0, packet(1))
    second = AudioRing(SPEC, 4, memory)
    assert second.pop(head, out)
    assert len(first) == 0
    np.testing.assert_array_equal(out, packet(1))


@pytest.mark.parametrize("capacity", [0, 3, -4])
def test_capacity_is_a_power_of_two(capacity):
    with pytest.raises(InputError, match="power of two"):
        AudioRing(SPEC, capacity)


def test_a_buffer_that_is_no_ring_is_refused():
    with pytest.raises(InputError, match="writable bytes"):
        AudioRing(SPEC, 4, bytearray(100))
    with pytest.raises(InputError, match="something else"):
        AudioRing(SPEC, 4, np.arange(AudioRing.bytes_needed(SPEC, 4)).astype(np.uint8))


PRODUCER = """
import sys
from pathlib import Path
import numpy as np
from continuo.firmware_py.rt.rings import AudioRing
from continuo.firmware_py.rt.shared import SharedMemory
from continuo.firmware_py.rt.spec import StreamSpec
spec, count = StreamSpec(48_000, 32, 3), int(sys.argv[2])
memory = SharedMemory(Path(sys.argv[1]), {"ring": AudioRing.bytes_needed(spec, 8)}, create=False)
ring = AudioRing(spec, 8, memory.block("ring"))
for number in range(count):
    samples = np.full((32, 3), number, np.float32)
    while not ring.push(number, number, 0, samples):
        pass
"""


def test_between_processes_no_packet_is_torn(tmp_path, head, jit):
    count = 30_000 if jit else 300
    path = tmp_path / "memory"
    memory = SharedMemory(path, {"ring": AudioRing.bytes_needed(SPEC, 8)}, create=True)
    ring, out = AudioRing(SPEC, 8, memory.block("ring")), packet(0)
    producer = subprocess.Popen([sys.executable, "-c", PRODUCER, str(path), str(count)])
    expected = 0
    while expected < count:
        if ring.pop(head, out):
            assert head[NUMBER] == head[ARRIVAL_NS] == expected
            assert (out == np.float32(expected)).all()
            expected += 1
        else:
            assert producer.poll() in (None, 0)
    assert producer.wait(10) == 0


def test_memory_of_another_layout_is_refused(tmp_path):
    path = tmp_path / "memory"
    with pytest.raises(InputError, match="attach"):
        SharedMemory(path, {"a": 64}, create=False)
    first = SharedMemory(path, {"a": 64, "b": 128}, create=True)
    first.block("b")[:] = 7
    assert (SharedMemory(path, {"a": 64, "b": 128}, create=False).block("b") == 7).all()
    for blocks in ({"a": 64}, {"a": 128, "b": 64}, {"b": 128, "a": 64}, {"a": 64, "c": 128}):
        with pytest.raises(InputError, match="another configuration"):
            SharedMemory(path, blocks, create=False)
    assert path.stat().st_mode & 0o077 == 0
    first.unlink()
    assert not path.exists()
    with pytest.raises(RunError, match="shared memory"):
        SharedMemory(tmp_path / "no" / "memory", {"a": 64}, create=True)
