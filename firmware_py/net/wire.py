"""What a wire format is to the endpoint.

A wire turns packets of samples into datagrams and back. It does no input or output and knows no clock: its caller
says what time it is. Whatever arrives, it raises nothing: what it cannot use is counted and dropped.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..rt.spec import StreamSpec

__all__ = ["Datagram", "Heard", "Sink", "Wire"]

Datagram = bytes | bytearray | memoryview


class Heard(IntEnum):
    """What a datagram was. Anything but NOTHING proves that the peer is there."""

    NOTHING = 0
    """Dropped, and counted by cause."""
    CONTROL = 1
    AUDIO = 2
    GOODBYE = 3


class Sink(Protocol):
    """Where decoded packets go: `endpoint.Endpoint` calls it in the order of arrival, redundant copies included."""

    def __call__(self, packet_number: int, arrival_ns: int, samples: NDArray[np.float32], recovered: bool, /) -> None:
        """Take one packet.

        Parameters
        ----------
        packet_number
            Grows by one per packet of the peer, across wraps of the sequence number. When the peer starts anew it goes
            on above all earlier numbers, leaving out as many as the silence was packets long. Fits an int64, never
            negative. A number may come twice (a duplicate) or late (reordered).
        arrival_ns
            CLOCK_MONOTONIC, when the kernel received the datagram.
        samples : [shape=(packet_samples, channels)]
            float32, full scale 1. The wire's own memory: copy it before returning.
        recovered
            True for a redundant copy of a packet that had not arrived; its arrival says nothing about the network's
            delay.
        """


class Wire(Protocol):
    """One wire format with the state of one stream in each direction."""

    max_datagram_bytes: int
    """The largest datagram that the peer can send in this format. Valid once prepared."""

    def prepare(self, spec: StreamSpec, counters: NDArray[np.int64]) -> None:
        """Allocate for this format of stream.

        Parameters
        ----------
        spec
            Sample rate, packet size and channels, the same in both directions.
        counters : [shape=(len(NetCounter),)]
            Counts go here.
        """

    def encode(self, packet_number: int, samples: NDArray[np.float32]) -> Datagram:
        """The datagram for one packet; valid until the next call.

        Parameters
        ----------
        packet_number
            Grows by one per packet, from any number; a packet left out keeps its number.
        samples : [shape=(packet_samples, channels)]
            float32, full scale 1; clipped, not a number becomes 0.
        """

    def decode(self, datagram: memoryview, arrival_ns: int, sink: Sink) -> Heard:
        """Hand the datagram's packets to the sink, or count why not."""

    def reports(self, now_ns: int) -> Sequence[Datagram]:
        """Control datagrams that are due (CLOCK_MONOTONIC). Call it several times a second."""

    def goodbye(self, now_ns: int) -> Sequence[Datagram]:
        """Datagrams that tell the peer that we leave."""

    def interrupt(self) -> None:
        """The peer fell silent or left: what comes next may be another stream from anywhere in its sequence."""
