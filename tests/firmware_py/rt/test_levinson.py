import numpy as np
import pytest
from scipy.linalg import solve_toeplitz

from continuo.firmware_py.rt.levinson import autocorrelation, levinson_durbin


def lags_of(x, order):
    lags = np.zeros(order + 1)
    autocorrelation(x, lags)
    return lags


def solve(lags, load):
    order = len(lags) - 1
    polynomial, mirrored = np.zeros(order + 1), np.zeros(order + 1, np.float32)
    levinson_durbin(lags, load, polynomial, np.zeros(order + 1), mirrored)
    return polynomial, mirrored


@pytest.mark.parametrize(("order", "samples"), [(1, 32), (16, 200), (128, 3584)])
def test_autocorrelation_equals_numpy(music, jit, order, samples):
    if not jit and samples > 200:
        pytest.skip("takes long uncompiled")
    x = music[:samples]
    expected = np.correlate(x.astype(np.float64), x.astype(np.float64), "full")[samples - 1 :][: order + 1]
    np.testing.assert_allclose(lags_of(x, order), expected, rtol=1e-12, atol=1e-12 * expected[0])


@pytest.mark.parametrize("load", [1e-3, 1e-6])
@pytest.mark.parametrize("order", [1, 2, 16, 128])
def test_equals_scipy(music, order, load):
    """float64 throughout: coefficients within 1e-7 of scipy's, their float32 copies within rounding."""
    x = music[:2000].astype(np.float64) / np.abs(music[:2000]).max()
    lags = np.correlate(x, x, "full")[1999:][: order + 1]
    polynomial, mirrored = solve(lags, load)
    column = lags[:-1].copy()
    column[0] = lags[0] * (1 + load) + 1e-12
    expected = np.append(1.0, -solve_toeplitz(column, lags[1:]))
    np.testing.assert_allclose(polynomial, expected, atol=1e-7 * np.abs(expected).max())
    np.testing.assert_array_equal(mirrored, polynomial[::-1].astype(np.float32))


def test_silence_predicts_nothing():
    polynomial, mirrored = solve(np.zeros(9), 1e-3)
    np.testing.assert_array_equal(polynomial, [1] + [0] * 8)
    np.testing.assert_array_equal(mirrored, [0] * 8 + [1])


def test_is_stable_on_a_singular_matrix():
    """A constant's autocorrelation matrix has rank 1; the load alone makes it invertible."""
    polynomial, _ = solve(np.full(17, 100.0), 1e-3)
    assert np.abs(np.roots(polynomial)).max() < 1
