"""Kernels around the refiner's network: what `continuo.models.bin2bin` computes in torch, without allocation.

Spectra are float32 [shape=(bins, columns)], real and imaginary parts apart; the network's tensors have TFLite's layout
[shape=(bins, columns, channels)] and are quantised on the way in and out.
"""

import numpy as np
from numba import njit

from . import refinement
from .refinement import LEVEL_COLUMNS

__all__ = [
    "LINEAR",
    "LOG",
    "SQRT",
    "dequantise",
    "frame_pairs",
    "levels",
    "magnitude_input",
    "mean_columns",
    "mix_repetition",
    "overlap_add",
    "relative_input",
    "remagnify",
    "repetition_input",
    "residual_output",
]

LINEAR, SQRT, LOG = range(len(refinement.SCALES))
RELU, SIGMOID, GAIN, _ = range(len(refinement.OUTPUTS))
LIMIT = np.float32(refinement.LIMIT)
LOG_GAIN = np.float32(refinement.LOG_GAIN)
MIXED_BINS = refinement.MIXED_BINS
MIX_SLOPE, MIX_START = np.float32(refinement.MIX_SLOPE), np.float32(refinement.MIX_START)
SMALLEST = np.float32(refinement.SMALLEST)
QUIETEST_BIN = np.float32(refinement.QUIETEST_BIN)


@njit(cache=True, nogil=True)
def frame_pairs(chunk, gain, window, hop, real, imaginary):  # type: ignore[no-untyped-def]
    """Window ``gain`` times the columns of ``chunk``, two at a time, as real and imaginary part [shape=(n, pairs)]."""
    samples, pairs = real.shape
    for n in range(samples):
        scaled = gain * window[n]
        for p in range(pairs):
            real[n, p] = scaled * chunk[2 * p * hop + n]
            imaginary[n, p] = scaled * chunk[(2 * p + 1) * hop + n]


@njit(cache=True, nogil=True)
def mean_columns(samples, window_samples, hop, out):  # type: ignore[no-untyped-def]
    """Mean of ``samples`` over each column's window [out shape=(columns,)]."""
    for column in range(out.shape[0]):
        total = np.float32(0.0)
        for n in range(window_samples):
            total += samples[column * hop + n]
        out[column] = total / np.float32(window_samples)


@njit(cache=True, nogil=True)
def levels(real, imaginary, touched, loudest, out):  # type: ignore[no-untyped-def]
    """Root mean square of each bin over the 16 columns before; ``loudest`` [shape=(columns,)] receives its maximum.

    The columns that touch the prediction have the level of the last one that does not. Sums run as torch's cumsum does,
    in double precision rounded once, so that quiet bins come out the same.
    """
    bins, columns = out.shape
    known = columns - touched
    loudest[:] = np.float32(1e-6)
    for k in range(bins):
        total = 0.0
        for c in range(known):
            total += real[k, c] * real[k, c] + imaginary[k, c] * imaginary[k, c]  # in float32, then widened
            out[k, c] = np.float32(total)
        for c in range(known - 1, -1, -1):
            before = out[k, c - LEVEL_COLUMNS] if c >= LEVEL_COLUMNS else np.float32(0.0)
            mean = max(out[k, c] - before, np.float32(0.0)) / np.float32(min(c + 1, LEVEL_COLUMNS))
            out[k, c] = np.sqrt(mean)
        for c in range(known):
            loudest[c] = max(loudest[c], out[k, c])
    for c in range(known, columns):
        loudest[c] = loudest[known - 1]
    for k in range(bins):
        for c in range(known):
            out[k, c] = max(out[k, c], QUIETEST_BIN * loudest[c])
        for c in range(known, columns):
            out[k, c] = out[k, known - 1]


@njit(cache=True, nogil=True)
def _store(out, k, c, channel, value, factor, quantised):  # type: ignore[no-untyped-def]
    scaled = value * factor
    if quantised:
        scaled = max(np.float32(-127.0), min(np.float32(127.0), np.rint(scaled)))
    out[k, c, channel] = scaled


@njit(cache=True, nogil=True)
def relative_input(real, imaginary, level, loudest, mask, first, factors, quantised, out):  # type: ignore[no-untyped-def]
    """Logarithm of the magnitude, concealed share, level of the last columns, from channel ``first`` on.

    As `Refiner.network_input`: with ``first`` 2, real and imaginary parts come before. ``factors`` [shape=(channels,)]
    turn values into codes; ``out`` is int8 if ``quantised``, else float32.
    """
    bins, columns, _ = out.shape
    before = level.shape[1] - columns
    for k in range(bins):
        for j in range(columns):
            c = before + j
            unit = np.float32(1.0) / level[k, c]
            re, im = real[k, c] * unit, imaginary[k, c] * unit
            magnitude = np.log10(min(np.sqrt(re * re + im * im), LIMIT) + np.float32(0.01))
            loudness = np.float32(1.0) + np.log10(level[k, c] / loudest[c]) / np.float32(5.0)
            if first > 0:
                _store(out, k, j, 0, max(-LIMIT, min(LIMIT, re)), factors[0], quantised)
                _store(out, k, j, 1, max(-LIMIT, min(LIMIT, im)), factors[1], quantised)
            _store(out, k, j, first, magnitude, factors[first], quantised)
            _store(out, k, j, first + 1, mask[c], factors[first + 1], quantised)
            _store(out, k, j, first + 2, loudness, factors[first + 2], quantised)


@njit(cache=True, nogil=True)
def repetition_input(real, imaginary, other_real, other_imaginary, level, match, first, factors, quantised, out):  # type: ignore[no-untyped-def]
    """The repetition's magnitude, its phase against the prediction's, its match (`Refiner._repetition_input`)."""
    bins, columns, _ = out.shape
    before = level.shape[1] - columns
    for k in range(bins):
        for j in range(columns):
            c = before + j
            unit = np.float32(1.0) / level[k, c]
            a_re, a_im = real[k, c] * unit, imaginary[k, c] * unit
            b_re, b_im = other_real[k, c] * unit, other_imaginary[k, c] * unit
            a, b = np.sqrt(a_re * a_re + a_im * a_im), np.sqrt(b_re * b_re + b_im * b_im)
            cosine = (a_re * b_re + a_im * b_im) / (a * b + np.float32(1e-4))
            _store(out, k, j, first, np.log10(min(b, LIMIT) + np.float32(0.01)), factors[first], quantised)
            _store(out, k, j, first + 1, cosine, factors[first + 1], quantised)
            _store(out, k, j, first + 2, match, factors[first + 2], quantised)


@njit(cache=True, nogil=True)
def mix_repetition(network, other_real, other_imaginary, real, imaginary):  # type: ignore[no-untyped-def]
    """Move the spectrum's last columns towards the repetition, in place, as far as the network's channel 1 says."""
    columns = network.shape[1]
    first = real.shape[1] - columns
    for k in range(MIXED_BINS):
        for j in range(columns):
            c = first + j
            share = np.float32(1.0) / (np.float32(1.0) + np.exp(-(MIX_SLOPE * network[k, j, 1] + MIX_START)))
            real[k, c] += share * (other_real[k, c] - real[k, c])
            imaginary[k, c] += share * (other_imaginary[k, c] - imaginary[k, c])


@njit(cache=True, nogil=True)
def magnitude_input(real, imaginary, scale, factors, quantised, out):  # type: ignore[no-untyped-def]
    """Magnitude of the last columns on the network's ``scale`` (`Refiner.scaled`)."""
    bins, columns, _ = out.shape
    before = real.shape[1] - columns
    for k in range(bins):
        for j in range(columns):
            c = before + j
            magnitude = np.sqrt(real[k, c] * real[k, c] + imaginary[k, c] * imaginary[k, c])
            if scale == SQRT:
                magnitude = np.sqrt(max(magnitude, SMALLEST * SMALLEST)) / np.float32(3.5)
            elif scale == LOG:
                magnitude = np.log(max(magnitude, SMALLEST) / SMALLEST) / np.float32(14.0)
            _store(out, k, j, 0, magnitude, factors[0], quantised)


@njit(cache=True, nogil=True)
def dequantise(codes, scales, fine, out):  # type: ignore[no-untyped-def]
    """Outputs [shape=(bins, columns, channels)] from what the network gives, ``scales`` [shape=(channels,)] per code.

    It gives squares of 2 x 2 outputs [shape=(bins / 2, at least columns / 2, 4 x channels)]: channel 4 c + 2 a + b is
    channel c in row a and column b. With ``fine`` > 0 it gives every output twice, the second time that much larger:
    that one counts, unless it has saturated.
    """
    bins, columns, channels = out.shape
    first = 2 * codes.shape[1] - columns
    for k in range(bins):
        for c in range(columns):
            row, column = k // 2, (first + c) // 2
            place = 2 * (k % 2) + (first + c) % 2
            for channel in range(channels):
                code = np.float32(codes[row, column, 4 * channel + place])
                if fine > 0:
                    finer = np.float32(codes[row, column, 4 * (channels + channel) + place])
                    if abs(finer) < 127:
                        code = finer / np.float32(fine)
                out[k, c, channel] = code * scales[channel]


@njit(cache=True, nogil=True)
def residual_output(network, level, real, imaginary):  # type: ignore[no-untyped-def]
    """Add complex gain and addition to the spectrum's last columns, in place (`Refiner._residual`)."""
    bins, columns, _ = network.shape
    first = real.shape[1] - columns
    for k in range(bins):
        for j in range(columns):
            c = first + j
            re, im = real[k, c], imaginary[k, c]
            gain_re, gain_im = network[k, j, 0], network[k, j, 1]
            real[k, c] = re + re * gain_re - im * gain_im + network[k, j, 2] * level[k, c]
            imaginary[k, c] = im + re * gain_im + im * gain_re + network[k, j, 3] * level[k, c]


@njit(cache=True, nogil=True)
def remagnify(network, scale, output, real, imaginary):  # type: ignore[no-untyped-def]
    """Give the spectrum's last columns the network's magnitude, in place (`Refiner._remagnify`)."""
    bins, columns, _ = network.shape
    first = real.shape[1] - columns
    for k in range(bins):
        for j in range(columns):
            c = first + j
            value = network[k, j, 0]
            before = np.sqrt(real[k, c] * real[k, c] + imaginary[k, c] * imaginary[k, c])
            before = max(before, SMALLEST)
            if output == GAIN:
                after = before * np.exp(LOG_GAIN * np.tanh(value))
            else:
                if output == SIGMOID:
                    value = np.float32(1.0) / (np.float32(1.0) + np.exp(-value))
                after = max(value, np.float32(0.0))
                if scale == SQRT:
                    after = (np.float32(3.5) * after) ** 2
                elif scale == LOG:
                    after = SMALLEST * np.exp(min(np.float32(14.0) * after, np.float32(20.0)))
            real[k, c] *= after / before
            imaginary[k, c] *= after / before


@njit(cache=True, nogil=True)
def overlap_add(real, imaginary, window, hop, gain, fade_in, prediction, out):  # type: ignore[no-untyped-def]
    """Predicted samples from inverse-transformed column pairs, faded in from ``prediction``.

    ``real``, ``imaginary`` [shape=(n, pairs)]; ``out`` [shape=(m,)] ends where the last column ends.
    """
    samples, pairs = real.shape
    span = (2 * pairs - 1) * hop + samples
    total = out.shape[0]
    out[:] = np.float32(0.0)
    for p in range(pairs):
        for n in range(samples):
            t = total - span + 2 * p * hop + n
            if t >= 0:
                out[t] += window[n] * real[n, p]
            if t + hop >= 0:
                out[t + hop] += window[n] * imaginary[n, p]
    for t in range(total):
        out[t] = prediction[t] + fade_in[t] * (gain * out[t] - prediction[t])
