"""RTP's fixed header (RFC 3550 section 5.1), as bytes and back."""

import struct
from typing import NamedTuple

from .counters import DropError, NetCounter

__all__ = ["HEADER_BYTES", "RtpHeader", "pack_header", "parse_header"]

HEADER_BYTES = 12
_HEADER = struct.Struct("!BBHII")


class RtpHeader(NamedTuple):
    """What a header says, and where the payload lies in the datagram."""

    payload_type: int
    """0 to 127."""
    sequence: int
    """0 to 65,535."""
    timestamp: int
    """In samples, modulo 2^32."""
    ssrc: int
    payload_start: int
    payload_stop: int


def pack_header(out: bytearray, payload_type: int, sequence: int, timestamp: int, ssrc: int) -> None:
    """Write a header without marker, contributors or extension to the first 12 bytes.

    Continuous audio sets no marker (RFC 3551 section 4.1). Numbers are taken modulo their width.
    """
    _HEADER.pack_into(out, 0, 0x80, payload_type, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)


def parse_header(datagram: memoryview | bytes | bytearray) -> RtpHeader:
    """Read a header with whatever contributors, extension and padding; DropError when malformed (RFC 3550 app. A.1)."""
    stop = len(datagram)
    if stop < HEADER_BYTES:
        raise DropError(NetCounter.MALFORMED)
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(datagram, 0)
    if first >> 6 != 2:
        raise DropError(NetCounter.MALFORMED)
    start = HEADER_BYTES + 4 * (first & 0x0F)
    if first & 0x10:  # extension: its length field counts 32-bit words after the first
        if start + 4 > stop:
            raise DropError(NetCounter.MALFORMED)
        start += 4 + 4 * int.from_bytes(datagram[start + 2 : start + 4], "big")
    if start > stop:
        raise DropError(NetCounter.MALFORMED)
    if first & 0x20:  # padding: the last byte counts it, itself included
        padding = datagram[stop - 1]
        if not 1 <= padding <= stop - start:
            raise DropError(NetCounter.MALFORMED)
        stop -= padding
    return RtpHeader(second & 0x7F, sequence, timestamp, ssrc, start, stop)
