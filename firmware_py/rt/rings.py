"""Rings of packets between two processes: one pushes, one pops, neither waits."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import InputError
from .fences import acquire, release
from .spec import StreamSpec

__all__ = [
    "ARRIVAL_NS", "FLAGS", "HEAD_WORDS", "NUMBER", "AudioRing", "discard_packet", "peek_head", "pop_packet",
    "push_packet",
]  # fmt: skip

NUMBER, ARRIVAL_NS, FLAGS = 0, 1, 2
"""Places in a packet's head."""
HEAD_WORDS = 4

# Counters lie a cache line (8 int64) apart, so that the two sides do not pull one line back and forth.
_WRITE, _DROPPED, _READ, _STATE_WORDS = 0, 1, 8, 16


class AudioRing:
    """Ring of packets with a number, a time and flags each; exactly one producer (`push`), one consumer (`pop`).

    A full ring never overwrites: the new packet is dropped and counted. Counters are absolute, so an all-zero buffer
    is an empty ring, and a side that died and came back goes on where it left off. Packets stay in their places until
    they are overwritten, a capacity later: a consumer that lost its memory can `rewind`.

    Publication is ordered by fences, on weakly ordered CPUs too. Nothing is allocated, no lock taken, nothing raised
    once the ring is made.

    Parameters
    ----------
    spec
        Format of the packets.
    capacity_packets
        A power of two.
    buffer
        Writable memory of at least `bytes_needed` bytes, 8-byte aligned: zeros for a new ring, or the buffer of a ring
        of the same capacity and format. It is not cleared. None: own memory.

    Raises
    ------
    InputError
        When the capacity is not a power of two, or the buffer is too small, read-only or not a ring of this size.
    """

    def __init__(
        self, spec: StreamSpec, capacity_packets: int, buffer: memoryview | bytearray | NDArray[np.uint8] | None = None
    ) -> None:
        needed = self.bytes_needed(spec, capacity_packets)
        memory = np.zeros(needed, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)
        if memory.size < needed or not memory.flags.writeable:
            raise InputError(f"the ring needs {needed} writable bytes: its buffer has {memory.size}")
        state_bytes, head_bytes = 8 * _STATE_WORDS, 8 * HEAD_WORDS * capacity_packets
        shape = (capacity_packets, spec.packet_samples, spec.channels)
        self._state: NDArray[np.int64] = memory[:state_bytes].view(np.int64)
        self._heads: NDArray[np.int64] = (
            memory[state_bytes : state_bytes + head_bytes].view(np.int64).reshape(-1, HEAD_WORDS)
        )
        self._samples: NDArray[np.float32] = (
            memory[state_bytes + head_bytes : needed].view(np.float32)[: np.prod(shape)].reshape(shape)
        )
        self.capacity_packets = capacity_packets
        self._head = np.zeros(HEAD_WORDS, np.int64)
        if not 0 <= self._state.item(_WRITE) - self._state.item(_READ) <= capacity_packets:
            raise InputError("the ring's buffer holds something else: pass zeros or a ring of the same size")
        self._warm_up()

    @staticmethod
    def bytes_needed(spec: StreamSpec, capacity_packets: int) -> int:
        """Bytes of memory for so many packets, a multiple of 8; InputError when not a power of two."""
        if capacity_packets < 1 or capacity_packets & (capacity_packets - 1):
            raise InputError(f"capacity_packets is {capacity_packets}: choose a power of two, such as 64")
        samples = capacity_packets * spec.packet_samples * spec.channels
        return 8 * _STATE_WORDS + capacity_packets * 8 * HEAD_WORDS + (4 * samples + 7) // 8 * 8

    @property
    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """State, heads and samples, for kernels that move packets along with other work."""
        return self._state, self._heads, self._samples

    def __len__(self) -> int:
        """Packets pushed and not popped yet."""
        return self._state.item(_WRITE) - self._state.item(_READ)

    @property
    def dropped_packets(self) -> int:
        """Packets that found the ring full, since the buffer was zero."""
        return self._state.item(_DROPPED)

    @property
    def pushed_packets(self) -> int:
        """Packets pushed since the buffer was zero."""
        return self._state.item(_WRITE)

    def push(self, number: int, arrival_ns: int, flags: int, samples: NDArray[np.float32]) -> bool:
        """Append a copy of one packet [shape=(packet_samples, channels), C order]; False: full, dropped and counted."""
        return bool(push_packet(self._state, self._heads, self._samples, number, arrival_ns, flags, samples))

    def peek(self, head: NDArray[np.int64]) -> bool:
        """Copy the oldest packet's head [int64, shape=(HEAD_WORDS,)] without taking it; False: there is none."""
        return bool(peek_head(self._state, self._heads, head))

    def pop(self, head: NDArray[np.int64], samples: NDArray[np.float32]) -> bool:
        """Move the oldest packet into ``head`` and ``samples``; False: there is none."""
        return bool(pop_packet(self._state, self._heads, self._samples, head, samples))

    def discard(self) -> None:
        """Take the oldest packet, if there is one, without looking at it. Consumer only."""
        discard_packet(self._state)

    def skip(self) -> int:
        """Take everything without looking at it; return how many packets. Consumer only."""
        count = len(self)
        self._state[_READ] = self._state.item(_READ) + count
        return count

    def rewind(self, packets: int) -> int:
        """Give the consumer up to ``packets`` popped packets again, as many as surely are still there; return them.

        A quarter of the ring stays free for the producer to go on meanwhile.
        """
        write, read = self._state.item(_WRITE), self._state.item(_READ)
        again = max(0, min(read, packets, self.capacity_packets * 3 // 4 - (write - read)))
        self._state[_READ] = read - again
        return again

    def _warm_up(self) -> None:
        """Load the kernels, on a ring of our own: this one may be in use."""
        state, heads, samples = np.zeros_like(self._state), self._heads[:1].copy(), self._samples[:1].copy()
        packet = samples[0].copy()
        push_packet(state, heads, samples, 0, 0, 0, packet)
        peek_head(state, heads, self._head)
        pop_packet(state, heads, samples, self._head, packet)
        discard_packet(state)


@njit(cache=True, nogil=True)
def push_packet(state, heads, samples, number, arrival_ns, flags, packet):  # type: ignore[no-untyped-def]
    write = state[_WRITE]
    read = state[_READ]
    acquire()  # the consumer is done with the place before we write to it
    if write - read >= heads.shape[0]:
        state[_DROPPED] += 1
        return False
    place = write & (heads.shape[0] - 1)
    heads[place, NUMBER] = number
    heads[place, ARRIVAL_NS] = arrival_ns
    heads[place, FLAGS] = flags
    for j in range(packet.shape[0]):
        for channel in range(packet.shape[1]):
            samples[place, j, channel] = packet[j, channel]
    release()
    state[_WRITE] = write + 1
    return True


@njit(cache=True, nogil=True)
def peek_head(state, heads, head):  # type: ignore[no-untyped-def]
    read = state[_READ]
    write = state[_WRITE]
    acquire()
    if write - read <= 0:
        return False
    place = read & (heads.shape[0] - 1)
    for word in range(head.shape[0]):
        head[word] = heads[place, word]
    return True


@njit(cache=True, nogil=True)
def pop_packet(state, heads, samples, head, packet):  # type: ignore[no-untyped-def]
    if not peek_head(state, heads, head):
        return False
    read = state[_READ]
    place = read & (heads.shape[0] - 1)
    for j in range(packet.shape[0]):
        for channel in range(packet.shape[1]):
            packet[j, channel] = samples[place, j, channel]
    release()  # we have read the place before the producer may write to it
    state[_READ] = read + 1
    return True


@njit(cache=True, nogil=True)
def discard_packet(state):  # type: ignore[no-untyped-def]
    read = state[_READ]
    if state[_WRITE] - read > 0:
        release()
        state[_READ] = read + 1
