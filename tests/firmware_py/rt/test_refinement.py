"""When a refinement may be played."""

import numpy as np
import pytest

from continuo.firmware_py.rt.refinement import LOUDEST_GAIN, PREDICT_SAMPLES, is_plausible


def constant(value, samples=PREDICT_SAMPLES):
    return np.full(samples, value, np.float32)


@pytest.mark.parametrize(
    ("refined", "context", "prediction", "plausible"),
    [
        (0.1, 0.1, 0.1, True),
        (-0.19, 0.1, 0.1, True),
        (0.21, 0.1, 0.1, False),
        (-0.21, 0.1, 0.1, False),
        (0.21, 0.1, -0.2, True),
        (0.21, -0.2, 0.1, True),
        (0.0, 0.0, 0.0, True),
        (1e-9, 0.0, 0.0, False),
        (np.nan, 0.1, 0.1, False),
        (np.inf, 0.1, 0.1, False),
    ],
)
def test_level(refined, context, prediction, plausible):
    assert is_plausible(constant(refined), constant(context), constant(prediction)) == plausible


def test_one_sample_is_enough():
    refined = constant(0.1)
    refined[700] = np.nan
    assert not is_plausible(refined, constant(0.1), constant(0.1))
    refined[700] = 0.1 * LOUDEST_GAIN * 1.01
    assert not is_plausible(refined, constant(0.1), constant(0.1))


def test_only_the_recent_past_counts():
    context = np.concatenate((constant(1.0), constant(0.1)))
    assert not is_plausible(constant(0.5), context, constant(0.1))
    assert is_plausible(constant(0.5), context[1:-1], constant(0.1))
    assert is_plausible(constant(0.15), constant(0.1, 10), constant(0.0))
