"""Music repeats itself: where in the last seconds the sound was most like now, and how it went on there.

A linear predictor cannot know of an onset; a drum machine, a loop or a steady beat has played it before. The search
runs at a loss only, and keeps no state:

* coarse: the history, averaged over 16 samples and differentiated (else the bass decides alone), is correlated with
  its own last 93 ms (at 44.1 kHz) at every lag, and again with the last 93 ms averaged half a step earlier, for lags
  that fall between; the four best lags that are no neighbours stay;
* fine: at full rate, within 24 samples of those, the lag whose last 46 ms correlate best.

In a burst what was concealed last is no music: "last" is what was last received, and the lag found there goes on.

Waveform substitution is as old as packet speech (D. Goodman et al., IEEE Trans. ASSP 34 (1986) 1440); here what is
found is no replacement by itself but a second opinion for the refiner.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .refinement import PREDICT_SAMPLES

__all__ = ["HISTORY_SAMPLES", "Repetition"]

HISTORY_SAMPLES = 262_144
"""That is looked through: 5.9 s at 44.1 kHz."""
DECIMATION = 16
COARSE_TEMPLATE = 256
FINE_TEMPLATE = 2048
FINE_REACH = 24
CANDIDATES = 4
APART = 8
"""Coarse lags nearer than this are the same candidate."""
LONGEST_HIDDEN = 32_768
"""More concealed samples at the end than this are taken for music; 0.74 s at 44.1 kHz."""
LOUDEST_GAIN = 1.25
"""A repetition may be brought up to the present level by so much."""


class Repetition:
    """Finds the most similar past; one object serves one channel."""

    def prepare(self, past_samples: int) -> None:
        """Allocate, and compile by a first run, for repetitions that begin ``past_samples`` before the present."""
        self._past = past_samples
        self._coarse = np.zeros(HISTORY_SAMPLES // DECIMATION, np.float32)
        self._templates = np.zeros((2, COARSE_TEMPLATE), np.float32)
        self._scores = np.zeros(HISTORY_SAMPLES // DECIMATION, np.float32)
        self._best = np.zeros(CANDIDATES, np.int64)
        zeros = np.zeros(HISTORY_SAMPLES, np.float32)
        self.find(zeros, zeros, np.zeros(past_samples + PREDICT_SAMPLES, np.float32))

    def find(self, history: NDArray[np.float32], concealed: NDArray[np.float32], out: NDArray[np.float32]) -> float:
        """Write the repetition into ``out`` and say how like the present it is.

        Parameters
        ----------
        history : [shape=(HISTORY_SAMPLES,), newest last]
        concealed : [shape=(HISTORY_SAMPLES,)], 1 where a sample was not received
        out : [shape=(past_samples + 1024,)], receives what was played then, at the present level: as much past as there
            is before the prediction, and how it went on

        Returns
        -------
        Correlation of the last 46 ms received with those then, 0 to 1; 0: nothing like it, and ``out`` is zeros.
        """
        hidden = _hidden(concealed)
        _decimate(history, 0, self._coarse)
        for template, earlier in zip(self._templates, (0, DECIMATION // 2), strict=True):
            _decimate(history, HISTORY_SAMPLES - hidden - COARSE_TEMPLATE * DECIMATION - earlier, template)
        _correlate(self._coarse, self._templates, self._past // DECIMATION + 3, hidden // DECIMATION, self._scores)
        _choose(self._scores, self._best)
        return float(_copy(history, hidden, self._best, self._past, out))


@njit(cache=True, nogil=True)
def _hidden(concealed):  # type: ignore[no-untyped-def]
    """How many samples at the end were not received, in whole steps of 16."""
    samples = 0
    while samples < LONGEST_HIDDEN and concealed[concealed.shape[0] - 1 - samples] > 0.5:
        samples += 1
    return -(-samples // DECIMATION) * DECIMATION


@njit(cache=True, nogil=True)
def _decimate(history, start, coarse):  # type: ignore[no-untyped-def]
    """Sums of 16 samples from ``start`` on, each less the one before."""
    before = np.float32(0.0)
    for j in range(start - DECIMATION, start):
        before += history[max(j, 0)]
    for i in range(coarse.shape[0]):
        total = np.float32(0.0)
        for j in range(DECIMATION):
            total += history[start + i * DECIMATION + j]
        coarse[i] = total - before
        before = total


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"}, nogil=True)
def _dot(a, b, samples):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for j in range(samples):
        total += a[j] * b[j]
    return total


@njit(cache=True, nogil=True)
def _correlate(coarse, templates, first, hidden, scores):  # type: ignore[no-untyped-def]
    """``scores`` at p: correlation coefficient of a template with what begins at ``coarse[p]``; 0: not allowed."""
    # what went on until after the prediction must have been received
    last = coarse.shape[0] - COARSE_TEMPLATE - PREDICT_SAMPLES // DECIMATION - 3 - 2 * hidden
    wanted = _dot(templates[0], templates[0], COARSE_TEMPLATE)
    scores[:] = np.float32(0.0)
    energy = 0.0
    for j in range(first, first + COARSE_TEMPLATE):
        energy += coarse[j] * coarse[j]
    least = 1e-6 * wanted + 1e-12
    for p in range(first, last):
        common = max(_dot(coarse[p:], templates[0], COARSE_TEMPLATE), _dot(coarse[p:], templates[1], COARSE_TEMPLATE))
        scores[p] = common / np.sqrt(max(energy, least) * (wanted + 1e-12))
        energy += coarse[p + COARSE_TEMPLATE] * coarse[p + COARSE_TEMPLATE] - coarse[p] * coarse[p]


@njit(cache=True, nogil=True)
def _choose(scores, best):  # type: ignore[no-untyped-def]
    """Places of the highest ``scores``, neighbours counted once; -1 for none."""
    for n in range(best.shape[0]):
        best[n] = -1
        highest = np.float32(0.0)
        for p in range(scores.shape[0]):
            if scores[p] > highest:
                near = False
                for m in range(n):
                    near |= abs(p - best[m]) < APART
                if not near:
                    highest, best[n] = scores[p], p


@njit(cache=True, nogil=True)
def _copy(history, hidden, best, past, out):  # type: ignore[no-untyped-def]
    samples = history.shape[0]
    received = samples - hidden
    now = history[received - FINE_TEMPLATE :]
    wanted = _dot(now, now, FINE_TEMPLATE)
    match, gain, lag = np.float32(0.0), np.float32(0.0), 0
    for n in range(best.shape[0]):
        if best[n] < 0:
            continue
        about = (received // DECIMATION - COARSE_TEMPLATE - best[n]) * DECIMATION
        for candidate in range(about - FINE_REACH, about + FINE_REACH + 1):
            then = history[received - FINE_TEMPLATE - candidate :]
            common = _dot(now, then, FINE_TEMPLATE)
            energy = _dot(then, then, FINE_TEMPLATE)
            if common > 0.0 and energy > 1e-6 * wanted and common > match * np.sqrt(energy * wanted):
                match = common / np.sqrt(energy * wanted)
                gain, lag = min(common / energy, np.float32(LOUDEST_GAIN)), candidate
    start = samples - lag - past
    for j in range(out.shape[0]):
        out[j] = gain * history[start + j] if match > 0.0 else np.float32(0.0)
    return min(match, np.float32(1.0))
