"""Received packets until they are played: places by number, on the audio thread."""

import numpy as np
from numpy.typing import NDArray

from ..rt.rings import AudioRing
from ..rt.spec import StreamSpec

__all__ = ["PLACES", "PacketStore"]

PLACES = 256
"""Power of two; the playout waits for no packet so long that so many more are behind it."""
_EMPTY = -1


class PacketStore:
    """Places for `PLACES` packets with their samples and times; a packet's place follows from its number.

    Attributes
    ----------
    arrival_ns, inter_arrival_ns : int64 [shape=(PLACES,)], by ``number % PLACES``
    """

    def __init__(self, spec: StreamSpec) -> None:
        samples = np.zeros((PLACES, spec.packet_samples, spec.channels), np.float32)
        self._places = list(samples)
        self._numbers = np.full(PLACES, _EMPTY, np.int64)
        self.arrival_ns = np.zeros(PLACES, np.int64)
        self.inter_arrival_ns = np.zeros(PLACES, np.int64)

    def clear(self) -> None:
        """Forget everything."""
        self._numbers.fill(_EMPTY)

    def take(
        self, ring: AudioRing, head: NDArray[np.int64], number: int, arrival_ns: int, inter_arrival_ns: int
    ) -> None:
        """Pop the ring's oldest packet into its place."""
        place = number % PLACES
        ring.pop(head, self._places[place])
        self._numbers[place] = number
        self.arrival_ns[place] = arrival_ns
        self.inter_arrival_ns[place] = inter_arrival_ns

    def has(self, number: int) -> bool:
        """Whether the packet is here."""
        return self._numbers.item(number % PLACES) == number

    def samples(self, number: int) -> NDArray[np.float32]:
        """The packet's samples [shape=(packet_samples, channels)], if it is here; else another's."""
        return self._places[number % PLACES]
