"""Samples between float32 and what lies in packets, into memory that is there already.

Full scale is 1: a sample of value v is the integer round(v * 2^(bits - 1)), clipped to what the integer can hold.
"""

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

__all__ = ["SampleCodec"]


class SampleCodec:
    """Packs and unpacks packets of one format.

    Parameters
    ----------
    bits
        16 or 24.
    packet_samples, channels
        Shape of a packet.
    big_endian
        Most significant byte first, as RTP has it (RFC 3551 section 4.5.11, RFC 3190 section 4.1 for L24).
    planar
        All samples of a channel before those of the next, as JackTrip has it; otherwise frame by frame.
    """

    def __init__(self, bits: int, packet_samples: int, channels: int, *, big_endian: bool, planar: bool) -> None:
        if bits not in (16, 24):
            raise InputError(f"bits is {bits}: choose 16 or 24")
        shape = (channels, packet_samples) if planar else (packet_samples, channels)
        self.bytes_per_sample = bits // 8
        self.packet_bytes = packet_samples * channels * self.bytes_per_sample
        self._full_scale = np.float32(1 << bits - 1)
        self._least, self._most = -self._full_scale, self._full_scale - np.float32(1)
        self._floats = np.zeros(shape, np.float32)
        self._is_nan = np.zeros(shape, np.bool_)
        self._integers = np.zeros(shape, np.int32)
        self._decoded = np.zeros(shape, np.float32)
        self._samples = self._floats.T if planar else self._floats
        self._out = self._decoded.T if planar else self._decoded
        # The bytes of each integer, least significant first, whatever the machine's own order.
        little = self._integers.view(np.uint8).reshape(*shape, 4)
        bytes_up = little if np.little_endian else little[..., ::-1]
        low = bytes_up[..., : self.bytes_per_sample]
        high = bytes_up[..., 4 - self.bytes_per_sample :]
        self._pack_from: NDArray[np.uint8] = low[..., ::-1] if big_endian else low
        self._unpack_to: NDArray[np.uint8] = high[..., ::-1] if big_endian else high
        self._payload_shape = (*shape, self.bytes_per_sample)

    def pack(self, samples: NDArray[np.float32], payload: NDArray[np.uint8]) -> None:
        """Samples to bytes.

        Parameters
        ----------
        samples : [shape=(packet_samples, channels)]
            float32, full scale 1. What is above is clipped, not a number becomes 0.
        payload : [shape=(packet_bytes,)]
            uint8, written whole.
        """
        floats = self._floats
        np.multiply(samples, self._full_scale, out=self._samples)
        np.clip(floats, self._least, self._most, out=floats)
        np.rint(floats, out=floats)
        np.isnan(floats, out=self._is_nan)
        np.copyto(floats, 0.0, where=self._is_nan)
        np.copyto(self._integers, floats, casting="unsafe")
        payload.reshape(self._payload_shape)[...] = self._pack_from

    def unpack(self, payload: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Bytes to samples.

        Parameters
        ----------
        payload : [shape=(packet_bytes,)]
            uint8.

        Returns
        -------
        samples : [shape=(packet_samples, channels)]
            float32 in [-1, 1), the codec's own memory until the next call. Exact: 24 bits fit a float32.
        """
        self._integers[...] = 0
        self._unpack_to[...] = payload.reshape(self._payload_shape)
        np.copyto(self._decoded, self._integers, casting="unsafe")
        np.multiply(self._decoded, np.float32(2.0**-31), out=self._decoded)
        return self._out
