"""Kernels that move packets through the concealer: history, splices and fades, all channels in one call."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .extrapolate import LOUDEST_SAMPLE

__all__ = [
    "burst_gain",
    "half_hann",
    "move_to_front",
    "play_received",
    "play_replacement",
    "remember_packet",
    "remember_prediction",
]


def half_hann(samples: int) -> NDArray[np.float32]:
    """Rising half of a Hann window [shape=(samples,)]; with its complement it sums to 1 everywhere."""
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(samples) + 0.5) / max(samples, 1))).astype(np.float32)


def burst_gain(hold_samples: int, fade_samples: int) -> NDArray[np.float32]:
    """Level of a replacement by its place in the burst [shape=(hold + fade + 1,)]: 1, then a Hann fade to 0."""
    return np.concatenate((np.ones(hold_samples), half_hann(fade_samples)[::-1], np.zeros(1))).astype(np.float32)


@njit(cache=True, nogil=True)
def _sound(sample):  # type: ignore[no-untyped-def]
    """``sample``, or 0 if it is damaged: not a number, infinite, absurdly loud."""
    return sample if abs(sample) <= LOUDEST_SAMPLE else np.float32(0.0)


@njit(cache=True, nogil=True)
def remember_packet(packet, history, end):  # type: ignore[no-untyped-def]
    """Remember a received packet.

    Parameters
    ----------
    packet : float32 [shape=(samples, channels)], full scale 1; damaged samples are remembered as 0
    history : float32 [shape=(channels, h)]
    end : int, where it ends so far
    """
    for channel in range(packet.shape[1]):
        for j in range(packet.shape[0]):
            history[channel, end + j] = _sound(packet[j, channel])


@njit(cache=True, nogil=True)
def remember_prediction(prediction, position, samples, history, end):  # type: ignore[no-untyped-def]
    """Remember ``samples`` samples of ``prediction`` [float32, shape=(channels, n)] from ``position`` on."""
    for channel in range(prediction.shape[0]):
        for j in range(samples):
            history[channel, end + j] = prediction[channel, position + j]


@njit(cache=True, nogil=True)
def move_to_front(history, end, kept):  # type: ignore[no-untyped-def]
    """Move the ``kept`` samples before ``end`` of every channel of ``history`` [float32, shape=(channels, h)] to 0."""
    for channel in range(history.shape[0]):
        for j in range(kept):
            history[channel, j] = history[channel, end - kept + j]


@njit(cache=True, nogil=True)
def play_received(packet, replacement, position, rise, gain, burst_samples, out):  # type: ignore[no-untyped-def]
    """Play a received packet, crossfaded from the tail of the replacement before it.

    Parameters
    ----------
    packet : float32 [shape=(samples, channels)], full scale 1; damaged samples (NaN, infinite, absurd) play as 0
    replacement : float32 [shape=(channels, n)]
    position : int, where the tail starts in ``replacement``
    rise : float32 [shape=(m,)], weight of the packet over its first m samples
    gain : float32 [shape=(g,)], `burst_gain`; its last value holds for ever
    burst_samples : int, length of the burst that ends here; 0 when none does: no crossfade then
    out : float32 [shape=(samples, channels)]

    Returns how many samples were damaged.
    """
    damaged = 0
    last = gain.shape[0] - 1
    for channel in range(packet.shape[1]):
        for j in range(packet.shape[0]):
            out[j, channel] = _sound(packet[j, channel])
            damaged += not abs(packet[j, channel]) <= LOUDEST_SAMPLE
        if burst_samples > 0:
            for j in range(rise.shape[0]):
                tail = gain[min(burst_samples + j, last)] * replacement[channel, position + j]
                out[j, channel] = rise[j] * out[j, channel] + (np.float32(1.0) - rise[j]) * tail
    return damaged


@njit(cache=True, nogil=True)
def play_replacement(samples, position, tail, tail_position, rise, gain, burst_samples, out):  # type: ignore[no-untyped-def]
    """Play ``samples`` from ``position``, faded as a burst of ``burst_samples`` so far asks.

    A refined packet does not continue the one before it by itself: over ``rise`` it is crossfaded from that one's
    ``tail``.

    Parameters
    ----------
    samples, tail : float32 [shape=(channels, n)]
    position, tail_position : int, where to read them; tail_position 0: nothing to crossfade from
    rise, gain, burst_samples, out : as in `play_received`
    """
    last = gain.shape[0] - 1
    for channel in range(out.shape[1]):
        for j in range(out.shape[0]):
            sample = samples[channel, position + j]
            if tail_position > 0 and j < rise.shape[0]:
                sample = rise[j] * sample + (np.float32(1.0) - rise[j]) * tail[channel, tail_position + j]
            out[j, channel] = gain[min(burst_samples + j, last)] * sample
