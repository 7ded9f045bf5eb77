"""What was played before is found again, at the right place and level; what is new is not made up."""

import numpy as np
import pytest
from numba import config

from continuo.firmware_py.rt.refinement import PREDICT_SAMPLES
from continuo.firmware_py.rt.repetition import HISTORY_SAMPLES, LOUDEST_GAIN, Repetition

JIT = not config.DISABLE_JIT
PAST = 2496
pytestmark = pytest.mark.skipif(not JIT, reason="a search through 6 s takes minutes uncompiled")


def found(history, hidden=0):
    repetition = Repetition()
    repetition.prepare(PAST)
    out = np.full(PAST + PREDICT_SAMPLES, 9.0, np.float32)
    concealed = np.zeros(HISTORY_SAMPLES, np.float32)
    concealed[HISTORY_SAMPLES - hidden :] = 1.0
    return repetition.find(np.ascontiguousarray(history, np.float32), concealed, out), out


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


@pytest.mark.parametrize("period", [4001, 30_011, 88_200, 200_000])
def test_a_loop_is_continued_exactly(period):
    loop = np.tile(noise(period), 2 + 2 * HISTORY_SAMPLES // period)
    end = HISTORY_SAMPLES + 777
    match, out = found(loop[end - HISTORY_SAMPLES : end])
    assert match == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(out, loop[end - PAST : end + PREDICT_SAMPLES], atol=1e-4)


@pytest.mark.parametrize("hidden", [64, 100, 512, 3 * 512, 20_000])
@pytest.mark.parametrize("period", [4001, 88_200])
def test_in_a_burst_the_loop_that_was_received_goes_on(period, hidden):
    loop = np.tile(noise(period), 2 + 2 * HISTORY_SAMPLES // period)
    end = HISTORY_SAMPLES + 777
    history = loop[end - HISTORY_SAMPLES : end].copy()
    history[HISTORY_SAMPLES - hidden :] = noise(hidden, 7)  # what a predictor made of it
    match, out = found(history, hidden)
    assert match == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(out[PAST:], loop[end : end + PREDICT_SAMPLES], atol=1e-4)


@pytest.mark.parametrize("hidden", [60_000, HISTORY_SAMPLES])
def test_a_history_that_was_never_received_harms_nothing(hidden):
    match, out = found(noise(HISTORY_SAMPLES), hidden)
    assert 0 <= match < 0.4
    assert np.isfinite(out).all()


@pytest.mark.parametrize(("then", "gain"), [(2.0, 0.5), (0.9, 1 / 0.9), (0.1, LOUDEST_GAIN)])
def test_the_level_is_the_present_one(then, gain):
    part = noise(20_000)
    history = np.concatenate((noise(HISTORY_SAMPLES - 50_000, 1), then * part, noise(15_000, 2), part[:15_000]))
    match, out = found(history)
    assert match > 0.999
    np.testing.assert_allclose(out[PAST:], gain * then * part[15_000 : 15_000 + PREDICT_SAMPLES], atol=1e-4)


def test_noise_that_was_never_played_is_hardly_like_anything():
    match, out = found(noise(HISTORY_SAMPLES))
    assert 0 <= match < 0.3
    assert np.isfinite(out).all()


def test_an_onset_is_announced_by_what_came_before_it():
    """Two drums in turn under noise 25 dB below: the present ends 200 samples before a hit, which is found."""
    rng = np.random.default_rng(3)
    decay = np.exp(-np.arange(4500) / 1500)
    cycle = np.concatenate((rng.normal(0, 1, 4500) * decay, rng.normal(0, 1, 4500) * decay, np.zeros(11_000)))
    clean = np.tile(cycle, 15)
    played = clean + 0.03 * rng.normal(size=len(clean))
    now = 14 * len(cycle) + 4300
    match, out = found(played[now - HISTORY_SAMPLES : now])
    truth = clean[now : now + PREDICT_SAMPLES]
    assert match > 0.9
    assert np.linalg.norm(out[PAST:] - truth) < 0.15 * np.linalg.norm(truth)


def test_silence_and_short_pasts_give_nothing():
    match, out = found(np.zeros(HISTORY_SAMPLES))
    assert match == 0.0
    assert not out.any()
    started = np.zeros(HISTORY_SAMPLES)
    started[-3000:] = noise(3000)
    match, out = found(started)
    assert np.isfinite(out).all()
    assert match < 0.5
