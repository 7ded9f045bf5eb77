"""The transform of many columns against numpy's."""

import numpy as np
import pytest

from continuo.firmware_py.rt.fourier import fft_columns, merge_spectra, split_spectra, twiddles


def columns(samples, count, seed=0):
    return np.random.default_rng(seed).normal(size=(samples, count)).astype(np.float32)


@pytest.mark.parametrize("samples", [2, 8, 32, 512])
def test_real_columns_in_pairs(samples):
    x = columns(samples, 6)
    real, imaginary = np.ascontiguousarray(x[:, 0::2]), np.ascontiguousarray(x[:, 1::2])
    out = np.zeros((2, samples, 3), np.float32)
    fft_columns(real, imaginary, twiddles(samples), *out)
    spectrum = np.zeros((2, samples // 2 + 1, 6), np.float32)
    split_spectra(*out, *spectrum)
    np.testing.assert_allclose(spectrum[0] + 1j * spectrum[1], np.fft.rfft(x, axis=0), atol=2e-6 * samples)


@pytest.mark.parametrize("samples", [8, 512])
def test_there_and_back(samples):
    rng = np.random.default_rng(1)
    spectrum = rng.normal(size=(2, samples // 2 + 1, 4)).astype(np.float32)
    merged, out = np.zeros((2, 2, samples, 2), np.float32)
    merge_spectra(*spectrum, *merged)
    fft_columns(merged[1], merged[0], twiddles(samples), out[1], out[0])
    expected = np.fft.irfft(spectrum[0] + 1j * spectrum[1], n=samples, axis=0) * samples
    np.testing.assert_allclose(out[0], expected[:, 0::2], atol=2e-6 * samples)
    np.testing.assert_allclose(out[1], expected[:, 1::2], atol=2e-6 * samples)
