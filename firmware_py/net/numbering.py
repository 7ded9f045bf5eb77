"""16-bit sequence numbers to packet numbers that only ever grow (after RFC 3550 appendix A.1)."""

__all__ = ["PacketNumbering", "signed16"]

_DROPOUT_PACKETS = 3000
"""A step forward by this much or more is a jump, not a loss (RFC 3550's MAX_DROPOUT)."""
_MISORDER_PACKETS = 100
"""A step back by more is a jump, not reordering (RFC 3550's MAX_MISORDER)."""
_WINDOW_PACKETS = 1024
"""So far back it is remembered which packets came."""
_WINDOW_MASK = (1 << _WINDOW_PACKETS) - 1


def signed16(difference: int) -> int:
    """The difference of two 16-bit numbers, taken the short way round: -32768 to 32767."""
    return (difference + 0x8000 & 0xFFFF) - 0x8000


class PacketNumbering:
    """Numbers the packets of one peer, through wraps, jumps and restarts.

    A stream's first packet gets its sequence number plus 65,536, so that no number is negative. After a restart, or a
    silence in which the sequence went on at another pace than time, the numbers go on above all earlier ones by as many
    packets as the silence was long: who plays packet n at a certain time stays about right.

    Parameters
    ----------
    packet_ns
        Duration of a packet in nanoseconds.
    """

    def __init__(self, packet_ns: int) -> None:
        self._packet_ns = packet_ns
        self._highest = -1
        self._highest_ns = 0
        self._sequence = 0
        self._after_jump = -1
        self._interrupted = False
        self._seen = self._delivered = 0  # bit k: the packet k before the highest
        self._floor = -1
        self.restarts = 0
        """Times that a running stream was taken up anew elsewhere in its sequence."""
        self.first = 0
        """Number of the first packet since the last restart."""
        self.arrived = 0
        """Primary copies that arrived since the last restart, each counted once."""

    @property
    def highest(self) -> int:
        """The highest number so far; -1 before the first packet."""
        return self._highest

    @property
    def lost(self) -> int:
        """Packets since the last restart that have not come (yet)."""
        return self._highest + 1 - self.first - self.arrived if self.arrived else 0

    def number(self, sequence: int, arrival_ns: int) -> int | None:
        """Packet number of an arriving packet; None when it is too far off and no second one has confirmed the jump.

        Parameters
        ----------
        sequence
            0 to 65,535.
        arrival_ns
            CLOCK_MONOTONIC.
        """
        if self._highest < 0:
            return self._restart(sequence, 0x10000 + sequence, arrival_ns)
        step = signed16(sequence - self._sequence)
        if self._interrupted:
            self._interrupted = False
            silence_packets = self._silence_packets(arrival_ns)
            if abs(step - silence_packets) > 10 + silence_packets // 10:
                self.restarts += 1
                return self._restart(sequence, self._highest + silence_packets, arrival_ns)
        elif not -_MISORDER_PACKETS <= step < _DROPOUT_PACKETS:
            if sequence != self._after_jump:
                self._after_jump = sequence + 1 & 0xFFFF
                return None
            self.restarts += 1
            return self._restart(sequence, self._highest + self._silence_packets(arrival_ns), arrival_ns)
        self._after_jump = -1
        number = self._highest + step
        if step > 0:
            self._highest, self._highest_ns, self._sequence = number, arrival_ns, sequence
            shift = min(step, _WINDOW_PACKETS)
            self._seen = self._seen << shift & _WINDOW_MASK
            self._delivered = self._delivered << shift & _WINDOW_MASK
        return number

    def arrive(self, number: int) -> None:
        """Take note of a packet's primary copy, for `lost` and `recover`."""
        age = self._highest - number
        if not 0 <= age < _WINDOW_PACKETS:
            return
        self._delivered |= 1 << age
        if number >= self.first and not self._seen >> age & 1:
            self._seen |= 1 << age
            self.arrived += 1

    def recover(self, number: int) -> bool:
        """Whether a redundant copy is wanted: nothing of this packet has come, and it is not from before a restart."""
        age = self._highest - number
        if not 0 <= age < _WINDOW_PACKETS or number <= self._floor or self._delivered >> age & 1:
            return False
        self._delivered |= 1 << age
        return True

    def interrupt(self) -> None:
        """The peer fell silent or left: its next packet may begin anew without a second one to confirm it."""
        self._interrupted = self._highest >= 0

    def restart(self, sequence: int, arrival_ns: int) -> int:
        """Number of the first packet of another stream of the peer."""
        if self._highest < 0:
            return self._restart(sequence, 0x10000 + sequence, arrival_ns)
        self.restarts += 1
        return self._restart(sequence, self._highest + self._silence_packets(arrival_ns), arrival_ns)

    def _silence_packets(self, arrival_ns: int) -> int:
        return max(1, round((arrival_ns - self._highest_ns) / self._packet_ns))

    def _restart(self, sequence: int, number: int, arrival_ns: int) -> int:
        self._floor = self._highest
        self._sequence, self._highest, self._highest_ns = sequence, number, arrival_ns
        self._after_jump, self._interrupted = -1, False
        self._seen = self._delivered = self.arrived = 0
        self.first = number
        return number
