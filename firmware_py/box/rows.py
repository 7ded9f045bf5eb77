"""The timing rows of packets that have played, kept until it is known what became of the lost ones."""

import numpy as np
from numba import njit

from ..rt.fences import release
from ..rt.timing import BOX_TIMING_DTYPE, DROPPED, READ, WRITE, Cause, TimingRing

__all__ = ["PacketRows"]

_ROWS = 1024
_WAIT_NS = 500_000_000
_NOT_SEEN = -1
_COUNT, _PUSHED, _HIGHEST, _MARKS = range(4)
_NETWORK_LOST, _NETWORK_LATE, _PEER_STOPPED = int(Cause.NETWORK_LOST), int(Cause.NETWORK_LATE), int(Cause.PEER_STOPPED)


class PacketRows:
    """Makes one row of `BOX_TIMING_DTYPE` per packet played, and pushes it half a second later.

    By then a lost packet has come late, or will not; and if none came that was sent after it, the peer has stopped.
    On the audio thread: nothing is allocated after the start.

    Parameters
    ----------
    ring
        Where the rows go.
    packet_ns
        Duration of a packet.
    """

    def __init__(self, ring: TimingRing, packet_ns: int) -> None:
        self._ring_state, self._ring_rows = ring.arrays
        self._wait_packets = min(_ROWS - 1, _WAIT_NS // packet_ns + 1)
        self._rows = np.zeros(_ROWS, BOX_TIMING_DTYPE)
        self._pulled_ns = np.zeros(_ROWS, np.int64)
        self._place_of = np.full(_ROWS, _NOT_SEEN, np.int64)
        self._marks = np.zeros(_MARKS, np.int64)
        self._marks[_HIGHEST] = _NOT_SEEN
        self._warm_up(ring)

    def add(
        self, number: int, pulled_ns: int, lost: bool, rung: int, predict_ns: int, refine_ns: int, crossfade_ns: int,
        total_ns: int, margin_ns: int, missed: bool, arrival_ns: int, inter_arrival_ns: int, depth_samples: int,
        xrun: bool, cause: int,
    ) -> None:  # fmt: skip
        """Add the row of the packet played last; with ``lost``, ``cause`` 0 stands for whatever will turn out.

        ``number`` is the peer's, ``pulled_ns`` when it was due; the others are columns of the row.
        """
        _add(
            self._rows, self._pulled_ns, self._place_of, self._marks, self._ring_state, self._ring_rows,
            self._wait_packets, number, pulled_ns, lost, rung, predict_ns, refine_ns, crossfade_ns, total_ns,
            margin_ns, missed, arrival_ns, inter_arrival_ns, depth_samples, xrun, cause,
        )  # fmt: skip

    def received(self, number: int) -> None:
        """A packet of this number has come, in time or not: the peer is there."""
        self._marks[_HIGHEST] = max(self._marks.item(_HIGHEST), number)

    def late(self, number: int, arrival_ns: int, inter_arrival_ns: int) -> bool:
        """A packet has come that was played as lost; False: too long ago, or it was not."""
        place = self._place_of.item(number % _ROWS)
        if place == _NOT_SEEN:
            return False
        late_by_ns = max(1, arrival_ns - self._pulled_ns.item(place))
        return bool(_late(self._rows, place, number, arrival_ns, inter_arrival_ns, late_by_ns))

    def finish(self) -> None:
        """Push every row that still waits."""
        _push_all_but(self._rows, self._marks, self._ring_state, self._ring_rows, 0)

    def _warm_up(self, ring: TimingRing) -> None:
        """Load the kernels, on memory of our own: the ring may be in use."""
        own = TimingRing(2, ring.dtype)
        state, rows = own.arrays
        arrays = self._rows.copy(), self._pulled_ns.copy(), self._place_of.copy(), self._marks.copy()
        _add(*arrays, state, rows, 0, 0, 0, False, 0, 0, 0, 0, 0, 0, False, 0, 0, 0, False, 0)
        _push_all_but(arrays[0], arrays[3], state, rows, 0)
        _late(arrays[0], 0, 1, 0, 0, 1)


@njit(cache=True, nogil=True)
def _add(  # type: ignore[no-untyped-def]
    rows, pulled_ns_of, place_of, marks, ring_state, ring_rows, wait_packets, number, pulled_ns, lost, rung, predict_ns,
    refine_ns, crossfade_ns, total_ns, margin_ns, missed, arrival_ns, inter_arrival_ns, depth_samples, xrun, cause,
):  # fmt: skip
    place = marks[_COUNT] % rows.shape[0]
    _fill(
        rows, place, number, lost, rung, predict_ns, refine_ns, crossfade_ns, total_ns, margin_ns, missed, arrival_ns,
        inter_arrival_ns, depth_samples, xrun, cause,
    )  # fmt: skip
    pulled_ns_of[place] = pulled_ns
    place_of[number % rows.shape[0]] = place
    marks[_COUNT] += 1
    _push_all_but(rows, marks, ring_state, ring_rows, wait_packets)


@njit(cache=True, nogil=True)
def _push_all_but(rows, marks, ring_state, ring_rows, waiting):  # type: ignore[no-untyped-def]
    """Conclude and push the oldest rows until ``waiting`` are left; a full ring drops them, and counts."""
    while marks[_COUNT] - marks[_PUSHED] > waiting:
        place = marks[_PUSHED] % rows.shape[0]
        _conclude(rows, place, marks[_HIGHEST])
        marks[_PUSHED] += 1
        write = ring_state[WRITE]
        if write - ring_state[READ] >= ring_rows.shape[0]:
            ring_state[DROPPED] += 1
            continue
        ring_rows[write & (ring_rows.shape[0] - 1)] = rows[place]
        release()
        ring_state[WRITE] = write + 1


@njit(cache=True, nogil=True)
def _fill(  # type: ignore[no-untyped-def]
    rows, place, number, lost, rung, predict_ns, refine_ns, crossfade_ns, total_ns, margin_ns, missed, arrival_ns,
    inter_arrival_ns, depth_samples, xrun, cause,
):  # fmt: skip
    row = rows[place]
    row["sequence"] = number
    row["lost"] = lost
    row["rung"] = rung
    row["predict_ns"] = predict_ns
    row["refine_ns"] = refine_ns
    row["crossfade_ns"] = crossfade_ns
    row["total_ns"] = total_ns
    row["deadline_margin_ns"] = margin_ns
    row["deadline_missed"] = missed
    row["arrival_ns"] = arrival_ns
    row["inter_arrival_ns"] = inter_arrival_ns
    row["depth_samples"] = depth_samples
    row["late_by_ns"] = 0
    row["xrun"] = xrun
    row["cause"] = cause


@njit(cache=True, nogil=True)
def _late(rows, place, number, arrival_ns, inter_arrival_ns, late_by_ns):  # type: ignore[no-untyped-def]
    row = rows[place]
    if row["sequence"] != number or not row["lost"] or row["late_by_ns"] > 0:
        return False
    row["arrival_ns"] = arrival_ns
    row["inter_arrival_ns"] = inter_arrival_ns
    row["late_by_ns"] = late_by_ns
    return True


@njit(cache=True, nogil=True)
def _conclude(rows, place, highest):  # type: ignore[no-untyped-def]
    row = rows[place]
    if row["lost"] and row["cause"] == 0:
        if row["late_by_ns"] > 0:
            row["cause"] = _NETWORK_LATE
        elif row["sequence"] > highest:
            row["cause"] = _PEER_STOPPED
        else:
            row["cause"] = _NETWORK_LOST
