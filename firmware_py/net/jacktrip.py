"""JackTrip's datagrams, P2P and hub, as version 1.7.0 sends and understands them: see docs/wire.md."""

import struct
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..rt.spec import StreamSpec
from .config import NetConfig
from .counters import DropError, NetCounter
from .numbering import PacketNumbering, signed16
from .samples import SampleCodec
from .wire import Datagram, Heard, Sink

__all__ = [
    "EXIT_PACKET",
    "HEADER_BYTES",
    "JackTripHeader",
    "JackTripWire",
    "hub_greeting",
    "hub_port",
    "pack_header",
    "parse_header",
]

HEADER_BYTES = 16
EXIT_PACKET = b"\xff" * 63
"""Says that the sender leaves."""
_EXIT_COPIES = 2
_HEADER = struct.Struct("<QHHBBBB")
_RATES_HZ = (22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000)
_NO_CHANNELS = 255
_BYTE_ORDER = (1, 0, 2)
"""24 bits are the upper 16 in little-endian order, then the lowest byte."""
_COPIES_MAX = 8
_HUB_NAME_BYTES = 64


class JackTripHeader(NamedTuple):
    """What stands before the samples."""

    time_us: int
    """Since 1970, by the sender's clock."""
    sequence: int
    """0 to 65,535."""
    packet_samples: int
    sample_rate_hz: int
    bits: int
    """8, 16, 24 or 32."""
    wanted_channels: int
    """How many channels the sender wants to receive."""
    channels: int
    """How many follow."""

    @property
    def packet_bytes(self) -> int:
        """Of the samples that follow."""
        return self.packet_samples * self.channels * self.bits // 8


def pack_header(out: bytearray, at: int, header: JackTripHeader) -> None:
    """Write a header to 16 bytes from `at`; an unknown sample rate is a ValueError."""
    _HEADER.pack_into(
        out,
        at,
        header.time_us & 0xFFFFFFFFFFFFFFFF,
        header.sequence & 0xFFFF,
        header.packet_samples,
        _RATES_HZ.index(header.sample_rate_hz),
        header.bits,
        header.wanted_channels,
        0 if header.channels == header.wanted_channels else header.channels,
    )


def parse_header(datagram: memoryview | bytes | bytearray, at: int = 0) -> JackTripHeader:
    """Read a header; DropError when it is too short or says what cannot be."""
    if at + HEADER_BYTES > len(datagram):
        raise DropError(NetCounter.MALFORMED)
    time_us, sequence, packet_samples, rate, bits, wanted, channels = _HEADER.unpack_from(datagram, at)
    if rate >= len(_RATES_HZ) or bits not in (8, 16, 24, 32):
        raise DropError(NetCounter.MALFORMED)
    channels = {0: wanted, _NO_CHANNELS: 0}.get(channels, channels)
    return JackTripHeader(time_us, sequence, packet_samples, _RATES_HZ[rate], bits, wanted, channels)


def hub_greeting(udp_port: int, name: str) -> bytes:
    """What a client sends to a hub over TCP: its UDP port, and its name, cut to 63 bytes of UTF-8."""
    encoded = name.encode()[: _HUB_NAME_BYTES - 1].decode(errors="ignore").encode()
    return struct.pack("<i", udp_port) + encoded.ljust(_HUB_NAME_BYTES, b"\0")


def hub_port(answer: bytes) -> int | None:
    """The UDP port that a hub answers with, in 4 bytes; None when it is none."""
    if len(answer) != 4:
        return None
    port = int.from_bytes(answer, "little", signed=True)
    return port if 0 < port < 65_536 else None


class JackTripWire:
    """JackTrip's format, without encryption: it has none.

    Parameters
    ----------
    config
        ``bits`` and ``redundancy`` are used.
    """

    def __init__(self, config: NetConfig) -> None:
        self._bits = config.bits
        self._redundancy = config.redundancy
        self.max_datagram_bytes = 0

    def prepare(self, spec: StreamSpec, counters: NDArray[np.int64]) -> None:
        """Allocate for this format of stream; InputError for a sample rate that the format has no code for."""
        if spec.sample_rate_hz not in _RATES_HZ:
            choice = ", ".join(str(rate) for rate in _RATES_HZ[:-1])
            raise InputError(f"sample_rate_hz is {spec.sample_rate_hz}: JackTrip has {choice}")
        self._spec, self._counters = spec, counters
        self._codec = SampleCodec(self._bits, spec.packet_samples, spec.channels, order=_BYTE_ORDER, planar=True)
        self._whole_bytes = HEADER_BYTES + self._codec.packet_bytes
        self.max_datagram_bytes = min(65_507, (1 + _COPIES_MAX) * max(self._whole_bytes, len(EXIT_PACKET)))
        copies = min(self._redundancy, self.max_datagram_bytes // self._whole_bytes - 1)
        self._out = bytearray((1 + copies) * self._whole_bytes)
        self._out_view = memoryview(self._out)
        self._out_bytes = np.frombuffer(self._out, np.uint8)
        self._filled_bytes = 0
        self._first_number: int | None = None
        self._started_us = time.time_ns() // 1000
        self.numbering = PacketNumbering(spec.packet_ns)

    def encode(self, packet_number: int, samples: NDArray[np.float32]) -> Datagram:
        """The datagram for one packet, the earlier ones after it; valid until the next call."""
        if self._first_number is None:
            self._first_number = packet_number
        age = packet_number - self._first_number
        whole, kept = self._whole_bytes, min(self._filled_bytes, len(self._out) - self._whole_bytes)
        self._out_view[whole : whole + kept] = bytes(self._out_view[:kept])
        spec = self._spec
        pack_header(
            self._out,
            0,
            JackTripHeader(
                self._started_us + age * spec.packet_ns // 1000,
                age,
                spec.packet_samples,
                spec.sample_rate_hz,
                self._bits,
                spec.channels,
                spec.channels,
            ),
        )
        self._codec.pack(samples, self._out_bytes[HEADER_BYTES:whole])
        self._filled_bytes = whole + kept
        return self._out_view[: self._filled_bytes]

    def decode(self, datagram: memoryview, arrival_ns: int, sink: Sink) -> Heard:
        """Hand the datagram's packets to the sink, or count why not."""
        if datagram == EXIT_PACKET:
            self.interrupt()
            return Heard.GOODBYE
        try:
            self._decode_audio(datagram, arrival_ns, sink)
        except DropError as drop:
            self._counters[drop.cause] += 1
            return Heard.NOTHING
        return Heard.AUDIO

    def reports(self, now_ns: int) -> Sequence[Datagram]:
        """Nothing: the format has no reports."""
        return ()

    def goodbye(self, now_ns: int) -> Sequence[Datagram]:
        """JackTrip's exit packet, twice."""
        return (EXIT_PACKET,) * _EXIT_COPIES

    def interrupt(self) -> None:
        """The peer fell silent or left: its next packet may come from anywhere in its sequence."""
        self.numbering.interrupt()

    def _decode_audio(self, datagram: memoryview, arrival_ns: int, sink: Sink) -> None:
        header = parse_header(datagram)
        whole = HEADER_BYTES + header.packet_bytes
        if len(datagram) % whole:
            raise DropError(NetCounter.MALFORMED)
        self._counters[NetCounter.PEER_PACKET_SAMPLES] = header.packet_samples
        self._counters[NetCounter.PEER_SAMPLE_RATE_HZ] = header.sample_rate_hz
        spec = self._spec
        if (header.sample_rate_hz, header.bits, header.channels) != (spec.sample_rate_hz, self._bits, spec.channels):
            raise DropError(NetCounter.WRONG_FORMAT)
        if header.packet_samples != spec.packet_samples:
            raise DropError(NetCounter.WRONG_SIZE)
        numbering = self.numbering
        restarts = numbering.restarts
        number = numbering.number(header.sequence, arrival_ns)
        if number is None:
            raise DropError(NetCounter.JUMPED)
        self._counters[NetCounter.RESTARTS] += numbering.restarts - restarts
        numbering.arrive(number)
        for at in range(len(datagram) - whole, 0, -whole):  # the oldest first
            copy = parse_header(datagram, at)
            back = 0 if copy[2:] != header[2:] else signed16(header.sequence - copy.sequence)
            if back > 0 and numbering.recover(number - back):
                self._counters[NetCounter.RECOVERED] += 1
                sink(number - back, arrival_ns, self._unpack(datagram, at), True)
        self._counters[NetCounter.LOST_BY_US] = numbering.lost
        self._counters[NetCounter.RECEIVED] += 1
        sink(number, arrival_ns, self._unpack(datagram, 0), False)

    def _unpack(self, datagram: memoryview, at: int) -> NDArray[np.float32]:
        return self._codec.unpack(np.frombuffer(datagram[at + HEADER_BYTES : at + self._whole_bytes], np.uint8))
