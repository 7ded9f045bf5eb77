import numpy as np
import pytest
from numba import config

from continuo.bench.peers import PlainBurg, VectorBurg, VosBurg
from continuo.bench.predictors import music

pytestmark = pytest.mark.skipif(config.DISABLE_JIT, reason="peers are there to be timed, compiled")


def numpy_burg(x, order):
    forward, backward, polynomial = x[1:].copy(), x[:-1].copy(), np.ones(1)
    for _ in range(order):
        k = -2 * forward @ backward / (forward @ forward + backward @ backward)
        forward, backward = (forward + k * backward)[1:], (backward + k * forward)[:-1]
        polynomial = np.append(polynomial, 0.0)
        polynomial = polynomial + k * polynomial[::-1]
    return polynomial


@pytest.mark.parametrize(("order", "samples"), [(1, 16), (2, 50), (64, 1000), (512, 4096)])
def test_plain_burg_equals_numpy(order, samples):
    x = music(samples).astype(np.float64)
    expected = numpy_burg(x, order)
    for peer in (PlainBurg, VectorBurg):
        polynomial = peer(order, samples).fit(x)
        np.testing.assert_allclose(polynomial, expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(("order", "samples"), [(1, 16), (2, 50), (64, 1000)])
def test_vos_equals_plain_burg(order, samples):
    """Noise, where the covariance that Vos recurs on is well conditioned."""
    x = np.random.default_rng(0).normal(size=samples)
    np.testing.assert_allclose(VosBurg(order, samples).fit(x), numpy_burg(x, order), atol=1e-10)


def test_vos_equals_plain_burg_on_music():
    x = music(2048).astype(np.float64)
    expected = numpy_burg(x, 256)
    error = np.linalg.norm(VosBurg(256, 2048).fit(x) - expected) / np.linalg.norm(expected)
    assert error < 1e-3
