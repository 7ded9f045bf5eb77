"""What the audio thread does in each period, compiled in few pieces.

Each call from Python costs as much as moving a hundred samples, several times that in a process that just woke and
finds its code gone from the caches. So the steps between two waits are one kernel each.
"""

import numpy as np
from numba import njit

from ..rt.counters import AudioCounter
from ..rt.playout_kernels import (
    CAME_ASTRAY,
    CAME_LATE,
    CAME_TWICE,
    DROPPED,
    DUPLICATED,
    HIGHEST,
    INSERTED,
    LATE,
    LOST,
    NEXT,
    PACKET_NS,
    REORDERED,
    arrive,
    wanted_ns,
)  # fmt: skip
from ..rt.rings import ARRIVAL_NS, FLAGS, NUMBER, discard_packet, peek_head, pop_packet, push_packet
from .blocks import peak_millionths
from .memory import RECOVERED
from .store import PLACES

__all__ = ["HIGHEST_NUMBER", "LAST_ARRIVAL_NS", "NOTES", "NOT_KEPT", "count_period", "hand_over", "receive"]

LAST_ARRIVAL_NS, HIGHEST_NUMBER, NOTES = range(3)
"""Places in the notes of `receive` (int64)."""
NOT_KEPT = 64
"""So many packets that come too late `receive` reports at once."""

_RECEIVED, _PERIODS = int(AudioCounter.RECEIVED), int(AudioCounter.PERIODS)
_LOST_NETWORK, _LATE, _REORDERED = (
    int(AudioCounter.LOST_NETWORK), int(AudioCounter.LATE), int(AudioCounter.REORDERED),
)  # fmt: skip
_DUPLICATED, _INSERTED, _DROPPED = (
    int(AudioCounter.DUPLICATED), int(AudioCounter.INSERTED), int(AudioCounter.DROPPED),
)  # fmt: skip
_DEPTH_SAMPLES, _DEPTH_PACKETS = int(AudioCounter.DEPTH_SAMPLES_NOW), int(AudioCounter.DEPTH_PACKETS_NOW)
_TOLERANCE, _DRIFT_PPB = int(AudioCounter.TOLERANCE_SAMPLES), int(AudioCounter.DRIFT_PPB)
_DAMAGED, _PLAYBACK_PEAK = int(AudioCounter.DAMAGED_SAMPLES), int(AudioCounter.PLAYBACK_PEAK)


@njit(cache=True, nogil=True)
def receive(ring, playout, store, head, notes, not_kept, counters):  # type: ignore[no-untyped-def]
    """Take everything that has come: into its place in the store, or, too late or twice, into ``not_kept``.

    Parameters
    ----------
    ring, playout, store
        `rings.AudioRing.arrays`, `playout.Playout.arrays`, `store.PacketStore.arrays`.
    head : int64 [shape=(HEAD_WORDS,)], scratch
    notes : int64 [shape=(NOTES,)], kept from call to call
    not_kept : int64 [shape=(n, 3)]: number, arrival and time since the packet before, of those
    counters : int64, by `AudioCounter`

    Returns how many were not kept; n: there may be more to take.
    """
    state, heads, samples = ring
    playout_state, entries, line, marks, tolerance, bins, total = playout
    places, arrivals_ns, inter_arrivals_ns = store
    count = 0
    while count < not_kept.shape[0] and peek_head(state, heads, head):
        number, arrival_ns = head[NUMBER], head[ARRIVAL_NS]
        recovered = head[FLAGS] & RECOVERED != 0
        counters[_RECEIVED] += 1
        code = arrive(playout_state, entries, line, marks, tolerance, bins, total, number, arrival_ns, recovered)
        inter_arrival_ns = arrival_ns - notes[LAST_ARRIVAL_NS] if notes[LAST_ARRIVAL_NS] != 0 else 0
        notes[LAST_ARRIVAL_NS] = arrival_ns
        notes[HIGHEST_NUMBER] = max(notes[HIGHEST_NUMBER], number)
        if code in (CAME_LATE, CAME_TWICE, CAME_ASTRAY):  # a set would be allocated
            not_kept[count, 0], not_kept[count, 1], not_kept[count, 2] = number, arrival_ns, inter_arrival_ns
            count += 1
            discard_packet(state)
        else:
            place = number % PLACES
            pop_packet(state, heads, samples, head, places[place])
            arrivals_ns[place] = arrival_ns
            inter_arrivals_ns[place] = inter_arrival_ns
    return count


@njit(cache=True, nogil=True)
def hand_over(pulled, record_received, record_played, index, number, pulled_ns, flags, for_conceal, received, played):  # type: ignore[no-untyped-def]
    """Let the conceal process and the recorder have a packet.

    Parameters
    ----------
    pulled, record_received, record_played
        `rings.AudioRing.arrays`.
    index, number : int
        In the order of playing; the peer's.
    pulled_ns, flags : int
        When, and `memory`'s flags.
    for_conceal, received, played : float32 [shape=(samples, channels)]
    """
    push_packet(pulled[0], pulled[1], pulled[2], index, pulled_ns, flags, for_conceal)
    push_packet(record_received[0], record_received[1], record_received[2], number, pulled_ns, flags, received)
    push_packet(record_played[0], record_played[1], record_played[2], number, pulled_ns, flags, played)


@njit(cache=True, nogil=True)
def count_period(counters, playout, tolerance, packet_samples, drift_ppb, damaged, out):  # type: ignore[no-untyped-def]
    """Publish what a period changed.

    Parameters
    ----------
    counters : int64, by `AudioCounter`
    playout, tolerance : int64
        Of `playout.Playout.arrays`.
    packet_samples, drift_ppb, damaged : int
        Format; values for their counters.
    out : float32 [shape=(samples, channels)], what is played
    """
    counters[_PERIODS] += 1
    counters[_LOST_NETWORK] = playout[LOST]
    counters[_LATE] = playout[LATE]
    counters[_REORDERED] = playout[REORDERED]
    counters[_DUPLICATED] = playout[DUPLICATED]
    counters[_INSERTED] = playout[INSERTED]
    counters[_DROPPED] = playout[DROPPED]
    depth_packets = max(0, playout[HIGHEST] + 1 - playout[NEXT])
    counters[_DEPTH_PACKETS] = depth_packets
    counters[_DEPTH_SAMPLES] = depth_packets * packet_samples
    wanted = max(0, wanted_ns(playout, tolerance))
    counters[_TOLERANCE] = np.int64(np.rint(wanted * packet_samples / playout[PACKET_NS]))
    counters[_DRIFT_PPB] = drift_ppb
    counters[_DAMAGED] = damaged
    counters[_PLAYBACK_PEAK] = peak_millionths(out)
