"""Between the stream's clock and the device's: estimates how far apart they are, and resamples."""

import numpy as np
from numpy.typing import NDArray

from ..rt.drift import DriftEstimator
from ..rt.playout import Playout
from ..rt.resampler import Resampler
from ..rt.spec import StreamSpec

__all__ = ["Steering"]


class Steering:
    """Packets of the peer's clock in, samples of the device's clock out; bit by bit the same when off.

    Parameters
    ----------
    spec
        Format of the stream.
    playout
        Prepared; with ``resampled`` as ``enabled`` here.
    period_samples
        What the device moves at once.
    enabled
        Whether to follow the peer's clock. The drift is estimated in any case.
    """

    def __init__(self, spec: StreamSpec, playout: Playout, period_samples: int, *, enabled: bool) -> None:
        self._playout = playout
        self._period_samples = period_samples
        self._estimator = DriftEstimator()
        self._estimator.prepare(spec, playout.arrivals, period_samples)
        self._resampler = Resampler()
        self._resampler.prepare(spec, enabled)
        self._taken_samples = 0
        self._ratio = 1.0

    @property
    def samples(self) -> int:
        """How many samples the last `process` returned."""
        return self._resampler.samples

    @property
    def drift_ppb(self) -> int:
        """Clock of the peer against the device's, parts per 10^9, positive when it is faster; 0 while not known."""
        return self._estimator.drift_ppb

    def period(self, now_ns: int, gap_samples: int) -> None:
        """A period of the device begins, after ``gap_samples`` that passed while it stood still."""
        self._taken_samples += gap_samples
        self._ratio = self._estimator.period(now_ns, self._taken_samples, self._playout.excess_samples)
        self._taken_samples += self._period_samples

    def process(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what to play for ``block`` [shape=(packet_samples, channels)]: the first `samples` of it."""
        return self._resampler.process(block, self._ratio)
