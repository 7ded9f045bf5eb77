import numpy as np
import pytest

from continuo.firmware_py.rt.burg import aligned_float32, aligned_float64, burg_fit, exponential_window
from continuo.firmware_py.rt.extrapolate import extrapolate

SIZES = ((1, 64, 0.0), (2, 64, 2.0), (16, 128, 0.0), (32, 256, 2.0), (40, 192, 4.0))
LARGE_SIZES = ((128, 3584, 0.0), (256, 1024, 2.0), (512, 2048, 2.0), (1024, 4096, 0.0), (1280, 6144, 2.0))


def textbook_burg(x, weights, order):
    """Burg's method as written down: float64, one loop over stages, every sum taken anew. Returns 1, a1, ..."""
    forward = x.astype(np.float64)
    backward = forward.copy()
    polynomial = np.ones(1)
    for stage in range(1, order + 1):
        f, b, w = forward[stage:].copy(), backward[stage - 1 : -1].copy(), weights[stage:]
        k = -2 * np.sum(w * f * b) / np.sum(w * (f * f + b * b))
        forward[stage:] = f + k * b
        backward[stage:] = b + k * f
        longer = np.append(polynomial, 0.0)
        polynomial = longer + k * longer[::-1]
    return polynomial


def fit(context, order, decay):
    samples = len(context)
    polynomial, mirrored = aligned_float64(order + 1), aligned_float32(order + 1)
    burg_fit(
        context, exponential_window(samples, decay), aligned_float32(samples), aligned_float32(samples),
        aligned_float64(order), polynomial, aligned_float64(order + 1), mirrored,
    )  # fmt: skip
    return polynomial, mirrored


def predict(context, mirrored, samples):
    out = np.zeros(samples, np.float32)
    line = np.zeros(len(mirrored) - 1 + samples, np.float32)
    extrapolate(context, mirrored, np.float32(100), np.float32(1), line, out)
    return out


def predict_in_double(context, polynomial, samples):
    order = len(polynomial) - 1
    line = np.append(context[-order:].astype(np.float64), np.zeros(samples))
    for t in range(samples):
        line[order + t] = -polynomial[:0:-1] @ line[t : order + t]
    return line[order:]


def excerpt(music, samples):
    x = music[4000 : 4000 + samples]
    return x / np.abs(x).max()


def check_against_textbook(x, order, decay):
    """Tolerances: 0.1 % of the norm of the coefficients and of the residual, 1 % (-40 dB) of 256 predicted samples."""
    weights = exponential_window(len(x), decay).astype(np.float64) ** 2
    expected = textbook_burg(x, weights, order)
    polynomial, mirrored = fit(x, order, decay)
    np.testing.assert_array_equal(polynomial[::-1].astype(np.float32), mirrored)
    assert np.linalg.norm(polynomial - expected) <= 1e-3 * np.linalg.norm(expected)
    residual, expected_residual = (np.linalg.norm(np.convolve(x, p, "valid")) for p in (polynomial, expected))
    assert residual == pytest.approx(expected_residual, rel=1e-3)
    prediction, expected_prediction = predict(x, mirrored, 256), predict_in_double(x, expected, 256)
    assert np.linalg.norm(prediction - expected_prediction) <= 1e-2 * np.linalg.norm(expected_prediction)


@pytest.mark.parametrize(("order", "samples", "decay"), SIZES)
def test_equals_textbook(music, order, samples, decay):
    check_against_textbook(excerpt(music, samples), order, decay)


@pytest.mark.parametrize(("order", "samples", "decay"), LARGE_SIZES)
def test_large_equals_textbook(music, jit, order, samples, decay):
    if not jit:
        pytest.skip("takes minutes uncompiled")
    check_against_textbook(excerpt(music, samples), order, decay)


def test_unweighted_equals_hand_computed():
    """x = 1, 2, 3: k1 = -2 (2 + 6) / (4 + 9 + 1 + 4) = -16 / 18."""
    polynomial, _ = fit(np.array([1, 2, 3], np.float32), 1, 0.0)
    np.testing.assert_allclose(polynomial, [1, -16 / 18], rtol=1e-6)


def test_finds_the_recursion_of_a_sine():
    x = np.sin(0.3 * np.arange(200)).astype(np.float32)
    polynomial, _ = fit(x, 2, 0.0)
    np.testing.assert_allclose(polynomial, [1, -2 * np.cos(0.3), 1], atol=2e-3)


@pytest.mark.parametrize("click_at", [0, 1, 17, 39, 40, 64, 126, 127])
def test_is_stable_when_all_energy_leaves(click_at):
    """A click in the oldest samples leaves the sums one stage after another, and only rounding stays behind."""
    x = np.zeros(128, np.float32)
    x[click_at] = 1.0
    polynomial, _ = fit(x, 40, 2.0)
    assert np.isfinite(polynomial).all()
    assert np.abs(predict(x, polynomial[::-1].copy(), 128)).max() <= 1.0


@pytest.mark.parametrize("level", [0.0, 1e-30])
def test_silence_predicts_nothing(level):
    """Energies of 1e-60 are zero in single precision."""
    x = np.full(64, level, np.float32)
    polynomial, mirrored = fit(x, 8, 2.0)
    np.testing.assert_array_equal(polynomial, [1] + [0] * 8)
    np.testing.assert_array_equal(predict(x, mirrored, 16), np.zeros(16))


def test_is_stable(music):
    """All poles within the unit circle, but for the rounding of the coefficients."""
    polynomial, _ = fit(excerpt(music, 256), 32, 2.0)
    assert np.abs(np.roots(polynomial.astype(np.float64))).max() < 1.001


def test_clean_partials_go_on(jit):
    """A synthetic instrument has no noise floor to hide rounding in: 60 partials in float32, double precision -47 dB.

    With the coefficients grown in single precision this prediction explodes (+48 dB).
    """
    if not jit:
        pytest.skip("takes minutes uncompiled")
    t = np.arange(6144 + 512)
    x = sum(
        np.sin(2 * np.pi * pitch_hz * k * t / 44_100 + k) * np.exp(-t * k / 80_000) / k
        for pitch_hz in (110.0, 277.2, 415.3)
        for k in range(1, 21)
    )
    x /= np.abs(x).max()
    _, mirrored = fit(x[:6144].astype(np.float32), 1280, 2.0)
    error = predict(x[:6144].astype(np.float32), mirrored, 512) - x[6144:]
    assert np.linalg.norm(error) < 0.05 * np.linalg.norm(x[6144:])


def test_same_input_gives_same_bits(music):
    x = excerpt(music, 192)
    np.testing.assert_array_equal(fit(x, 16, 2.0)[0], fit(x.copy(), 16, 2.0)[0])


def test_window_falls_to_its_decay():
    window = exponential_window(101, 2.0)
    assert window.dtype == np.float32
    np.testing.assert_allclose(window[[0, 50, 100]] ** 2, np.exp([-2, -1, 0]), rtol=1e-6)


def test_aligned_buffers_start_on_a_page():
    for samples in (1, 6144):
        buffer = aligned_float32(samples)
        assert buffer.shape == (samples,)
        assert buffer.dtype == np.float32
        assert buffer.ctypes.data % 4096 == 0
        assert not buffer.any()
