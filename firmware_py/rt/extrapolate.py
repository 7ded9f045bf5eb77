"""Run a linear predictor forward, bounded whatever the coefficients are."""

import numpy as np
from numba import njit

__all__ = ["bounded_context", "extrapolate"]

LOUDEST_SAMPLE = 64.0
"""Float audio above +36 dBFS is garbage, not music: such samples count as damaged, as do NaN and infinities."""
QUIETEST_PEAK = 1e-8
"""A context that stays under -160 dBFS is silence: below 24-bit resolution, and float32 would run into denormals."""


@njit(cache=True, nogil=True)
def bounded_context(context, scaled):  # type: ignore[no-untyped-def]
    """Copy ``context`` into ``scaled`` [both float32, shape=(n,)] with peak 1 and damaged samples as zeros.

    Returns the peak that was divided out, or 0.0 for silence (``scaled`` is then all zeros). No fast-math here: it
    would let the compiler assume that there is no NaN to look for.
    """
    peak = np.float32(0.0)
    for j in range(context.shape[0]):
        size = abs(context[j])
        if size <= LOUDEST_SAMPLE:
            peak = max(peak, size)
    gain = np.float32(1.0) / peak if peak > QUIETEST_PEAK else np.float32(0.0)
    for j in range(context.shape[0]):
        scaled[j] = context[j] * gain if abs(context[j]) <= LOUDEST_SAMPLE else np.float32(0.0)
    return peak if gain > 0.0 else np.float32(0.0)


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"}, nogil=True)  # "nnan" would optimise the NaN check below away
def _weighted_sum(coefficients, samples, order):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for j in range(order):
        total += coefficients[j] * samples[j]
    return total


@njit(cache=True, nogil=True)
def extrapolate(scaled, mirrored, bound, gain, line, out):  # type: ignore[no-untyped-def]
    """Write the predictor's continuation of ``scaled`` into ``out``.

    Parameters
    ----------
    scaled : float32 [shape=(n,)], context with peak 1, newest sample last
    mirrored : float32 [shape=(order + 1,)], coefficients of A(z), oldest sample first; the last is 1
    bound : float32, no predicted sample exceeds it in size: a diverging predictor is held, not followed
    gain : float32, multiplies what is written (the context's peak)
    line : float32 [shape=(order + m,)], scratch
    out : float32 [shape=(m,)]
    """
    order = mirrored.shape[0] - 1
    start = scaled.shape[0] - order
    for j in range(order):
        line[j] = scaled[start + j]
    for t in range(out.shape[0]):
        sample = -_weighted_sum(mirrored, line[t:], order)
        if not abs(sample) <= bound:  # also true for NaN
            sample = np.float32(0.0) if sample != sample else np.copysign(bound, sample)  # noqa: PLR0124
        line[order + t] = sample
        out[t] = sample * gain
