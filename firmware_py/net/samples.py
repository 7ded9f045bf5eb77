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
    order
        Which byte of the integer each byte of the payload is, 0 being the most significant; the third is for 24 bits.
        RTP has (0, 1, 2) (RFC 3551 section 4.5.11, RFC 3190 section 4.1 for L24).
    planar
        All samples of a channel before those of the next, as JackTrip has it; otherwise frame by frame.
    """

    def __init__(
        self, bits: int, packet_samples: int, channels: int, *, order: tuple[int, int, int], planar: bool
    ) -> None:
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
        # The bytes of each integer, most significant first, whatever the machine's own order.
        own = self._integers.view(np.uint8).reshape(*shape, 4)
        bytes_down = own[..., ::-1] if np.little_endian else own
        places = order[: self.bytes_per_sample]
        self._pack_from = [bytes_down[..., 4 - self.bytes_per_sample + place] for place in places]
        self._unpack_to = [bytes_down[..., place] for place in places]
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
        out = payload.reshape(self._payload_shape)
        for place, source in enumerate(self._pack_from):
            out[..., place] = source

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
        source = payload.reshape(self._payload_shape)
        for place, out in enumerate(self._unpack_to):
            out[...] = source[..., place]
        np.copyto(self._decoded, self._integers, casting="unsafe")
        np.multiply(self._decoded, np.float32(2.0**-31), out=self._decoded)
        return self._out
