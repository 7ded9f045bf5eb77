"""Received packets until they are played: places by number, on the audio thread."""

import numpy as np
from numpy.typing import NDArray

from ..rt.spec import StreamSpec

__all__ = ["PLACES", "PacketStore"]

PLACES = 256
"""Power of two; the playout waits for no packet so long that so many more are behind it."""


class PacketStore:
    """Places for `PLACES` packets with their samples and times; a packet's place follows from its number.

    Attributes
    ----------
    arrival_ns, inter_arrival_ns : int64 [shape=(PLACES,)], by ``number % PLACES``
    """

    def __init__(self, spec: StreamSpec) -> None:
        self._samples = np.zeros((PLACES, spec.packet_samples, spec.channels), np.float32)
        self._places = list(self._samples)
        self.arrival_ns = np.zeros(PLACES, np.int64)
        self.inter_arrival_ns = np.zeros(PLACES, np.int64)

    @property
    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        """Samples [shape=(PLACES, packet_samples, channels)] and the two times, for the kernel that fills them."""
        return self._samples, self.arrival_ns, self.inter_arrival_ns

    def samples(self, number: int) -> NDArray[np.float32]:
        """The packet's samples [shape=(packet_samples, channels)], if it is here; else another's."""
        return self._places[number % PLACES]
