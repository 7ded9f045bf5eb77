"""Fits and predictions against peers."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz

from ..firmware_py.rt.burg import aligned_float32, aligned_float64, burg_fit, exponential_window
from ..firmware_py.rt.levinson import levinson_durbin
from ..firmware_py.rt.predictor import BurgPredictor, PaperPredictor, Predictor
from ..firmware_py.rt.spec import StreamSpec
from .measure import Times, measure
from .peers import PlainBurg, VectorBurg, VosBurg

__all__ = ["FITS", "fits", "levinson", "music", "predictions"]

FITS = ((1280, 6144), (1024, 4096), (512, 2048))
"""Order and context in samples: what the predictor uses for packets of different durations."""


def music(samples: int) -> NDArray[np.float32]:
    """A chord of decaying inharmonic partials over 16-bit noise [shape=(samples,)], peak 1; always the same."""
    rng = np.random.default_rng(1)
    t = np.arange(samples) / 44_100
    x = rng.normal(0, 2.0**-16, samples)
    for pitch_hz in (110.0, 277.2, 415.3):
        for partial_number in range(1, 25):
            frequency_hz = pitch_hz * partial_number * np.sqrt(1 + 4e-4 * partial_number**2)
            phase = rng.uniform(0, 2 * np.pi)
            x += np.sin(2 * np.pi * frequency_hz * t + phase) * np.exp(-t * (1 + partial_number)) / partial_number
    return (x / np.abs(x).max()).astype(np.float32)


def fits(order: int, context_samples: int, repetitions: int) -> dict[str, Times]:
    """Time Burg fits of one order and context: peers first, ours last."""
    context = aligned_float32(context_samples)
    context[:] = music(context_samples)
    in_double = context.astype(np.float64)
    ours = partial(
        burg_fit, context, exponential_window(context_samples, 2.0),
        aligned_float32(context_samples), aligned_float32(context_samples),
        aligned_float64(order), aligned_float64(order + 1), aligned_float64(order + 1), aligned_float32(order + 1),
    )  # fmt: skip
    things: dict[str, Callable[[], object]] = {
        "plain Burg, float64": partial(PlainBurg(order, context_samples).fit, in_double),
        "vectorised Burg, float64": partial(VectorBurg(order, context_samples).fit, in_double),
        "Vos 2013, float64": partial(VosBurg(order, context_samples).fit, in_double),
        "ours": ours,
    }
    return measure(things, repetitions)


def levinson(order: int, repetitions: int) -> dict[str, Times]:
    """Time the solution of one Toeplitz system."""
    x = music(8192).astype(np.float64)
    spectrum = np.fft.rfft(x, 16_384)
    lags = np.fft.irfft(np.abs(spectrum) ** 2)[: order + 1]
    column, right = lags[:-1] * np.append(1.001, np.ones(order - 1)), lags[1:].copy()
    ours = partial(
        levinson_durbin, lags, 1e-3, np.zeros(order + 1), np.zeros(order + 1), np.zeros(order + 1, np.float32)
    )
    return measure({"scipy solve_toeplitz": partial(solve_toeplitz, column, right), "ours": ours}, repetitions)


def predictions(predict_samples: int, repetitions: int) -> dict[str, Times]:
    """Time fit and prediction of ``predict_samples`` samples, with the orders for packets of 512 at 44.1 kHz."""
    predictors: dict[str, Predictor] = {
        "lpc-paper, order 128": PaperPredictor(),
        "lpc, order 1280": BurgPredictor(),
        "lpc, order 1024": BurgPredictor(1024, 4096),
    }
    out = np.zeros(predict_samples, np.float32)
    things: dict[str, Callable[[], object]] = {}
    for name, predictor in predictors.items():
        predictor.prepare(StreamSpec(44_100, 512), predict_samples)
        things[name] = partial(predictor.predict, music(predictor.context_samples), out)
    return measure(things, repetitions)
