import numpy as np
import pytest

from continuo.firmware_py.rt.splice import (
    burst_gain,
    half_hann,
    move_to_front,
    play_received,
    play_replacement,
    remember_packet,
    remember_prediction,
)

FLAT = np.ones(1, np.float32)


@pytest.fixture
def buffers():
    """History and out for packets of 8 samples, 2 channels."""
    return np.arange(40, dtype=np.float32).reshape(2, 20), np.zeros((8, 2), np.float32)


@pytest.fixture
def packet():
    return np.random.default_rng(0).uniform(-1, 1, (8, 2)).astype(np.float32)


@pytest.fixture
def replacement():
    return np.random.default_rng(1).uniform(-1, 1, (2, 32)).astype(np.float32)


@pytest.mark.parametrize("samples", [0, 1, 2, 64, 139])
def test_half_hann_and_its_complement_sum_to_one(samples):
    rise = half_hann(samples)
    assert rise.shape == (samples,)
    assert rise.dtype == np.float32
    assert ((rise > 0) & (rise < 1)).all()
    assert (np.diff(rise) > 0).all()
    np.testing.assert_allclose(rise + rise[::-1], 1, atol=1e-7)


def test_half_hann_equals_numpy():
    """Samples lie between those of numpy's symmetric window: twice as fine, every other one."""
    np.testing.assert_allclose(half_hann(16), np.hanning(65)[1:33:2], atol=1e-7)


def test_burst_gain_holds_then_falls_to_zero():
    gain = burst_gain(10, 20)
    np.testing.assert_array_equal(gain[:10], 1)
    assert (np.diff(gain[9:]) < 0).all()
    assert gain[-1] == 0
    assert gain.shape == (31,)


def test_received_passes_bit_exact(buffers, packet, replacement):
    history, out = buffers
    assert play_received(packet, replacement, 0, half_hann(4), FLAT, 0, out) == 0
    np.testing.assert_array_equal(out, packet)
    before = history.copy()
    remember_packet(packet, history, 3)
    np.testing.assert_array_equal(history[:, 3:11], packet.T)
    np.testing.assert_array_equal(history[:, :3], before[:, :3])
    np.testing.assert_array_equal(history[:, 11:], before[:, 11:])


def test_crossfade_after_a_burst(buffers, packet, replacement):
    _, out = buffers
    rise, position, burst = half_hann(4), 16, 24
    gain = burst_gain(20, 10)
    play_received(packet, replacement, position, rise, gain, burst, out)
    tail = replacement[:, 16:20].T * gain[24:28, np.newaxis]
    expected = rise[:, np.newaxis] * packet[:4] + (1 - rise[:, np.newaxis]) * tail
    np.testing.assert_allclose(out[:4], expected, atol=1e-7)
    np.testing.assert_array_equal(out[4:], packet[4:])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 64.1, -1e38])
def test_damaged_samples_play_and_are_remembered_as_zeros(bad, buffers, packet, replacement):
    history, out = buffers
    packet[3, 1] = packet[5, 0] = bad
    assert play_received(packet, replacement, 0, half_hann(4), FLAT, 0, out) == 2
    assert out[3, 1] == out[5, 0] == 0
    assert np.count_nonzero(out) == 14
    remember_packet(packet, history, 0)
    np.testing.assert_array_equal(history[:, :8], out.T)


NO_RISE = half_hann(0)


def test_replacement_fades_but_is_remembered_unfaded(buffers, replacement):
    history, out = buffers
    gain = burst_gain(4, 6)
    play_replacement(replacement, 5, replacement, 0, NO_RISE, gain, 3, out)
    played = replacement[:, 5:13]
    np.testing.assert_allclose(out, played.T * gain[[3, 4, 5, 6, 7, 8, 9, 10], np.newaxis], atol=1e-7)
    remember_prediction(replacement, 5, 8, history, 4)
    np.testing.assert_array_equal(history[:, 4:12], played)


def test_the_newest_samples_move_to_the_front(buffers):
    history, _ = buffers
    before = history.copy()
    move_to_front(history, 12, 9)
    np.testing.assert_array_equal(history[:, :9], before[:, 3:12])


def test_a_refined_packet_joins_the_one_before(buffers, replacement):
    _, out = buffers
    refined, tail, rise = 2 * replacement, 3 * replacement, half_hann(4)
    play_replacement(refined, 0, tail, 8, rise, FLAT, 8, out)
    expected = rise * refined[:, :4] + (1 - rise) * tail[:, 8:12]
    np.testing.assert_allclose(out[:4], expected.T, atol=1e-6)
    np.testing.assert_array_equal(out[4:], refined[:, 4:8].T)


def test_past_its_fade_a_replacement_is_zero(buffers, replacement):
    _, out = buffers
    play_replacement(replacement, 0, replacement, 0, NO_RISE, burst_gain(4, 6), 1_000_000, out)
    np.testing.assert_array_equal(out, 0)
