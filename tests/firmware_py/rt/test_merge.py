import numpy as np
import pytest

from continuo.firmware_py.rt.merge import Merger
from continuo.firmware_py.rt.spec import StreamSpec

PACKET = 128
SPEC = StreamSpec(48_000, PACKET, 2)


@pytest.fixture
def merger():
    made = Merger()
    made.prepare(SPEC)
    return made


def pair(signal, apart=1):
    """Two packets of a signal [shape=(n, 2)], ``apart`` packets from one another."""
    return signal[PACKET : 2 * PACKET], signal[(1 + apart) * PACKET :][:PACKET]


def tone(frequency_hz, packets=8):
    t = np.arange(PACKET * packets) / 48_000
    return (0.5 * np.sin(2 * np.pi * frequency_hz * t)[:, np.newaxis] * np.ones(2)).astype(np.float32)


def noise(packets=8):
    return np.random.default_rng(0).normal(0, 0.1, (PACKET * packets, 2)).astype(np.float32)


@pytest.mark.parametrize("apart", [1, 3])
@pytest.mark.parametrize("frequency_hz", [110.0, 440.0, 1234.5])
def test_no_click(frequency_hz, apart, merger):
    """What plays is as smooth across both edges and within as the tone itself."""
    signal = tone(frequency_hz)
    first, second = pair(signal, apart)
    merged = merger.merge(first, second)
    heard = np.concatenate((signal[:PACKET], merged, signal[(2 + apart) * PACKET :]))
    curvature = np.abs(np.diff(heard[:, 0], 2))
    assert curvature.max() < 1.2 * np.abs(np.diff(signal[:, 0], 2)).max() + 2e-3


def test_it_begins_like_the_first_and_ends_like_the_second(merger):
    first, second = pair(tone(440.0))
    merged = merger.merge(first, second)
    np.testing.assert_allclose(merged[:3], first[:3], atol=2e-3)
    np.testing.assert_allclose(merged[-3:], second[-3:], atol=2e-3)


def test_noise_keeps_its_power_where_a_linear_crossfade_would_dip(merger):
    powers = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        first, second = rng.normal(0, 0.1, (2, PACKET, 2)).astype(np.float32)
        powers.append(merger.merge(first, second).astype(float) ** 2)
    middle = np.mean(powers, axis=0)[PACKET // 2 - 8 : PACKET // 2 + 8].mean()
    assert middle == pytest.approx(0.01, rel=0.1)  # linear: 0.005


def test_the_same_packet_twice_stays_what_it_is(merger):
    first, _ = pair(noise())
    np.testing.assert_allclose(merger.merge(first, first), first, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_damaged_samples_are_passed_on_not_raised(bad, merger):
    """`Player.received` is what plays damaged samples as zeros."""
    first, second = (x.copy() for x in pair(noise()))
    first[5, 1] = bad
    merged = merger.merge(first, second)
    assert np.isfinite(merged[:, 0]).all()


def test_opposite_phase_and_silence_have_finite_weights(merger):
    first, _ = pair(tone(440.0))
    assert np.abs(merger.merge(first, -first)).max() <= 0.5
    assert not merger.merge(np.zeros_like(first), np.zeros_like(first)).any()
    assert np.abs(merger.merge(first, np.zeros_like(first))).max() <= 0.5
