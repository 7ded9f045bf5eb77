"""Redundant audio (RFC 2198): with each packet the ones before it, so that a lost one comes with the next.

A redundant block's length field has 10 bits, so a packet of 1024 bytes or more goes in several blocks, each with the
timestamp of its first sample. The copies are as good as the original.
"""

import itertools
from dataclasses import dataclass

from .counters import DropError, NetCounter

__all__ = ["BLOCK_BYTES_MAX", "Redundant", "block_samples", "copies_possible", "parse_redundant", "redundant_headers"]

BLOCK_BYTES_MAX = 1023
_OFFSET_MAX = (1 << 14) - 1
"""Timestamp offset of a redundant block: 14 bits, in samples."""


def block_samples(packet_samples: int, frame_bytes: int) -> list[int]:
    """How a packet is cut into blocks of at most 1023 bytes: samples per channel of each, as equal as can be."""
    parts = -(-packet_samples * frame_bytes // (BLOCK_BYTES_MAX // frame_bytes * frame_bytes))
    edges = [packet_samples * part // parts for part in range(parts + 1)]
    return [stop - start for start, stop in itertools.pairwise(edges)]


def redundant_headers(payload_type: int, copies: int, packet_samples: int, frame_bytes: int) -> bytes:
    """Block headers for `copies` earlier packets, the oldest first, and the primary one (RFC 2198 section 3).

    At most `copies_possible` copies.
    """
    headers = bytearray()
    cut = block_samples(packet_samples, frame_bytes)
    for back in range(copies, 0, -1):
        offset = back * packet_samples
        for samples in cut:
            headers += (0x80 | payload_type).to_bytes(1, "big")
            headers += (offset << 10 | samples * frame_bytes).to_bytes(3, "big")
            offset -= samples
    headers.append(payload_type)
    return bytes(headers)


def copies_possible(packet_samples: int) -> int:
    """How many packets back a timestamp offset reaches."""
    return _OFFSET_MAX // packet_samples


@dataclass(frozen=True)
class Redundant:
    """Where the blocks of a payload lie."""

    blocks: list[tuple[int, int, int, int]]
    """Payload type, timestamp offset in samples, first byte and byte after the last, in the payload's order."""
    primary_type: int
    primary_start: int
    """The primary block goes on to the end of the payload."""


def parse_redundant(payload: memoryview | bytes) -> Redundant:
    """Read the block headers of a payload; DropError when they contradict its length."""
    heads: list[tuple[int, int, int]] = []
    at = 0
    while at < len(payload) and payload[at] & 0x80:
        if at + 4 > len(payload):
            raise DropError(NetCounter.MALFORMED)
        word = int.from_bytes(payload[at + 1 : at + 4], "big")
        heads.append((payload[at] & 0x7F, word >> 10, word & BLOCK_BYTES_MAX))
        at += 4
    if at >= len(payload):
        raise DropError(NetCounter.MALFORMED)
    primary_type = payload[at]
    start = at + 1
    blocks = []
    for kind, offset, length in heads:
        blocks.append((kind, offset, start, start + length))
        start += length
    if start > len(payload):
        raise DropError(NetCounter.MALFORMED)
    return Redundant(blocks, primary_type, start)
