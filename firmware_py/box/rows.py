"""The timing rows of packets that have played, kept until it is known what became of the lost ones."""

import numpy as np
from numba import njit

from ..rt.timing import BOX_TIMING_DTYPE, Cause, TimingRing

__all__ = ["PacketRows"]

_ROWS = 1024
_WAIT_NS = 500_000_000
_NOT_SEEN = -1
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
        self._ring = ring
        self._wait_packets = min(_ROWS - 1, _WAIT_NS // packet_ns + 1)
        self._rows = np.zeros(_ROWS, BOX_TIMING_DTYPE)
        self._views = [self._rows[place : place + 1].reshape(()) for place in range(_ROWS)]
        self._pulled_ns = np.zeros(_ROWS, np.int64)
        self._place_of = np.full(_ROWS, _NOT_SEEN, np.int64)
        self._count = self._pushed = 0
        self._highest = _NOT_SEEN
        self._warm_up()

    def add(
        self, number: int, pulled_ns: int, lost: bool, rung: int, predict_ns: int, refine_ns: int, crossfade_ns: int,
        total_ns: int, margin_ns: int, missed: bool, arrival_ns: int, inter_arrival_ns: int, depth_samples: int,
        xrun: bool, cause: int,
    ) -> None:  # fmt: skip
        """Add the row of the packet played last; with ``lost``, ``cause`` 0 stands for whatever will turn out.

        ``number`` is the peer's, ``pulled_ns`` when it was due; the others are columns of the row.
        """
        place = self._count % _ROWS
        _fill(
            self._rows, place, number, lost, rung, predict_ns, refine_ns, crossfade_ns, total_ns, margin_ns, missed,
            arrival_ns, inter_arrival_ns, depth_samples, xrun, cause,
        )  # fmt: skip
        self._pulled_ns[place] = pulled_ns
        self._place_of[number % _ROWS] = place
        self._count += 1
        if self._count - self._pushed > self._wait_packets:
            self._push()

    def received(self, number: int) -> None:
        """A packet of this number has come, in time or not: the peer is there."""
        self._highest = max(self._highest, number)

    def late(self, number: int, arrival_ns: int, inter_arrival_ns: int) -> bool:
        """A packet has come that was played as lost; False: too long ago, or it was not."""
        place = self._place_of.item(number % _ROWS)
        if place == _NOT_SEEN:
            return False
        late_by_ns = max(1, arrival_ns - self._pulled_ns.item(place))
        return bool(_late(self._rows, place, number, arrival_ns, inter_arrival_ns, late_by_ns))

    def finish(self) -> None:
        """Push every row that still waits."""
        while self._pushed < self._count:
            self._push()

    def _push(self) -> None:
        place = self._pushed % _ROWS
        _conclude(self._rows, place, self._highest)
        self._ring.push(self._views[place])
        self._pushed += 1

    def _warm_up(self) -> None:
        self.late(0, 0, 0)
        _fill(self._rows, 0, 0, False, 0, 0, 0, 0, 0, 0, False, 0, 0, 0, False, 0)
        _late(self._rows, 0, 1, 0, 0, 1)
        _conclude(self._rows, 0, 0)


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
