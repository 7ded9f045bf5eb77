"""High-order Burg fit, fast enough for the audio budget.

Burg's method (J. P. Burg, 1967) finds one reflection coefficient per stage from the forward and backward errors of the
stage before. The textbook loop touches every error four times a stage in double precision. Here

* one pass per stage updates both errors in place *and* sums the next stage's numerator. The forward errors move one
  place down as they are written, so that the errors that meet in the next stage always share an index;
* the energies in the denominator follow from the lattice identity ``E' = E (1 - k^2)`` minus the sample that leaves,
  in double precision, and are summed anew now and then before rounding can build up;
* errors are float32 (the lattice is stable in single precision; the covariance recursion of Vos 2013 is not at these
  orders), which doubles the width of every vector instruction;
* the coefficients grow in double precision: in single precision the rounding of a thousand step-ups moves the poles of
  a clean tone out of the unit circle. They do so after the lattice, which then has the first-level cache to itself,
  and in two arrays, forward and reversed, so that every access is contiguous;
* an exponential window over the context costs nothing: it is folded into the two scalars of each stage.

``docs/prediction.md`` has the measurements, `bench` the ratios.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["aligned_float32", "aligned_float64", "burg_fit", "exponential_window"]

EXACT_STAGES = 32
"""The first stages take most of the energy out of a tonal signal: their energies are always summed anew."""
EXACT_EVERY = 16
"""Later stages: how often the energies are summed anew."""
EXACT_BELOW = 1e-2
"""They are also summed anew once they fell below this part of the last exact sum: what is left then is rounding."""
NOTHING_LEFT = 1e-20
"""The fit is perfect, and stops, when no more than this part of the energy is left: far below float32's rounding."""
PAGE_BYTES = 4096


def aligned_float32(samples: int) -> NDArray[np.float32]:
    """Zeros [shape=(samples,), float32] that start on a page.

    Vector loads that split cache lines cost 25 % here, and a load that follows a store to the same place in another
    page (two buffers a few hundred bytes apart modulo 4096) waits for it: another 10 %.
    """
    return _aligned_bytes(4 * samples).view(np.float32)


def aligned_float64(samples: int) -> NDArray[np.float64]:
    """`aligned_float32` in double precision."""
    return _aligned_bytes(8 * samples).view(np.float64)


def _aligned_bytes(count: int) -> NDArray[np.uint8]:
    raw = np.zeros(count + PAGE_BYTES, np.uint8)
    start = -raw.ctypes.data % PAGE_BYTES
    return raw[start : start + count]


def exponential_window(samples: int, decay: float) -> NDArray[np.float32]:
    """Square root of a weight that falls from 1 at the newest to exp(-decay) at the oldest sample [(samples,)]."""
    return np.exp(-0.5 * decay * np.linspace(1.0, 0.0, samples)).astype(np.float32)


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"}, nogil=True)
def _advance(forward, backward, pairs, to_forward, to_backward):  # type: ignore[no-untyped-def]
    """Pass both errors through one lattice stage in place; return the sum of their products for the next stage."""
    product = np.float32(0.0)
    for j in range(pairs):
        f = forward[j + 1] + to_forward * backward[j + 1]
        b = backward[j] + to_backward * forward[j]
        forward[j] = f
        backward[j] = b
        product += f * b
    return product


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"}, nogil=True)
def _energy(error, pairs):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for j in range(pairs):
        total += error[j] * error[j]
    return total


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"}, nogil=True)
def _step_up(polynomial, reverse, length, k):  # type: ignore[no-untyped-def]
    """Levinson step-up: the order grows by one in the polynomial and in its mirror image together."""
    for j in range(length):
        p = polynomial[j]
        r = reverse[j]
        polynomial[j] = p + k * r
        reverse[j] = r + k * p


@njit(cache=True, nogil=True)
def _polynomial_of(reflection, polynomial, reverse):  # type: ignore[no-untyped-def]
    order = reflection.shape[0]
    polynomial[:] = 0.0
    reverse[:] = 0.0
    polynomial[0] = 1.0
    reverse[order] = 1.0
    for stage in range(order):
        _step_up(polynomial, reverse[order - stage - 1 :], stage + 2, reflection[stage])


@njit(cache=True, nogil=True)
def burg_fit(context, window, forward, backward, reflection, polynomial, reverse, mirrored):  # type: ignore[no-untyped-def]
    """Fit the linear predictor that minimises forward plus backward error (Burg), with a weight on each error.

    Parameters
    ----------
    context : float32 [shape=(n,)], newest sample last, about full scale 1 (bounded and finite: the caller sees to it)
    window : float32 [shape=(n,)], `exponential_window`; its square weighs the error at that sample
    forward, backward : float32 [shape=(n,)], scratch
    reflection : float64 [shape=(order,)], out: the reflection coefficients
    polynomial : float64 [shape=(order + 1,)], out: 1, a1, ... of A(z); prediction is -sum(a[i] x[t - i])
    reverse : float64 [shape=(order + 1,)], scratch
    mirrored : float32 [shape=(order + 1,)], out: the same coefficients, oldest sample first

    A silent context gives all-zero coefficients after the leading 1. Raises nothing; needs ``order < n - 1``. Every
    reflection coefficient is at most 1 in size, as exact arithmetic would have it.
    """
    order = polynomial.shape[0] - 1
    pairs = context.shape[0] - 1
    growth = np.float64(window[pairs]) / np.float64(window[pairs - 1])
    product = 0.0
    for j in range(pairs):
        forward[j] = window[j + 1] * context[j + 1]
        backward[j] = window[j + 1] * context[j]
        product += forward[j] * backward[j]
    forward_energy = np.float64(_energy(forward, pairs))
    backward_energy = np.float64(_energy(backward, pairs))
    exact_energy = forward_energy + backward_energy
    least_energy = NOTHING_LEFT * exact_energy
    reflection[:] = 0.0
    scale = 1.0  # the window's growth per stage, kept out of the stored backward error
    for stage in range(order):
        energy = forward_energy + backward_energy
        if energy <= least_energy:
            break
        k = min(1.0, max(-1.0, -2.0 * product / energy))
        reflection[stage] = k
        if stage == order - 1:
            break
        leaving_forward = forward[0] + k * scale * backward[0]
        leaving_backward = scale * backward[pairs - 1] + k * forward[pairs - 1]
        pairs -= 1
        next_product = np.float64(_advance(forward, backward, pairs, np.float32(k * scale), np.float32(k / scale)))
        scale *= growth
        cross = 2.0 * k * product
        kept_forward = forward_energy + cross + k * k * backward_energy - leaving_forward**2
        kept_backward = backward_energy + cross + k * k * forward_energy - leaving_backward**2
        forward_energy = kept_forward
        backward_energy = growth * growth * kept_backward
        stale = forward_energy + backward_energy < EXACT_BELOW * exact_energy
        if stage < EXACT_STAGES or stage % EXACT_EVERY == 0 or stale:
            forward_energy = np.float64(_energy(forward, pairs))
            backward_energy = scale * scale * np.float64(_energy(backward, pairs))
            exact_energy = forward_energy + backward_energy
        product = scale * next_product
    _polynomial_of(reflection, polynomial, reverse)
    for j in range(order + 1):
        mirrored[j] = polynomial[order - j]
