"""Fourier transforms of many columns at once, without allocation: the columns lie side by side, so they vectorise."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["fft_columns", "merge_spectra", "split_spectra", "twiddles"]


def twiddles(samples: int) -> NDArray[np.float32]:
    """Roots of unity for `fft_columns` [shape=(2, samples / 2)]: cosine, minus sine."""
    angle = 2 * np.pi * np.arange(samples // 2) / samples
    return np.stack((np.cos(angle), -np.sin(angle))).astype(np.float32)


@njit(cache=True, nogil=True)
def fft_columns(real, imaginary, roots, real_out, imaginary_out):  # type: ignore[no-untyped-def]
    """Transform every column (Stockham, radix 2). The inverse is the same with real and imaginary parts exchanged.

    Parameters
    ----------
    real, imaginary : float32 [shape=(n, columns), C order], n a power of two with an odd exponent; overwritten
    roots : `twiddles` of n
    real_out, imaginary_out : float32 [shape=(n, columns)], receive the spectra, unscaled
    """
    samples, columns = real.shape
    a_re, a_im = real.ravel(), imaginary.ravel()
    b_re, b_im = real_out.ravel(), imaginary_out.ravel()
    half, run = samples // 2, columns
    while half >= 1:
        _stage(a_re, a_im, b_re, b_im, roots, half, run)
        a_re, a_im, b_re, b_im = b_re, b_im, a_re, a_im
        half, run = half // 2, 2 * run


@njit(cache=True, nogil=True)
def _stage(a_re, a_im, b_re, b_im, roots, half, run):  # type: ignore[no-untyped-def]
    """Butterflies between halves; a function of its own, and slices, so that the inner loop vectorises."""
    step = roots.shape[1] // half
    for p in range(half):
        c, s = roots[0, p * step], roots[1, p * step]
        low_re, low_im = a_re[p * run : (p + 1) * run], a_im[p * run : (p + 1) * run]
        high_re, high_im = a_re[(p + half) * run : (p + half + 1) * run], a_im[(p + half) * run : (p + half + 1) * run]
        sum_re, sum_im = b_re[2 * p * run : (2 * p + 1) * run], b_im[2 * p * run : (2 * p + 1) * run]
        turned_re, turned_im = (
            b_re[(2 * p + 1) * run : (2 * p + 2) * run],
            b_im[(2 * p + 1) * run : (2 * p + 2) * run],
        )
        for q in range(run):
            re, im = low_re[q] - high_re[q], low_im[q] - high_im[q]
            sum_re[q] = low_re[q] + high_re[q]
            sum_im[q] = low_im[q] + high_im[q]
            turned_re[q] = re * c - im * s
            turned_im[q] = re * s + im * c


@njit(cache=True, nogil=True)
def split_spectra(real, imaginary, real_out, imaginary_out):  # type: ignore[no-untyped-def]
    """Spectra of real columns from those of pairs, x + iy [shape=(n, pairs)] -> [shape=(n / 2 + 1, 2 pairs)]."""
    samples, pairs = real.shape
    half = np.float32(0.5)
    for k in range(samples // 2 + 1):
        m = (samples - k) % samples
        for p in range(pairs):
            real_out[k, 2 * p] = half * (real[k, p] + real[m, p])
            imaginary_out[k, 2 * p] = half * (imaginary[k, p] - imaginary[m, p])
            real_out[k, 2 * p + 1] = half * (imaginary[k, p] + imaginary[m, p])
            imaginary_out[k, 2 * p + 1] = half * (real[m, p] - real[k, p])


@njit(cache=True, nogil=True)
def merge_spectra(real, imaginary, real_out, imaginary_out):  # type: ignore[no-untyped-def]
    """Undo `split_spectra`. As in any real inverse transform, imaginary parts of the first and last bin are ignored."""
    samples, pairs = real_out.shape
    last = samples // 2
    for k in range(last + 1):
        m = (samples - k) % samples
        inner = np.float32(0.0) if k in (0, last) else np.float32(1.0)
        for p in range(pairs):
            x_re, x_im = real[k, 2 * p], inner * imaginary[k, 2 * p]
            y_re, y_im = real[k, 2 * p + 1], inner * imaginary[k, 2 * p + 1]
            real_out[k, p], imaginary_out[k, p] = x_re - y_im, x_im + y_re
            real_out[m, p], imaginary_out[m, p] = x_re + y_im, y_re - x_im
