"""Samples between float32 and the integers that a sound device takes, into memory that is there already.

Full scale is 1: a sample of value v is the integer round(v * 2^(bits - 1)), clipped to what the integer can hold, as on
the wire (`net.samples`). Integers are little-endian, as every device's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["FORMATS", "PcmCodec", "PcmFormat"]


@dataclass(frozen=True)
class PcmFormat:
    """A sample format of ALSA's."""

    name: str
    alsa_format: int
    """ALSA's number (``snd_pcm_format_t``)."""
    bits: int
    bytes_per_sample: int


FORMATS = (
    PcmFormat("S32_LE", 10, 32, 4),
    PcmFormat("S24_3LE", 32, 24, 3),
    PcmFormat("S24_LE", 6, 24, 4),
    PcmFormat("S16_LE", 2, 16, 2),
)
"""What we can speak, best first: 24-bit cards offer S32 (low bits unused) or pack three bytes."""


class PcmCodec:
    """Converts periods of one format. Every kernel is compiled once it is made; nothing is allocated after that.

    Parameters
    ----------
    pcm_format
    period_samples, channels
        Shape of a period.
    """

    def __init__(self, pcm_format: PcmFormat, period_samples: int, channels: int) -> None:
        self.pcm_format = pcm_format
        self.period_bytes = period_samples * channels * pcm_format.bytes_per_sample
        self._packed = pcm_format.bytes_per_sample == 3
        self._word: np.dtype[Any] = np.dtype({2: "<i2", 3: "u1", 4: "<i4"}[pcm_format.bytes_per_sample])
        self._scale = float(1 << pcm_format.bits - 1)
        self._shift = 32 - pcm_format.bits if pcm_format.bytes_per_sample == 4 else 0
        shape = (period_samples, channels)
        data = self.new_buffer()
        self.encode(np.zeros(shape, np.float32), data)
        self.decode(data.tobytes(), np.zeros(shape, np.float32))

    def new_buffer(self, periods: int = 1) -> NDArray[np.uint8]:
        """So many periods of silence [shape=(periods * period_bytes,)], uint8: memory for `encode`."""
        return np.zeros(periods * self.period_bytes, np.uint8)

    def encode(self, samples: NDArray[np.float32], data: NDArray[np.uint8]) -> None:
        """Float to integers.

        Parameters
        ----------
        samples : [shape=(period_samples, channels)]
            float32, C order, full scale 1. What is above is clipped, not a number becomes 0.
        data : [shape=(period_bytes,)]
            uint8, written whole.
        """
        words = data.view(self._word)
        if self._packed:
            _encode_packed(samples, words, self._scale)
        else:
            _encode(samples, words, self._scale)

    def decode(self, data: bytes, out: NDArray[np.float32]) -> None:
        """Integers to float.

        Parameters
        ----------
        data
            ``period_bytes`` of them, as `alsa.Pcm.read` gives them.
        out : [shape=(period_samples, channels)]
            float32, C order, written whole, in [-1, 1]; exact up to 24 bits.
        """
        words = np.frombuffer(data, self._word)
        if self._packed:
            _decode_packed(words, out)
        else:
            _decode(words, out, 1 / self._scale, self._shift)


@njit(cache=True, nogil=True)
def _integer(sample, scale):  # type: ignore[no-untyped-def]
    scaled = np.rint(np.float64(sample) * scale)
    if not scaled == scaled:  # noqa: PLR0124, SIM201 (not a number)
        return 0
    return np.int64(min(max(scaled, -scale), scale - 1.0))


@njit(cache=True, nogil=True)
def _encode(samples, words, scale):  # type: ignore[no-untyped-def]
    channels = samples.shape[1]
    for j in range(samples.shape[0]):
        for channel in range(channels):
            words[j * channels + channel] = _integer(samples[j, channel], scale)


@njit(cache=True, nogil=True)
def _encode_packed(samples, words, scale):  # type: ignore[no-untyped-def]
    channels = samples.shape[1]
    for j in range(samples.shape[0]):
        for channel in range(channels):
            value = _integer(samples[j, channel], scale)
            place = 3 * (j * channels + channel)
            words[place] = value & 255
            words[place + 1] = (value >> 8) & 255
            words[place + 2] = (value >> 16) & 255


@njit(cache=True, nogil=True)
def _decode(words, out, step, shift):  # type: ignore[no-untyped-def]
    channels = out.shape[1]
    for j in range(out.shape[0]):
        for channel in range(channels):
            # The unused high byte of S24_LE is not always the sign.
            value = np.int32(np.int64(words[j * channels + channel]) << shift) >> shift
            out[j, channel] = np.float32(value) * np.float32(step)


@njit(cache=True, nogil=True)
def _decode_packed(words, out):  # type: ignore[no-untyped-def]
    channels = out.shape[1]
    for j in range(out.shape[0]):
        for channel in range(channels):
            place = 3 * (j * channels + channel)
            low, middle, high = np.int32(words[place]), np.int32(words[place + 1]), np.int32(words[place + 2])
            value = low << 8 | middle << 16 | (high ^ 128) - 128 << 24
            out[j, channel] = np.float32(value) * np.float32(2.0**-31)
