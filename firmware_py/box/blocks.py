"""Blocks of samples between the device's periods and the stream's packets: gathered, handed out, faded, measured."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Fade", "SampleQueue", "peak_millionths"]


class SampleQueue:
    """Samples in order, in blocks of any length in and out. Allocates nothing after the start, drops nothing.

    Parameters
    ----------
    channels
    capacity_samples
        The caller never puts in more than fit.
    """

    def __init__(self, channels: int, capacity_samples: int) -> None:
        self._samples = np.zeros((capacity_samples, channels), np.float32)
        self.level_samples = 0
        block = np.zeros((1, channels), np.float32)
        self.put(block, 1)
        self.get(block)

    def put(self, block: NDArray[np.float32], samples: int) -> None:
        """Append the first ``samples`` of ``block`` [shape=(n, channels), C order]."""
        _copy(block, 0, self._samples, self.level_samples, samples)
        self.level_samples += samples

    def get(self, out: NDArray[np.float32]) -> None:
        """Move the oldest samples into ``out`` [shape=(n, channels)]: as many as it holds; so many must be there."""
        samples = out.shape[0]
        _copy(self._samples, 0, out, 0, samples)
        _shift(self._samples, samples, self.level_samples)
        self.level_samples -= samples

    def clear(self) -> None:
        """Forget what is there."""
        self.level_samples = 0


class Fade:
    """A fade to silence, once begun: half a Hann window, then zeros.

    Parameters
    ----------
    samples
        Its length.
    """

    def __init__(self, samples: int) -> None:
        self._gain = (0.5 + 0.5 * np.cos(np.pi * (np.arange(samples) + 0.5) / samples)).astype(np.float32)
        self._position = 0
        block = np.zeros((1, 1), np.float32)
        self.apply(block)
        self._position = 0

    def restart(self) -> None:
        """Begin anew with the next block."""
        self._position = 0

    @property
    def done(self) -> bool:
        """Whether nothing is heard any more."""
        return self._position >= len(self._gain)

    def apply(self, block: NDArray[np.float32]) -> None:
        """Fade ``block`` [shape=(n, channels)] in place, and go on."""
        _fade(block, self._gain, self._position)
        self._position += block.shape[0]


@njit(cache=True, nogil=True)
def _copy(source, source_from, out, out_from, samples):  # type: ignore[no-untyped-def]
    for j in range(samples):
        for channel in range(out.shape[1]):
            out[out_from + j, channel] = source[source_from + j, channel]


@njit(cache=True, nogil=True)
def _shift(samples, by, level):  # type: ignore[no-untyped-def]
    for j in range(by, level):
        for channel in range(samples.shape[1]):
            samples[j - by, channel] = samples[j, channel]


@njit(cache=True, nogil=True)
def _fade(block, gain, position):  # type: ignore[no-untyped-def]
    for j in range(block.shape[0]):
        level = gain[position + j] if position + j < gain.shape[0] else np.float32(0.0)
        for channel in range(block.shape[1]):
            block[j, channel] *= level


@njit(cache=True, nogil=True)
def peak_millionths(block):  # type: ignore[no-untyped-def]
    """Largest magnitude in ``block`` [float32, shape=(n, channels), full scale 1] in millionths of full scale."""
    peak = np.float32(0.0)
    for j in range(block.shape[0]):
        for channel in range(block.shape[1]):
            peak = max(peak, abs(block[j, channel]))
    return int(min(peak, np.float32(1000.0)) * 1e6)
