"""Autocorrelation and Levinson-Durbin: the paper's predictor (000, section II)."""

import numpy as np
from numba import njit

__all__ = ["autocorrelation", "levinson_durbin"]


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"}, nogil=True)
def autocorrelation(context, lags):  # type: ignore[no-untyped-def]
    """Write the biased autocorrelation of ``context`` [float32, (n,)] into ``lags`` [float64, shape=(order + 1,)]."""
    n = context.shape[0]
    for lag in range(lags.shape[0]):
        total = 0.0
        for j in range(n - lag):
            total += np.float64(context[j]) * np.float64(context[j + lag])
        lags[lag] = total


@njit(cache=True, nogil=True)
def levinson_durbin(lags, load, polynomial, previous, mirrored):  # type: ignore[no-untyped-def]
    """Solve the Yule-Walker equations (Levinson 1947, Durbin 1960).

    Parameters
    ----------
    lags : float64 [shape=(order + 1,)], autocorrelation
    load : float, added to lag 0 relative to it (diagonal loading)
    polynomial, previous : float64 [shape=(order + 1,)], the result 1, a1, ... of A(z), and scratch
    mirrored : float32 [shape=(order + 1,)], out: the coefficients, oldest sample first

    A silent context gives all-zero coefficients after the leading 1. Raises nothing.
    """
    order = lags.shape[0] - 1
    error = lags[0] * (1.0 + load) + 1e-12
    polynomial[0] = 1.0
    for i in range(1, order + 1):
        total = lags[i]
        for j in range(1, i):
            total += polynomial[j] * lags[i - j]
        k = -total / error
        for j in range(i):
            previous[j] = polynomial[j]
        for j in range(1, i):
            polynomial[j] = previous[j] + k * previous[i - j]
        polynomial[i] = k
        error *= 1.0 - k * k
    for j in range(order + 1):
        mirrored[j] = polynomial[order - j]
