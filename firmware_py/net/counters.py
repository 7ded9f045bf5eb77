"""What the network side counts: one int64 array, so that it can lie in memory that other processes read."""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["DropError", "NetCounter", "PeerState", "new_counters"]


class PeerState(IntEnum):
    """What is known of the peer; the value of `NetCounter.PEER_STATE`."""

    WAITING = 0
    """Nothing was heard of it yet."""
    PLAYING = 1
    STOPPED = 2
    """It fell silent without a word: `NetConfig.stopped_ms` without a packet."""
    GONE = 3
    """It said goodbye."""


class NetCounter(IntEnum):
    """Index into the counters. All count upwards from 0, but for those that say that they are values."""

    SENT = 0
    """Audio datagrams handed to the kernel."""
    SEND_DROPPED = 1
    """Not sent: no peer known yet, or the socket's buffer was full."""
    SEND_FAILED = 2
    """Not sent: the kernel refused (no route, network down)."""
    RECEIVED = 3
    """Audio packets handed on, primary copies only."""
    RECOVERED = 4
    """Audio packets handed on from a redundant copy, the primary copy being lost or late."""
    RTCP_RECEIVED = 5
    RESTARTS = 6
    """The peer began a new stream: another SSRC, or a jump in its sequence numbers that went on."""
    STOPS = 7
    """Times that the peer fell silent."""
    GOODBYES = 8

    # Datagrams that were dropped, by cause.
    MALFORMED = 9
    """Not a datagram of this wire: too short, wrong version, lengths that contradict each other."""
    FOREIGN_ADDRESS = 10
    """Not from the peer's address."""
    FOREIGN_SSRC = 11
    """Another sender's stream while the peer's is alive, or our own come back."""
    FOREIGN_PAYLOAD_TYPE = 12
    WRONG_FORMAT = 13
    """Not our sample rate, bit depth or number of channels (JackTrip says them in every packet)."""
    WRONG_SIZE = 14
    """Not our number of samples per packet."""
    OVERSIZED = 15
    """More bytes than any datagram of this wire has."""
    UNAUTHENTICATED = 16
    """SRTP: another key, or changed on the way."""
    REPLAYED = 17
    """SRTP: authentic, but received before or too old to tell."""
    JUMPED = 18
    """A sequence number far from the last ones, not (yet) followed by its successor."""

    # Values, not counts.
    PEER_STATE = 19
    """A `PeerState`."""
    PEER_PACKET_SAMPLES = 20
    """Samples per channel in the peer's last packet, wanted or not; 0 = unknown."""
    PEER_SAMPLE_RATE_HZ = 21
    """What the peer's last packet said (JackTrip only); 0 = unknown."""
    ROUND_TRIP_NS = 22
    """Last measured round trip (RTCP only); 0 = unknown."""
    LOST_BY_US = 23
    """Of the peer's packets, how many the network lost on the way to us, its current stream."""
    LOST_BY_PEER = 24
    """Of our packets, how many the network lost on the way to the peer, as it reports (RTCP only)."""
    PEER_JITTER_NS = 25
    """Jitter of our packets at the peer, as it reports (RFC 3550 section 6.4.1; RTCP only)."""


class DropError(Exception):
    """A datagram cannot be used. Raised by what reads bytes, turned into a count before it leaves the wire."""

    def __init__(self, cause: NetCounter) -> None:
        super().__init__(cause.name)
        self.cause = cause


def new_counters(buffer: memoryview | bytearray | None = None) -> NDArray[np.int64]:
    """Counters [shape=(len(NetCounter),)], int64.

    Parameters
    ----------
    buffer
        Writable memory of at least ``8 * len(NetCounter)`` bytes, zeros at first. None: own memory.
    """
    if buffer is None:
        return np.zeros(len(NetCounter), np.int64)
    return np.frombuffer(buffer, np.int64, len(NetCounter))
