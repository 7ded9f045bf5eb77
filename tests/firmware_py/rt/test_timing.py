import tracemalloc

import numpy as np
import pytest

from continuo.firmware_py.errors import InputError
from continuo.firmware_py.rt.timing import TIMING_DTYPE, TimingRing


def numbered(sequence, dtype=TIMING_DTYPE):
    row = np.zeros((), dtype)
    row["sequence"] = sequence
    row["total_ns"] = 10 * sequence
    return row


def test_rows_come_out_in_order_over_many_wraps():
    ring, out = TimingRing(8), np.zeros(5, TIMING_DTYPE)
    pushed, seen = 0, []
    rng = np.random.default_rng(0)
    while pushed < 500:
        for _ in range(rng.integers(0, 6)):
            if len(ring) < 8:
                assert ring.push(numbered(pushed))
                pushed += 1
        seen += out[: ring.drain(out)].tolist()
    while count := ring.drain(out):
        seen += out[:count].tolist()
    assert seen == [numbered(sequence).item() for sequence in range(pushed)]
    assert ring.dropped_rows == 0


def test_a_full_ring_drops_the_new_row_and_keeps_the_old():
    ring, out = TimingRing(4), np.zeros(8, TIMING_DTYPE)
    assert [ring.push(numbered(sequence)) for sequence in range(7)] == [True] * 4 + [False] * 3
    assert ring.dropped_rows == 3
    assert ring.drain(out) == 4
    assert out["sequence"][:4].tolist() == [0, 1, 2, 3]
    assert ring.push(numbered(9))
    assert len(ring) == 1


def test_push_copies_the_row():
    ring, out = TimingRing(4), np.zeros(1, TIMING_DTYPE)
    row = numbered(1)
    ring.push(row)
    row["sequence"] = 2
    ring.drain(out)
    assert out["sequence"][0] == 1


def test_draining_an_empty_ring_leaves_out_alone():
    out = np.full(3, numbered(7))
    assert TimingRing(4).drain(out) == 0
    assert out["sequence"].tolist() == [7, 7, 7]


def test_push_allocates_no_numpy_memory():
    ring, row = TimingRing(4096), numbered(0)
    scratch = np.zeros(4096, TIMING_DTYPE)
    ring.push(row)
    numpy_memory = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
    tracemalloc.start()
    try:
        held_before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for sequence in range(10_000):
            row["sequence"] = sequence
            ring.push(row)
            if len(ring) > 4000:
                ring.drain(scratch)
        _, peak = tracemalloc.get_traced_memory()
        held = tracemalloc.take_snapshot().filter_traces([numpy_memory])
    finally:
        tracemalloc.stop()
    assert sum(trace.size for trace in held.traces) == 0
    assert peak - held_before < 2048  # a few Python integers and views at a time, nothing that grows
    assert ring.dropped_rows == 0


@pytest.mark.parametrize("not_a_row", [None, "row", (1, 2), 10**30, np.zeros(3), np.zeros(2, TIMING_DTYPE)])
def test_what_is_not_a_row_is_counted_and_never_raises(not_a_row):
    ring = TimingRing(4)
    assert not ring.push(not_a_row)
    assert ring.dropped_rows == 1
    assert len(ring) == 0


def test_two_rings_on_one_buffer_are_one_ring():
    memory = bytearray(TimingRing.bytes_needed(16))
    producer, consumer = TimingRing(16, buffer=memory), TimingRing(16, buffer=memory)
    for sequence in range(20):
        producer.push(numbered(sequence))
    out = np.zeros(16, TIMING_DTYPE)
    assert consumer.drain(out) == 16
    assert out["sequence"].tolist() == list(range(16))
    assert consumer.dropped_rows == 4
    restarted = TimingRing(16, buffer=memory)
    assert restarted.push(numbered(20))
    assert consumer.drain(out) == 1
    assert out["sequence"][0] == 20


def test_a_wider_row_type():
    wide = np.dtype([*TIMING_DTYPE.descr, ("arrival_ns", "<i8")])
    ring, out = TimingRing(2, wide), np.zeros(1, wide)
    row = numbered(3, wide)
    row["arrival_ns"] = 99
    ring.push(row)
    ring.drain(out)
    assert out["arrival_ns"][0] == 99


@pytest.mark.parametrize("capacity_rows", [0, -4, 3, 1000])
def test_capacity_must_be_a_power_of_two(capacity_rows):
    with pytest.raises(InputError, match="power of two"):
        TimingRing(capacity_rows)


def test_a_buffer_that_does_not_fit_is_refused():
    needed = TimingRing.bytes_needed(4)
    with pytest.raises(InputError, match="writable"):
        TimingRing(4, buffer=bytearray(needed - 1))
    with pytest.raises(InputError, match="writable"):
        TimingRing(4, buffer=memoryview(bytes(needed)))
    with pytest.raises(InputError, match="something else"):
        TimingRing(4, buffer=bytearray(b"\x11" * 8 + b"\x00" * (needed - 8)))
