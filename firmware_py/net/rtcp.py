"""RTCP (RFC 3550 section 6): sender and receiver reports, source description and goodbye, as bytes and back.

They say what is lost in either direction, how long a round trip takes, and that a sender leaves.
"""

import struct
from dataclasses import dataclass, field

from .counters import DropError, NetCounter

__all__ = [
    "ReceptionStatistics",
    "Report",
    "ReportBlock",
    "build_bye",
    "build_report",
    "compact_ntp",
    "is_rtcp",
    "ntp_of",
    "parse_rtcp",
    "round_trip_ns",
]

_SENDER_REPORT, _RECEIVER_REPORT, _DESCRIPTION, _BYE = 200, 201, 202, 203
_NTP_EPOCH_S = 2_208_988_800
"""Seconds from 1900 to 1970."""
_BLOCK = struct.Struct("!IIIIII")
_HEADER = struct.Struct("!BBHI")


@dataclass(frozen=True)
class ReportBlock:
    """What one receiver says about one sender's stream (RFC 3550 section 6.4.1)."""

    ssrc: int
    """Of the sender that is reported on."""
    fraction_lost: int
    """Since the report before, in 256ths."""
    lost: int
    """Since the beginning, signed: duplicates may make it negative."""
    highest_sequence: int
    """Extended: 32 bits."""
    jitter: int
    """In units of the RTP timestamp."""
    last_report: int
    """Compact NTP time of the last sender report that the receiver has of the sender; 0 = none."""
    delay: int
    """Since that report's arrival, in 65,536ths of a second."""


@dataclass
class Report:
    """What a compound packet says."""

    ssrc: int
    """Of the sender of the compound packet."""
    ntp: int | None = None
    """NTP time of the sender report, 64 bits; None when it is a receiver report."""
    packets_sent: int = 0
    """Modulo 2^32, from the sender report."""
    blocks: list[ReportBlock] = field(default_factory=list)
    byes: list[int] = field(default_factory=list)
    """Who leaves, by SSRC."""


def compact_ntp(ntp: int) -> int:
    """The middle 32 of the 64 bits: 65,536ths of a second (RFC 3550 section 4)."""
    return ntp >> 16 & 0xFFFFFFFF


def ntp_of(unix_ns: int) -> int:
    """64-bit NTP time of nanoseconds since 1970."""
    return ((unix_ns + _NTP_EPOCH_S * 1_000_000_000 << 32) // 1_000_000_000) & 0xFFFFFFFFFFFFFFFF


def round_trip_ns(block: ReportBlock, ntp: int) -> int | None:
    """Round trip from a block about us that arrived at `ntp` (RFC 3550 section 6.4.1); None when it cannot be known."""
    if not block.last_report:
        return None
    units = compact_ntp(ntp) - block.last_report - block.delay & 0xFFFFFFFF
    return None if units >= 1 << 31 else units * 1_000_000_000 >> 16


def is_rtcp(datagram: memoryview | bytes | bytearray) -> bool:
    """Tell RTCP from RTP on one port: packet types 192 to 223 (RFC 5761 section 4)."""
    return len(datagram) > 1 and 192 <= datagram[1] <= 223


def build_report(
    ssrc: int,
    cname: str,
    sender: tuple[int, int, int, int] | None,
    blocks: tuple[ReportBlock, ...] = (),
) -> bytes:
    """A compound packet: sender or receiver report, and source description.

    Parameters
    ----------
    ssrc
        Ours.
    cname
        Canonical name, up to 255 bytes in UTF-8.
    sender
        NTP time (64 bits), RTP timestamp, packets and payload bytes sent; None for a receiver report.
    blocks
        Up to 31.
    """
    body = b""
    kind = _RECEIVER_REPORT
    if sender is not None:
        ntp, timestamp, packets, octets = sender
        kind = _SENDER_REPORT
        body = struct.pack("!QIII", ntp, timestamp & 0xFFFFFFFF, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF)
    for block in blocks:
        lost = max(-(1 << 23), min((1 << 23) - 1, block.lost)) & 0xFFFFFF
        body += _BLOCK.pack(
            block.ssrc,
            block.fraction_lost << 24 | lost,
            block.highest_sequence & 0xFFFFFFFF,
            block.jitter & 0xFFFFFFFF,
            block.last_report,
            block.delay & 0xFFFFFFFF,
        )
    name = cname.encode()[:255]
    item = bytes((1, len(name))) + name
    item += bytes(4 - len(item) % 4)  # at least one zero ends the list
    return _packet(kind, len(blocks), ssrc, body) + _packet(_DESCRIPTION, 1, ssrc, item)


def build_bye(ssrc: int, cname: str) -> bytes:
    """A compound packet that says goodbye: an empty receiver report comes first (RFC 3550 section 6.1)."""
    return build_report(ssrc, cname, None) + _packet(_BYE, 1, ssrc, b"")


def parse_rtcp(datagram: memoryview | bytes) -> Report:
    """Read a compound packet; DropError when it is malformed (RFC 3550 appendix A.2). Unknown types are passed by."""
    end = len(datagram)
    if end < 8 or end % 4 or datagram[1] not in (_SENDER_REPORT, _RECEIVER_REPORT) or datagram[0] & 0x20:
        raise DropError(NetCounter.MALFORMED)
    report = Report(int.from_bytes(datagram[4:8], "big"))
    start = 0
    while start < end:
        if end - start < 4 or datagram[start] >> 6 != 2:
            raise DropError(NetCounter.MALFORMED)
        count, kind = datagram[start] & 0x1F, datagram[start + 1]
        stop = start + 4 + 4 * int.from_bytes(datagram[start + 2 : start + 4], "big")
        if stop > end:
            raise DropError(NetCounter.MALFORMED)
        body = datagram[start + 4 : stop]
        if datagram[start] & 0x20:  # padding, in the last packet only
            if stop != end or not body or not 4 <= body[-1] <= len(body):
                raise DropError(NetCounter.MALFORMED)
            body = body[: len(body) - body[-1]]
        if kind in (_SENDER_REPORT, _RECEIVER_REPORT):
            first = 24 if kind == _SENDER_REPORT else 4
            if len(body) < first + _BLOCK.size * count:
                raise DropError(NetCounter.MALFORMED)
            if kind == _SENDER_REPORT:
                report.ntp, _, report.packets_sent, _ = struct.unpack_from("!QIII", body, 4)
            report.blocks += [_block(body, first + _BLOCK.size * index) for index in range(count)]
        elif kind == _BYE:
            if len(body) < 4 * count:
                raise DropError(NetCounter.MALFORMED)
            report.byes += struct.unpack_from(f"!{count}I", body)
        start = stop
    return report


class ReceptionStatistics:
    """What a receiver has to say about one stream (RFC 3550 appendices A.3 and A.8).

    Parameters
    ----------
    clock_hz
        Of the RTP timestamps: the sample rate.
    """

    def __init__(self, clock_hz: int) -> None:
        self._clock_hz = clock_hz
        self.reset()

    def reset(self) -> None:
        """Another stream begins."""
        self._transit: int | None = None
        self._jitter = 0.0
        self._expected_before = self._lost_before = 0
        self._report_ntp = self._report_ns = 0

    def arrive(self, timestamp: int, arrival_ns: int) -> None:
        """An audio packet with its RTP timestamp arrived at CLOCK_MONOTONIC."""
        transit = arrival_ns * self._clock_hz // 1_000_000_000 - timestamp
        if self._transit is not None:
            change = (transit - self._transit + 0x80000000 & 0xFFFFFFFF) - 0x80000000
            self._jitter += (abs(change) - self._jitter) / 16
        self._transit = transit

    def sender_report(self, ntp: int, arrival_ns: int) -> None:
        """A sender report of the stream arrived."""
        self._report_ntp, self._report_ns = compact_ntp(ntp), arrival_ns

    def block(self, ssrc: int, highest_sequence: int, expected: int, lost: int, now_ns: int) -> ReportBlock:
        """The next report block.

        Parameters
        ----------
        ssrc
            Of the stream.
        highest_sequence
            Extended.
        expected, lost
            Packets since the stream began.
        now_ns
            CLOCK_MONOTONIC.
        """
        newly_expected, newly_lost = expected - self._expected_before, lost - self._lost_before
        self._expected_before, self._lost_before = expected, lost
        fraction = min(255, 256 * newly_lost // newly_expected) if newly_expected > 0 and newly_lost > 0 else 0
        delay = (now_ns - self._report_ns << 16) // 1_000_000_000 if self._report_ntp else 0
        return ReportBlock(ssrc, fraction, lost, highest_sequence, int(self._jitter), self._report_ntp, delay)


def _packet(kind: int, count: int, ssrc: int, body: bytes) -> bytes:
    """One RTCP packet; its length field counts 32-bit words less one (section 6.4.1)."""
    return _HEADER.pack(0x80 | count, kind, 1 + len(body) // 4, ssrc) + body


def _block(body: memoryview | bytes, start: int) -> ReportBlock:
    ssrc, losses, highest, jitter, last_report, delay = _BLOCK.unpack_from(body, start)
    lost = (losses & 0xFFFFFF ^ 0x800000) - 0x800000
    return ReportBlock(ssrc, losses >> 24, lost, highest, jitter, last_report, delay)
