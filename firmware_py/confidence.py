"""How sure a mean over clips is."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["CONFIDENCE", "MeanInterval", "mean_interval", "student_t"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class MeanInterval:
    """Mean and median of some values, with the confidence interval of the mean; None where there is too little."""

    count: int
    mean: float | None
    median: float | None
    low: float | None
    """None for fewer than two values."""
    high: float | None


def mean_interval(values: Iterable[float | None], confidence: float = CONFIDENCE) -> MeanInterval:
    """Estimate the mean of the distribution that ``values`` were drawn from, by Student's t.

    The interval rests on the mean being about normal, which it is for the 10 to 100 clips of an evaluation.

    Parameters
    ----------
    values
        One per clip; None counts as missing.
    confidence
        Probability that the interval covers the mean, between 0 and 1.
    """
    known = np.array([value for value in values if value is not None], np.float64)
    count = len(known)
    if not count:
        return MeanInterval(0, None, None, None, None)
    mean, median = float(known.mean()), float(np.median(known))
    if count == 1:
        return MeanInterval(1, mean, median, None, None)
    half = student_t(count - 1, confidence) * float(known.std(ddof=1)) / math.sqrt(count)
    return MeanInterval(count, mean, median, mean - half, mean + half)


def student_t(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Return the t that a Student-distributed value stays within, in size, with the given probability.

    From the closed form for whole degrees of freedom (Abramowitz & Stegun, 26.7.3 and 26.7.4) by bisection over the
    angle atan(t / sqrt(degrees)): SciPy has it too, but a table of means should not need SciPy.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _probability_within(middle, degrees) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _probability_within(angle: float, degrees: int) -> float:
    odd = degrees % 2
    cosine = math.cos(angle)
    term = cosine if odd else 1.0
    total = 0.0
    for power in range(1 + odd, degrees, 2):
        total += term
        term *= cosine**2 * power / (power + 1)
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total
