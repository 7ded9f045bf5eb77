"""What every refiner agrees on, whatever runs its network: the numbers around it, and when its output may be played."""

import numpy as np
from numba import njit

__all__ = [
    "BINS",
    "FFT_SAMPLES",
    "INPUTS",
    "LEVEL_COLUMNS",
    "LIMIT",
    "LOG_GAIN",
    "LOUDEST_GAIN",
    "MIXED_BINS",
    "MIX_SLOPE",
    "MIX_START",
    "OUTPUTS",
    "PREDICT_SAMPLES",
    "QUIETEST_BIN",
    "REPETITION_INPUTS",
    "SCALES",
    "SMALLEST",
    "is_plausible",
]

PREDICT_SAMPLES = 1024
"""The paper predicts 1024 samples for a gap of 512: a refiner needs what lies behind the gap, the crossfade too."""
FFT_SAMPLES = 512
BINS = FFT_SAMPLES // 2
"""Bins that the network sees: 0 to 255 of 0 to 256."""
LEVEL_COLUMNS = 16
"""Over which the level of a bin is averaged: as many as touch the prediction at hop 64."""
QUIETEST_BIN = 1e-5
"""Levels are taken as at least this much of the loudest bin's (-100 dB): below is rounding noise."""
LIMIT = 4.0
"""What is in units of the bin's level is cut off here on its way in: bounded for int8."""
SMALLEST = 1e-4
"""Magnitudes below this, -102 dB under a full-scale sine, are no music: keeps roots and logarithms finite."""
SCALES = ("linear", "sqrt", "log")
"""Of magnitudes at the network's input."""
INPUTS = {"magnitude": 1, "relative": 3, "complex": 5}
"""What the network sees (``RefinerConfig.inputs``), and as how many channels."""
LOG_GAIN = 1.386
"""Natural logarithm of the largest factor, 4, that the output ``gain`` puts on a magnitude."""
REPETITION_INPUTS = 3
"""Channels that a repetition adds: its magnitude, its phase against the prediction's, its match."""
MIX_SLOPE, MIX_START = 4.0, -3.0
"""The repetition's share is the sigmoid of slope x output + start: 0.05 for an output of zero."""
MIXED_BINS = 80
"""Above, from 7 kHz at 44.1 kHz on, the share is none: there a repetition is out of phase, and ViSQOL heard it."""
OUTPUTS = ("relu", "sigmoid", "gain", "residual")
"""What the network's output means (``RefinerConfig.output``)."""
LOUDEST_GAIN = 2.0
"""A refinement with more than 6 dB over the prediction and the recent past is implausible: the prediction stands."""


@njit(cache=True, nogil=True)
def is_plausible(refined, context, prediction):  # type: ignore[no-untyped-def]
    """Whether ``refined`` may be played: finite, and not much louder than what it continues and what it refines.

    Parameters
    ----------
    refined, context, prediction : float32 [shape=(n,), any lengths], full scale 1
    """
    loudest = np.float32(0.0)
    for n in range(max(0, context.shape[0] - PREDICT_SAMPLES), context.shape[0]):
        loudest = max(loudest, abs(context[n]))
    for n in range(prediction.shape[0]):
        loudest = max(loudest, abs(prediction[n]))
    limit = np.float32(LOUDEST_GAIN) * loudest
    plausible = True
    for n in range(refined.shape[0]):
        plausible &= abs(refined[n]) <= limit  # false for a NaN as well
    return plausible
