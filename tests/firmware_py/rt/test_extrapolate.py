import numpy as np
import pytest

from continuo.firmware_py.rt.extrapolate import LOUDEST_SAMPLE, bounded_context, extrapolate


def run(context, coefficients, samples, bound=1.5, gain=1.0):
    """Extrapolate by A(z) = 1, a1, ... (float32, newest first)."""
    mirrored = np.array(coefficients[::-1], np.float32)
    out = np.full(samples, np.nan, np.float32)
    line = np.full(len(mirrored) - 1 + samples, np.nan, np.float32)
    extrapolate(np.array(context, np.float32), mirrored, np.float32(bound), np.float32(gain), line, out)
    return out


def test_continues_a_sine():
    t = np.arange(300)
    out = run(np.sin(0.2 * t[:200]), [1, -2 * np.cos(0.2), 1], 100)
    np.testing.assert_allclose(out, np.sin(0.2 * t[200:]), atol=1e-3)


def test_equals_the_recursion_in_double(music):
    rng = np.random.default_rng(0)
    coefficients = np.append(1.0, rng.uniform(-0.05, 0.05, 20)).astype(np.float32)
    out = run(music[:64], coefficients, 100)
    line = list(music[:64].astype(np.float64))
    for _ in range(100):
        line.append(-np.dot(coefficients[1:], line[:-21:-1]))
    np.testing.assert_allclose(out, line[64:], atol=1e-6)


def test_gain_scales_what_is_written_and_nothing_else():
    context = [0.5, -0.25, 1.0]
    np.testing.assert_array_equal(run(context, [1, -0.5], 8, gain=0.25), 0.25 * run(context, [1, -0.5], 8))


def test_holds_a_diverging_predictor_at_the_bound():
    out = run([0.0, 1.0], [1, 2.0], 20, bound=1.5, gain=0.1)
    np.testing.assert_allclose(np.abs(out), 0.15, rtol=1e-6)
    assert out[0] < 0 < out[1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.filterwarnings("ignore:(overflow|invalid):RuntimeWarning")  # uncompiled, numpy says so
@pytest.mark.parametrize("place", [1, 7, 16])
def test_bad_coefficients_stay_finite_and_bounded(bad, place):
    coefficients = np.zeros(17, np.float32)
    coefficients[0] = 1
    coefficients[place] = bad
    out = run(np.sin(np.arange(40)), coefficients, 64)
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 1.5


def test_scales_the_peak_to_one(music):
    scaled = np.zeros(200, np.float32)
    peak = bounded_context(music[:200], scaled)
    assert peak == np.abs(music[:200]).max()
    assert np.abs(scaled).max() == pytest.approx(1.0)
    np.testing.assert_allclose(scaled * peak, music[:200], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 65.0, -1e30])
def test_damaged_samples_count_as_zeros(bad):
    context = np.array([0.5, bad, -0.25, bad], np.float32)
    scaled = np.full(4, np.nan, np.float32)
    assert bounded_context(context, scaled) == 0.5
    np.testing.assert_array_equal(scaled, [1, 0, -0.5, 0])


def test_loudest_sample_is_still_music():
    scaled = np.zeros(2, np.float32)
    assert bounded_context(np.array([LOUDEST_SAMPLE, 1], np.float32), scaled) == LOUDEST_SAMPLE


@pytest.mark.parametrize("level", [0.0, 1e-9, 1e-40, np.nan])
def test_silence_has_no_peak(level):
    scaled = np.full(8, np.nan, np.float32)
    assert bounded_context(np.full(8, level, np.float32), scaled) == 0
    np.testing.assert_array_equal(scaled, np.zeros(8))
