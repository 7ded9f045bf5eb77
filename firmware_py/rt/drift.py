"""How fast the peer's clock runs against our device's, and what ratio to resample by.

Two lines (`timeline.Timeline`) are followed against the system's clock: when packets leave the peer, and when our
device's periods begin. The system's clock cancels out. Because the estimate comes from the lines alone, it does not
care what the jitter buffer does, and a wrong buffer depth is a second, slower matter: the ratio leans a little, until
the buffer's delay is what is wanted. (zita-ajbridge and zita-njbridge of F. Adriaensen close one loop over both; apart,
a buffer that is made deeper at once does not bend the pitch.)
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .spec import StreamSpec
from .timeline import BLOCKS, SLOPE, Timeline, observe

__all__ = ["DriftEstimator", "steer"]

_KNOWN_BLOCKS = 20
"""So many blocks (2 s) of both lines, before the ratio follows."""
_DRIFT_LIMIT = 500e-6
_LEAN_LIMIT = 100e-6
"""A sixth of a cent."""
_LEAN_NS = 10e9
"""Time in which the lean would make up for the buffer's excess."""
_SMOOTH_NS = 1e9
"""Time constant of each of two low passes in a row, so that neither the ratio nor its slope ever jumps."""
_RATIO_PER_NS = 60e-6 / 1e9
"""The ratio moves by at most 60 ppm in a second, a tenth of a cent."""

# Places in `_values` (float64).
_NS_PER_SAMPLE, RATIO, DRIFT, _SMOOTHED, _SMOOTHER, _LAST_SAMPLES, _STARTED, _VALUES = range(8)


class DriftEstimator:
    """Estimates the drift and steers the resampler. `period` allocates nothing."""

    def prepare(self, spec: StreamSpec, arrivals: Timeline, period_samples: int) -> None:
        """Allocate and compile.

        Parameters
        ----------
        spec
            Format of the stream.
        arrivals
            `playout.Playout.arrivals`.
        period_samples
            Of the device.
        """
        ns_per_sample = 1e9 / spec.sample_rate_hz
        self._arrivals = arrivals
        self._periods = Timeline(ns_per_sample, 1.0 / period_samples)
        self._values: NDArray[np.float64] = np.zeros(_VALUES)
        self._values[_NS_PER_SAMPLE] = ns_per_sample
        self.reset()
        self.period(0, 0, 0.0)
        self.reset()

    def reset(self) -> None:
        """Forget the clocks."""
        self._values[_NS_PER_SAMPLE + 1 :] = 0
        self._values[RATIO] = 1.0
        self._periods.reset()

    def period(self, now_ns: int, samples: int, excess_samples: float) -> float:
        """A period of the device begins; return the ratio to resample by.

        Parameters
        ----------
        now_ns
            CLOCK_MONOTONIC, the clock of the packets' arrivals.
        samples
            How many samples the device has taken until now. Ever growing; when it stalls or is opened anew, just on.
        excess_samples
            `playout.Playout.excess_samples`.

        Returns
        -------
        float
            Samples of the peer per sample of ours, within 1 -+ 600 ppm.
        """
        return float(
            steer(
                self._values, self._periods.values, self._periods.marks, self._arrivals.values, self._arrivals.marks,
                now_ns, samples, excess_samples,
            )
        )  # fmt: skip

    @property
    def ratio(self) -> float:
        """As `period` last returned it."""
        return self._values.item(RATIO)

    @property
    def drift_ppb(self) -> int:
        """The peer's clock against our device's, parts per 10^9, positive when it is faster. 0 while not known."""
        return round(1e9 * self._values.item(DRIFT))


@njit(cache=True, nogil=True)
def steer(values, periods, period_marks, arrivals, arrival_marks, now_ns, samples, excess_samples):  # type: ignore[no-untyped-def]
    """See `DriftEstimator.period`."""
    observe(periods, period_marks, samples, now_ns)
    elapsed_ns = (samples - values[_LAST_SAMPLES]) * values[_NS_PER_SAMPLE]
    values[_LAST_SAMPLES] = samples
    if values[_STARTED] == 0.0:
        values[_STARTED] = 1.0
        return values[RATIO]
    if min(period_marks[BLOCKS], arrival_marks[BLOCKS]) < _KNOWN_BLOCKS:
        return values[RATIO]
    drift = (1.0 + periods[SLOPE]) / (1.0 + arrivals[SLOPE]) - 1.0
    values[DRIFT] = drift = min(max(drift, -_DRIFT_LIMIT), _DRIFT_LIMIT)
    lean = excess_samples * values[_NS_PER_SAMPLE] / _LEAN_NS
    wanted = drift + min(max(lean, -_LEAN_LIMIT), _LEAN_LIMIT)
    share = min(elapsed_ns / _SMOOTH_NS, 1.0)
    values[_SMOOTHED] += (wanted - values[_SMOOTHED]) * share
    values[_SMOOTHER] += (values[_SMOOTHED] - values[_SMOOTHER]) * share
    reach = _RATIO_PER_NS * elapsed_ns
    values[RATIO] += min(max(1.0 + values[_SMOOTHER] - values[RATIO], -reach), reach)
    return values[RATIO]
