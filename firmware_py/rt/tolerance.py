"""How long the jitter buffer should wait for late packets: a quantile of the recent delays, by one control.

As in WebRTC's NetEQ, the delay of each packet beyond the fastest goes into a histogram, and what the buffer has to
tolerate is read off its upper end. Two things differ. A packet that never came has no delay, so loss alone moves
nothing. And the past is not forgotten exponentially, but dropped from a window of fixed length: a small quantile of an
exponential memory is ruled for minutes by a bad spell that is over, which is how buffers come to only ever grow.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import InputError
from .spec import StreamSpec

__all__ = ["BIN_NS", "CAP_NS", "TOLERANCE_NS", "Tolerance", "add_delay", "shift_delays"]

_BINS = 1024
_BELOW = 256
"""Bins for packets faster than the line: what was the fastest before the network got slower."""
_BLOCKS = 30
_BLOCK_NS = 2_000_000_000

# Places in `state` (int64).
TOLERANCE_NS, CAP_NS, BIN_NS, _HEADROOM_NS, _START_NS, _START_UNTIL_NS, _LATE_PPM, _WINDOW_BLOCKS, _BLOCK = range(9)
_BLOCK_END_NS, _COUNT, _TOP, _STARTING, _STATE = range(9, 14)


class Tolerance:
    """Recommends how late beyond the fastest a packet may be and still be waited for.

    ``tightness`` 0 is safe: of a minute's packets 1 in 10,000 may be late, and 2 ms are laid on top. 1 is tight: 3 in
    100 of the last 8 seconds, nothing on top. In between everything moves smoothly: 0.5 allows 1.8 in 1000 of 22
    seconds, with 0.5 ms on top.

    Attributes
    ----------
    state : int64
    bins : int32 [shape=(blocks, bins)], packets by delay, in blocks of 2 seconds, a ring
    total : int32 [shape=(bins,)], their sum over the window
        The state, for the kernels here.
    """

    def prepare(self, spec: StreamSpec, tightness: float, cap_packets: int) -> None:
        """Allocate and compile; never recommend more than ``cap_packets`` packets."""
        self._packet_ns = spec.packet_ns
        self.state: NDArray[np.int64] = np.zeros(_STATE, np.int64)
        self.bins: NDArray[np.int32] = np.zeros((_BLOCKS, _BINS), np.int32)
        self.total: NDArray[np.int32] = np.zeros(_BINS, np.int32)
        bin_ns = max(125_000, spec.packet_ns // 32)
        self.state[BIN_NS] = bin_ns
        self.state[CAP_NS] = min((_BINS - _BELOW - 1) * bin_ns, cap_packets * spec.packet_ns)
        self.set_tightness(tightness)
        add_delay(self.state, self.bins, self.total, 0, 0.0)
        shift_delays(self.state, self.bins, self.total, 0.0)
        self.reset()

    def reset(self) -> None:
        """Forget all delays, keep the tightness."""
        self.bins.fill(0)
        self.total.fill(0)
        self.state[_BLOCK] = self.state[_BLOCK_END_NS] = self.state[_COUNT] = self.state[_TOP] = 0
        self.state[_START_UNTIL_NS] = -1
        self.state[_STARTING] = 1
        _decide(self.state, self.total)

    def set_tightness(self, tightness: float) -> None:
        """0 safe .. 1 tight; acts at once, on the delays of the past too.

        Raises
        ------
        InputError
            When it is neither, nor in between.
        """
        if not 0 <= tightness <= 1:
            raise InputError(f"tightness is {tightness}: choose from 0 (safe) to 1 (tight)")
        state = self.state
        state[_LATE_PPM] = round(10.0 ** (2.0 + 2.5 * tightness))
        state[_WINDOW_BLOCKS] = round(_BLOCKS * (4 / _BLOCKS) ** tightness)
        state[_HEADROOM_NS] = round(2e6 * (1.0 - tightness) ** 2)
        state[_START_NS] = round(1e7 * (1.0 - tightness)) + self._packet_ns // 4
        _sum_window(state, self.bins, self.total)
        _decide(state, self.total)

    def observe(self, now_ns: int, delay_ns: float) -> None:
        """One packet arrived at ``now_ns``, ``delay_ns`` later than the fastest would have."""
        add_delay(self.state, self.bins, self.total, now_ns, delay_ns)

    def shift(self, shift_ns: float) -> None:
        """What delays are measured from happens ``shift_ns`` later from now on."""
        shift_delays(self.state, self.bins, self.total, shift_ns)

    @property
    def tolerance_ns(self) -> int:
        """Recommended now."""
        return self.state.item(TOLERANCE_NS)

    @property
    def window_s(self) -> float:
        """How long a delay is remembered."""
        return 1e-9 * _BLOCK_NS * self.state.item(_WINDOW_BLOCKS)


@njit(cache=True, nogil=True)
def add_delay(state, bins, total, now_ns, delay_ns):  # type: ignore[no-untyped-def]
    """See `Tolerance.observe`.

    A delay beyond the cap is left out: no buffer waits for such a packet, so it is as good as lost.
    """
    if state[_START_UNTIL_NS] < 0:
        state[_START_UNTIL_NS] = now_ns + _BLOCK_NS
        state[_BLOCK_END_NS] = now_ns + _BLOCK_NS
    while now_ns >= state[_BLOCK_END_NS]:
        state[_BLOCK_END_NS] += _BLOCK_NS
        if now_ns - state[_BLOCK_END_NS] > _BLOCKS * _BLOCK_NS:
            state[_BLOCK_END_NS] = now_ns + _BLOCK_NS  # a long pause: the blocks before it are as old as each other
        _next_block(state, bins, total)
    if now_ns >= state[_START_UNTIL_NS]:
        state[_STARTING] = 0
    if delay_ns > state[CAP_NS]:
        return
    place = max(np.int64(max(delay_ns, -1e15)) // state[BIN_NS] + _BELOW, 0)
    bins[state[_BLOCK], place] += 1
    total[place] += 1
    state[_COUNT] += 1
    state[_TOP] = max(state[_TOP], place)
    if state[_COUNT] % 8 == 0 or delay_ns > state[TOLERANCE_NS]:
        _decide(state, total)


@njit(cache=True, nogil=True)
def shift_delays(state, bins, total, shift_ns):  # type: ignore[no-untyped-def]
    """The line that delays are measured from has moved by ``shift_ns``: what was recommended stays at the same time.

    Delays that fall off the lower end gather there; those off the upper end are beyond any buffer, and forgotten.
    """
    places = total.shape[0]
    shift = np.int64(np.rint(shift_ns / state[BIN_NS]))
    for block in range(bins.shape[0]):
        for k in range(places):
            place = k if shift > 0 else places - 1 - k
            count = bins[block, place]
            bins[block, place] = 0
            if place - shift < places:
                bins[block, max(place - shift, 0)] += count
    _sum_window(state, bins, total)
    _decide(state, total)


@njit(cache=True, nogil=True)
def _next_block(state, bins, total):  # type: ignore[no-untyped-def]
    """Begin a new block; one leaves the window."""
    blocks = bins.shape[0]
    leaves = (state[_BLOCK] + blocks + 1 - state[_WINDOW_BLOCKS]) % blocks
    state[_BLOCK] = (state[_BLOCK] + 1) % blocks
    state[_TOP] = 0
    for place in range(total.shape[0]):
        total[place] -= bins[leaves, place]
        state[_COUNT] -= bins[leaves, place]
        bins[state[_BLOCK], place] = 0
        if total[place] > 0:
            state[_TOP] = place
    _decide(state, total)


@njit(cache=True, nogil=True)
def _sum_window(state, bins, total):  # type: ignore[no-untyped-def]
    blocks = bins.shape[0]
    state[_COUNT] = state[_TOP] = 0
    for place in range(total.shape[0]):
        total[place] = 0
        for age in range(state[_WINDOW_BLOCKS]):
            total[place] += bins[(state[_BLOCK] + blocks - age) % blocks, place]
        state[_COUNT] += total[place]
        if total[place] > 0:
            state[_TOP] = place


@njit(cache=True, nogil=True)
def _decide(state, total):  # type: ignore[no-untyped-def]
    """Read the tolerance off the histogram: all but ``_LATE_PPM`` millionths are at most so late."""
    may_be_late = state[_COUNT] * state[_LATE_PPM] // 1_000_000
    place = state[_TOP]
    later = np.int64(total[place])
    while place > 0 and later <= may_be_late:
        place -= 1
        later += total[place]
    tolerance_ns = (place + 1 - _BELOW) * state[BIN_NS] + state[_HEADROOM_NS]
    if state[_STARTING]:
        tolerance_ns = max(tolerance_ns, state[_START_NS])
    state[TOLERANCE_NS] = min(tolerance_ns, state[CAP_NS])
