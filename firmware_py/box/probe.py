"""Measures latency with a click: through our own device and back, and through the peer and back."""

from enum import IntEnum

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["LatencyProbe", "Route"]

_CLICK = np.float32(0.9)
_CLICK_SAMPLES = 4
_QUIETEST = 0.004
"""-48 dB under full scale: quieter, and what is heard is no click of ours."""
_OVER_NOISE = 4.0


class Route(IntEnum):
    """The way that the click takes."""

    DEVICE = 0
    """Playback to capture, by a cable or through the air."""
    NETWORK = 1
    """Sent to the peer, who sends back what it plays (or its microphone hears)."""


class LatencyProbe:
    """Clicks, and listens for them. On the audio thread: nothing is allocated once it is made.

    Every second: listens to how loud it is without a click, clicks, and takes the first thing far louder. Results are
    samples between the click's leaving and its return at the same place, so periods of the device and buffers at both
    ends are in them.

    Parameters
    ----------
    sample_rate_hz
    clicks
        How many per route.

    Attributes
    ----------
    results : int64 [shape=(2, clicks)]
        Samples by `Route`; -1: not heard.
    done : bool
        Whether all clicks were made.
    """

    def __init__(self, sample_rate_hz: int, clicks: int = 5) -> None:
        self.results = np.full((len(Route), clicks), -1, np.int64)
        self._cycle_samples = sample_rate_hz
        self._click_at = sample_rate_hz // 5
        self._position = 0
        self._count = 0
        self._noise = 0.0
        self._clicks = clicks
        self.done = False
        _loudest_at(np.zeros((1, 1), np.float32), 0, np.float32(1.0))

    def period(self, captured: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Take part in a period.

        Parameters
        ----------
        captured : float32 [shape=(n, channels)]
            What was captured; replaced by what is sent.
        out : float32 [shape=(n, channels)]
            What came from the peer; replaced by what is played.
        """
        if self.done:
            captured.fill(0)
            out.fill(0)
            return
        route, click = divmod(self._count, self._clicks)
        self._listen(captured if route == Route.DEVICE else out, route, click)
        captured.fill(0)
        out.fill(0)
        self._speak(out if route == Route.DEVICE else captured)

    def median_samples(self, route: Route) -> int:
        """The median over the clicks that were heard; 0: none was."""
        heard = sorted(samples for samples in self.results[route].tolist() if samples >= 0)
        return heard[len(heard) // 2] if heard else 0

    def _listen(self, ear: NDArray[np.float32], route: int, click: int) -> None:
        if self._position < self._click_at:
            if self._position > self._click_at // 2:
                self._noise = max(self._noise, float(_loudest_at(ear, 1, np.float32(0.0))))
        elif self.results[route, click] < 0:
            threshold = max(_QUIETEST, _OVER_NOISE * self._noise)
            place = int(_loudest_at(ear, 0, np.float32(threshold)))
            if place >= 0:
                self.results[route, click] = self._position + place - self._click_at

    def _speak(self, mouth: NDArray[np.float32]) -> None:
        samples = mouth.shape[0]
        begin = max(0, self._click_at - self._position)
        end = min(samples, self._click_at + _CLICK_SAMPLES - self._position)
        if begin < end:
            mouth[begin:end] = _CLICK
        self._position += samples
        if self._position >= self._cycle_samples:
            self._position = 0
            self._noise = 0.0
            self._count += 1
            self.done = self._count == self._clicks * len(Route)


@njit(cache=True, nogil=True)
def _loudest_at(block, loudest, threshold):  # type: ignore[no-untyped-def]
    """Place of the first sample of ``block`` above ``threshold``, or -1; with ``loudest``, the largest magnitude."""
    peak = np.float32(0.0)
    for j in range(block.shape[0]):
        for channel in range(block.shape[1]):
            level = abs(block[j, channel])
            if loudest == 0 and level > threshold:
                return np.float64(j)
            peak = max(peak, level)
    return np.float64(peak) if loudest else -1.0
