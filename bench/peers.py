"""What others do: the textbook's Burg method and its O(p^2) reformulation, in double precision."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["PlainBurg", "VectorBurg", "VosBurg"]


def _plain_burg(x, forward, backward, polynomial, previous):  # type: ignore[no-untyped-def]
    n, order = x.shape[0], polynomial.shape[0] - 1
    for j in range(n):
        forward[j] = x[j]
        backward[j] = x[j]
    polynomial[0] = 1.0
    for i in range(1, order + 1):
        polynomial[i] = 0.0
    for stage in range(order):
        numerator = 0.0
        denominator = 0.0
        for j in range(stage + 1, n):
            numerator += forward[j] * backward[j - 1]
            denominator += forward[j] * forward[j] + backward[j - 1] * backward[j - 1]
        k = -2.0 * numerator / denominator if denominator > 0.0 else 0.0
        for i in range(stage + 1):
            previous[i] = polynomial[i]
        for i in range(1, stage + 1):
            polynomial[i] = previous[i] + k * previous[stage + 1 - i]
        polynomial[stage + 1] = k
        for j in range(n - 1, stage, -1):
            f = forward[j]
            forward[j] = f + k * backward[j - 1]
            backward[j] = backward[j - 1] + k * f


@njit(fastmath=True)
def _sums(forward, backward, pairs):  # type: ignore[no-untyped-def]
    numerator = 0.0
    denominator = 0.0
    for j in range(pairs):
        numerator += forward[j] * backward[j]
        denominator += forward[j] * forward[j] + backward[j] * backward[j]
    return numerator, denominator


@njit(fastmath=True)
def _update(forward, backward, pairs, k):  # type: ignore[no-untyped-def]
    """The forward errors move one place down, so that the pairs of the next stage share an index."""
    for j in range(pairs - 1):
        f = forward[j + 1] + k * backward[j + 1]
        backward[j] += k * forward[j]
        forward[j] = f


@njit
def _vector_burg(x, forward, backward, polynomial, previous):  # type: ignore[no-untyped-def]
    pairs, order = x.shape[0] - 1, polynomial.shape[0] - 1
    forward[:pairs] = x[1:]
    backward[:pairs] = x[:pairs]
    polynomial[:] = 0.0
    polynomial[0] = 1.0
    for stage in range(order):
        numerator, denominator = _sums(forward, backward, pairs)
        k = -2.0 * numerator / denominator if denominator > 0.0 else 0.0
        previous[: stage + 2] = polynomial[: stage + 2]
        for i in range(stage + 2):
            polynomial[i] = previous[i] + k * previous[stage + 1 - i]
        _update(forward, backward, pairs, k)
        pairs -= 1


def _vos(x, lags, polynomial, g, r, scratch):  # type: ignore[no-untyped-def]
    """Burg by recursions on g = R a, where R is the covariance that the numerator and denominator are forms of.

    ``r`` is row 0 of R, ``u`` and ``v`` are the samples that leave R at either end with each stage.
    """
    last, order = x.shape[0] - 1, polynomial.shape[0] - 1
    for i in range(order + 1):
        polynomial[i] = 0.0
    polynomial[0] = 1.0
    g[0] = 2.0 * lags[0] - x[0] * x[0] - x[last] * x[last]
    g[1] = 2.0 * lags[1]
    r[1] = 2.0 * lags[1]
    for stage in range(order):
        numerator = 0.0
        denominator = 0.0
        for i in range(stage + 1):
            numerator += polynomial[i] * g[stage + 1 - i]
            denominator += polynomial[i] * g[i]
        k = -numerator / denominator if denominator > 0.0 else 0.0
        for i in range(stage + 2):
            scratch[i] = polynomial[i] + k * polynomial[stage + 1 - i]
        for i in range(stage + 2):
            polynomial[i] = scratch[i]
        if stage == order - 1:
            break
        along_u = 0.0
        along_v = 0.0
        for i in range(stage + 2):
            along_u += x[stage + 1 - i] * polynomial[i]
            along_v += x[last - stage - 1 + i] * polynomial[i]
        for i in range(stage + 2):
            scratch[i] = g[i] + k * g[stage + 1 - i] - x[stage + 1 - i] * along_u - x[last - stage - 1 + i] * along_v
        for i in range(stage + 2):
            g[i] = scratch[i]
        for s in range(1, stage + 2):
            r[s] -= x[stage + 1] * x[stage + 1 - s] + x[last - stage - 1] * x[last - stage - 1 + s]
        r[stage + 2] = 2.0 * lags[stage + 2]
        total = 0.0
        for i in range(stage + 2):
            total += r[stage + 2 - i] * polynomial[i]
        g[stage + 2] = total


class PlainBurg:
    """Burg's method as textbooks have it (S. L. Marple, "Digital Spectral Analysis", 1987), in float64."""

    _kernel = staticmethod(njit(_plain_burg))

    def __init__(self, order: int, context_samples: int) -> None:
        self._forward, self._backward = np.zeros((2, context_samples))
        self.polynomial, self._previous = np.zeros((2, order + 1))

    def fit(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 1, a1, ... of A(z) [shape=(order + 1,)] for ``x`` [shape=(context_samples,)]; reused by the next."""
        self._kernel(x, self._forward, self._backward, self.polynomial, self._previous)
        return self.polynomial


class VectorBurg(PlainBurg):
    """The same in two loops that the compiler turns into vector instructions: what care alone gains in double."""

    _kernel = staticmethod(_vector_burg)


class VosBurg:
    """K. Vos, "A Fast Implementation of Burg's Method" (2013): the same result in O(order^2 + context log context)."""

    def __init__(self, order: int, context_samples: int) -> None:
        self._kernel = njit(_vos, fastmath=True)
        self._fft_samples = 1 << (context_samples + order).bit_length()
        self.polynomial, self._g, self._r, self._scratch = np.zeros((4, order + 1))

    def fit(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """As `PlainBurg.fit`."""
        spectrum = np.fft.rfft(x, self._fft_samples)
        lags = np.fft.irfft(spectrum.real**2 + spectrum.imag**2)
        self._kernel(x, lags, self.polynomial, self._g, self._r, self._scratch)
        return self.polynomial
