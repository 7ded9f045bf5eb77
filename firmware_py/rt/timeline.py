"""When something regular would happen if nothing delayed it: a delay-locked loop on the lower edge of jittery times.

The box has two of them: one on the arrival times of the peer's packets, one on its own device's periods. The jitter of
both is one-sided. A packet can wait in a queue, and a thread can wake late; neither comes before its time. So the loop
follows the earliest of each block of times, not their mean: what it tracks is the clock behind them, and how long each
packet was under way beyond the fastest is its distance to the line.

The loop is of second order (F. Adriaensen, "Using a DLL to filter time", 2005): time and rate are corrected by
``sqrt(2) w`` and ``w^2`` times the error, with ``w = 2 pi B T``. At first the gains are those of the least-squares line
through all blocks so far (the growing-memory filter of E. Brookner, "Tracking and Kalman Filtering Made Easy", 1998,
section 1.2.10), which fall until they reach the loop's: it locks as fast as the times allow, then narrows.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["SHIFTS", "SHIFT_NS", "Timeline", "expected_ns", "observe", "restart"]

# Places in `values` (float64).
_NOMINAL_NS, _BLOCK_NS, _PHASE_NS, SLOPE, _AT_NS = range(5)
_EARLIEST_NS, _DEVIATION_NS, _PENDING_NS, SHIFT_NS, _STEPPED_AT_NS, _VALUES = range(5, 11)
# Places in `marks` (int64).
_ANCHOR_INDEX, _ANCHOR_NS, _BLOCK_END_NS, _IN_BLOCK, BLOCKS, SHIFTS, _SAME_WAY, _MARKS = range(8)

_BLOCK_NS_LEAST = 100e6
_BLOCK_TICKS = 8
"""At least so many times in a block: the earliest of fewer says little."""
_BANDWIDTH_HZ = 0.006
"""Once locked. A crystal that warms up by 0.1 ppm in a second is followed to within 70 us."""
_SLOPE_LIMIT = 700e-6
"""No two clocks that are worth playing on are further apart; keeps the first blocks' slope in bounds."""
_STEP_NS = 2e6
_STEP_DEVIATIONS = 8.0
"""Further off the line than this is a step (another route, a sender that stalled), not noise."""
_SETTLED_BLOCKS = 5
"""Before so many blocks the line is too young to tell a step from noise."""
_BLOCKS_AFTER_RESTART = 20
_DEVIATION_LEAST_NS = 10e3
_DEVIATION_STEP = 1.02
_INFLUENCE_DEVIATIONS = 4.0
"""What a block can do to the rate is that of an error of so many deviations: a queue that fills is no other clock."""
_STEPS_APART_NS = (2e9, 60e9)
_STEPS_ARE_DRIFT = 3
"""After so many steps in one direction at such intervals it is another clock: the loop opens up to find its rate."""


class Timeline:
    """Follows the lower edge of ``time_ns - index * nominal_ns``.

    Parameters
    ----------
    nominal_ns
        Time from one index to the next by the clock's nominal rate.
    ticks_per_index
        How many observations an index stands for; below 1 when indices are counted in samples.

    Attributes
    ----------
    values : float64, marks : int64
        The state, for the kernels here.
    """

    def __init__(self, nominal_ns: float, ticks_per_index: float = 1.0) -> None:
        self.values: NDArray[np.float64] = np.zeros(_VALUES)
        self.marks: NDArray[np.int64] = np.zeros(_MARKS, np.int64)
        self.values[_NOMINAL_NS] = nominal_ns
        self.values[_BLOCK_NS] = max(_BLOCK_NS_LEAST, _BLOCK_TICKS * nominal_ns / ticks_per_index)
        self.marks[BLOCKS] = -1
        observe(self.values.copy(), self.marks.copy(), 0, 0)
        restart(self.values.copy(), self.marks.copy(), 0, 0)
        expected_ns(self.values, self.marks, 0)

    def reset(self) -> None:
        """Forget everything but what the line was made for."""
        self.values[_PHASE_NS:] = 0
        self.marks.fill(0)
        self.marks[BLOCKS] = -1

    def observe(self, index: int, time_ns: int) -> float:
        """Take note that ``index`` happened at ``time_ns``; return how long after the line that was, in ns."""
        return float(observe(self.values, self.marks, index, time_ns))

    def expected_ns(self, index: int) -> int:
        """When ``index`` happens at the earliest, on the clock of the observed times."""
        return int(expected_ns(self.values, self.marks, index))

    @property
    def rate(self) -> float:
        """How many times as fast as nominal the clock behind the line runs, by the clock of the observed times."""
        return 1.0 / (1.0 + self.values.item(SLOPE))

    @property
    def blocks(self) -> int:
        """Blocks that the line rests on; -1 before the first time. Before some 20 (2 s) the rate means nothing."""
        return self.marks.item(BLOCKS)


@njit(cache=True, nogil=True)
def restart(values, marks, index, time_ns):  # type: ignore[no-untyped-def]
    """Begin anew with ``index`` at ``time_ns``, by the rate known so far."""
    if marks[BLOCKS] < 0:
        values[SLOPE] = 0.0
    values[_PHASE_NS] = 0.0
    values[_AT_NS] = 0.0
    values[_PENDING_NS] = 0.0
    marks[_ANCHOR_INDEX] = index
    marks[_ANCHOR_NS] = time_ns
    marks[BLOCKS] = min(max(marks[BLOCKS], 0), _BLOCKS_AFTER_RESTART)
    _next_block(values, marks, time_ns)


@njit(cache=True, nogil=True)
def expected_ns(values, marks, index):  # type: ignore[no-untyped-def]
    """See `Timeline.expected_ns`."""
    x = (index - marks[_ANCHOR_INDEX]) * values[_NOMINAL_NS]
    return marks[_ANCHOR_NS] + np.int64(np.rint(x + values[_PHASE_NS] + values[SLOPE] * (x - values[_AT_NS])))


@njit(cache=True, nogil=True)
def observe(values, marks, index, time_ns):  # type: ignore[no-untyped-def]
    """See `Timeline.observe`. ``marks[SHIFTS]`` counts steps, ``values[SHIFT_NS]`` is the size of the last one."""
    if marks[BLOCKS] < 0:
        restart(values, marks, index, time_ns)
    x = (index - marks[_ANCHOR_INDEX]) * values[_NOMINAL_NS]
    predicted_ns = values[_PHASE_NS] + values[SLOPE] * (x - values[_AT_NS])
    late_ns = (time_ns - marks[_ANCHOR_NS]) - x - predicted_ns
    if marks[_IN_BLOCK] == 0 or late_ns < values[_EARLIEST_NS]:
        values[_EARLIEST_NS] = late_ns
    marks[_IN_BLOCK] += 1
    if time_ns >= marks[_BLOCK_END_NS] and (marks[_IN_BLOCK] >= _BLOCK_TICKS // 2 or marks[BLOCKS] == 0):
        _close_block(values, marks, x)
        _next_block(values, marks, time_ns)
    return late_ns


@njit(cache=True, nogil=True)
def _next_block(values, marks, time_ns):  # type: ignore[no-untyped-def]
    marks[_IN_BLOCK] = 0
    marks[_BLOCK_END_NS] = time_ns + np.int64(values[_BLOCK_NS])


@njit(cache=True, nogil=True)
def _close_block(values, marks, x):  # type: ignore[no-untyped-def]
    """Correct the line by the block's earliest time, ``values[_EARLIEST_NS]`` after it; the block ends at ``x``."""
    elapsed_ns = max(x - values[_AT_NS], values[_BLOCK_NS])
    values[_PHASE_NS] += values[SLOPE] * (x - values[_AT_NS])
    values[_AT_NS] = x
    error_ns = values[_EARLIEST_NS]
    k = marks[BLOCKS]
    step_ns = max(_STEP_NS, _STEP_DEVIATIONS * values[_DEVIATION_NS])
    if k >= _SETTLED_BLOCKS and abs(error_ns) > step_ns:
        # Nothing comes before its time: earlier is believed at once. Later may be a queue that will drain again.
        pending_ns = values[_PENDING_NS]
        values[_PENDING_NS] = error_ns
        if error_ns < 0.0 or (pending_ns > 0.0 and abs(error_ns - pending_ns) < max(0.25 * error_ns, 0.5 * step_ns)):
            _step(values, marks, x, error_ns)
        return
    values[_PENDING_NS] = 0.0
    w = 2.0 * np.pi * _BANDWIDTH_HZ * values[_BLOCK_NS] * 1e-9
    steps = (k + 1.0) * (k + 2.0)
    values[_PHASE_NS] += max(2.0 * (2.0 * k + 1.0) / steps, np.sqrt(2.0) * w) * error_ns
    size_ns = abs(error_ns)
    if k < _BLOCKS_AFTER_RESTART:
        values[_DEVIATION_NS] += (size_ns - values[_DEVIATION_NS]) / (k + 1)
    else:
        most_ns = _INFLUENCE_DEVIATIONS * max(values[_DEVIATION_NS], _DEVIATION_LEAST_NS)
        error_ns = min(max(error_ns, -most_ns), most_ns)
        # Towards the median, by steps: one error's size does not matter.
        values[_DEVIATION_NS] *= _DEVIATION_STEP if size_ns > values[_DEVIATION_NS] else 1.0 / _DEVIATION_STEP
        values[_DEVIATION_NS] = max(values[_DEVIATION_NS], _DEVIATION_LEAST_NS)
    if k > 0:
        slope = values[SLOPE] + max(6.0 / steps, w * w) * error_ns / elapsed_ns
        values[SLOPE] = min(max(slope, -_SLOPE_LIMIT), _SLOPE_LIMIT)
    marks[BLOCKS] = k + 1


@njit(cache=True, nogil=True)
def _step(values, marks, x, error_ns):  # type: ignore[no-untyped-def]
    """Move the line at once."""
    again = values[SHIFT_NS] * error_ns > 0.0
    apart_ns = x - values[_STEPPED_AT_NS]
    drifts = again and _STEPS_APART_NS[0] <= apart_ns <= _STEPS_APART_NS[1]
    marks[_SAME_WAY] = marks[_SAME_WAY] + 1 if drifts else 0
    if marks[_SAME_WAY] >= _STEPS_ARE_DRIFT:
        marks[_SAME_WAY] = 0
        marks[BLOCKS] = min(marks[BLOCKS], _BLOCKS_AFTER_RESTART)
    values[_PHASE_NS] += error_ns
    values[_PENDING_NS] = 0.0
    values[SHIFT_NS] = error_ns
    values[_STEPPED_AT_NS] = x
    marks[SHIFTS] += 1
