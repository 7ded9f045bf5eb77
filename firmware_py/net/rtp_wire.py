"""Audio over RTP with RTCP on the same port: the state of one stream in each direction.

L16 (RFC 3551 section 4.5.11) and L24 (RFC 3190), one packet of samples per datagram, optionally with redundant copies
(RFC 2198). RTCP is multiplexed (RFC 5761), so that one port has to be open.
"""

import random
import secrets
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..rt.spec import StreamSpec
from .config import NetConfig
from .counters import DropError, NetCounter
from .numbering import PacketNumbering
from .redundancy import copies_possible, parse_redundant, redundant_headers
from .rtcp import ReceptionStatistics, ReportBlock, build_bye, build_report, is_rtcp, ntp_of, parse_rtcp, round_trip_ns
from .rtp import HEADER_BYTES, pack_header, parse_header
from .samples import SampleCodec
from .wire import Datagram, Heard, Sink

__all__ = ["RtpWire"]

_COPIES_MAX = 8
_OVERHEAD_BYTES = 1024
"""Headers, contributors, extension, padding and SRTP trailer that a sender may add to its samples."""
_REPORT_S = 1.0
"""Between reports on average. RFC 3550 section 6.2 allows less than its 5 s: 360 / (kbit/s of the session) seconds."""
_SKIP_PACKETS_MAX = 1 << 14
"""A gap in our own numbers that is longer makes a new stream: nobody could tell how often the sequence wrapped."""


class RtpWire:
    """RTP without encryption.

    Parameters
    ----------
    config
        ``bits``, ``redundancy``, ``payload_type`` and ``name`` are used.
    """

    def __init__(self, config: NetConfig) -> None:
        self._bits = config.bits
        self._redundancy = config.redundancy
        self._audio_type = config.payload_type
        self._redundant_type = config.payload_type + 1
        self._cname = f"{config.name}-{secrets.token_hex(6)}"  # unique, and says nothing of the machine (RFC 7022)
        self.max_datagram_bytes = 0

    def prepare(self, spec: StreamSpec, counters: NDArray[np.int64]) -> None:
        """Allocate for this format of stream."""
        self._spec, self._counters = spec, counters
        self._codec = SampleCodec(self._bits, spec.packet_samples, spec.channels, order=(0, 1, 2), planar=False)
        self._frame_bytes = spec.channels * self._codec.bytes_per_sample
        packet_bytes = self._codec.packet_bytes
        self.max_datagram_bytes = min(65_507, (1 + _COPIES_MAX) * packet_bytes + _OVERHEAD_BYTES)
        room = (self.max_datagram_bytes - _OVERHEAD_BYTES) // packet_bytes - 1
        self._copies_most = min(self._redundancy, copies_possible(spec.packet_samples), room)
        self._headers = [b""] + [
            redundant_headers(self._audio_type, copies, spec.packet_samples, self._frame_bytes)
            for copies in range(1, self._copies_most + 1)
        ]
        self._packets = self._octets = self._in_row = 0
        self._out = bytearray(self.max_datagram_bytes)
        self._out_view = memoryview(self._out)
        self._out_bytes = np.frombuffer(self._out, np.uint8)
        self._history = [np.zeros(packet_bytes, np.uint8) for _ in range(self._copies_most + 1)]
        self._copy = np.zeros(packet_bytes, np.uint8)
        self.numbering = PacketNumbering(spec.packet_ns)
        self._reception = ReceptionStatistics(spec.sample_rate_hz)
        # Taken once: a step of the wall clock must not look like a round trip.
        self._clock_ns = time.time_ns() - time.monotonic_ns()
        self._next_report_ns = 0
        self._peer_ssrc: int | None = None
        self._peer_may_change = True
        self._sequence_offset = 0
        self._first_number = self._last_number = 0
        self._begin_stream()

    @property
    def ssrc(self) -> int:
        """Our SSRC."""
        return self._ssrc

    def accepts_ssrc(self, ssrc: int) -> bool:
        """Whether this is the peer's stream, or may be its next one, the peer being silent."""
        return ssrc != self._ssrc and (ssrc == self._peer_ssrc or self._peer_may_change)

    def encode(self, packet_number: int, samples: NDArray[np.float32]) -> Datagram:
        """The datagram for one packet; valid until the next call."""
        step = packet_number - self._last_number
        if not self._packets:
            self._first_number = packet_number
        elif not 0 < step < _SKIP_PACKETS_MAX:
            self._begin_stream()
            self._first_number = packet_number
        else:
            self._in_row = min(self._in_row + 1, self._copies_most) if step == 1 else 0
        history, packet_bytes = self._history, self._codec.packet_bytes
        history.append(history.pop(0))  # the oldest one's memory is the new one's
        self._codec.pack(samples, history[-1])
        headers = self._headers[self._in_row]
        at = HEADER_BYTES
        if headers:
            self._out_view[at : at + len(headers)] = headers
            at += len(headers)
        for payload in history[len(history) - 1 - self._in_row :]:
            self._out_bytes[at : at + packet_bytes] = payload
            at += packet_bytes
        age = packet_number - self._first_number
        pack_header(
            self._out,
            self._redundant_type if headers else self._audio_type,
            self._first_sequence + age,
            self._first_timestamp + age * self._spec.packet_samples,
            self._ssrc,
        )
        self._last_number = packet_number
        self._packets += 1
        self._octets += at - HEADER_BYTES
        return self._out_view[:at]

    def decode(self, datagram: memoryview, arrival_ns: int, sink: Sink) -> Heard:
        """Hand the datagram's packets to the sink, or count why not."""
        try:
            if is_rtcp(datagram):
                return self._decode_rtcp(datagram, arrival_ns)
            self._decode_audio(datagram, arrival_ns, sink)
        except DropError as drop:
            self._counters[drop.cause] += 1
            return Heard.NOTHING
        return Heard.AUDIO

    def reports(self, now_ns: int) -> Sequence[Datagram]:
        """A sender or receiver report when one is due: every second, give or take a half (RFC 3550 section 6.3.1)."""
        if now_ns < self._next_report_ns:
            return ()
        self._next_report_ns = now_ns + round(_REPORT_S * 1e9 * random.uniform(0.5, 1.5))
        sender = None
        if self._packets:
            next_age = self._last_number + 1 - self._first_number
            timestamp = self._first_timestamp + next_age * self._spec.packet_samples
            sender = (ntp_of(now_ns + self._clock_ns), timestamp, self._packets, self._octets)
        blocks: tuple[ReportBlock, ...] = ()
        numbering = self.numbering
        if self._peer_ssrc is not None and numbering.arrived:
            expected = numbering.highest + 1 - numbering.first
            highest = numbering.highest - self._sequence_offset
            blocks = (self._reception.block(self._peer_ssrc, highest, expected, numbering.lost, now_ns),)
        return (build_report(self._ssrc, self._cname, sender, blocks),)

    def goodbye(self, now_ns: int) -> Sequence[Datagram]:
        """RTCP's BYE."""
        return (build_bye(self._ssrc, self._cname),)

    def interrupt(self) -> None:
        """The peer fell silent or left: the next stream may be another."""
        self._peer_may_change = True
        self.numbering.interrupt()

    def _begin_stream(self) -> None:
        """Random beginnings (RFC 3550 section 5.1), the sequence in the lower half (RFC 3711 section 3.3.1)."""
        self._ssrc = secrets.randbits(32)
        self._first_sequence = secrets.randbits(15)
        self._first_timestamp = secrets.randbits(32)
        self._packets = self._octets = self._in_row = 0

    def _decode_audio(self, datagram: memoryview, arrival_ns: int, sink: Sink) -> None:
        header = parse_header(datagram)
        payload = datagram[header.payload_start : header.payload_stop]
        blocks: list[tuple[int, int, int, int]] = []
        if header.payload_type == self._redundant_type:
            redundant = parse_redundant(payload)
            blocks, payload_type = redundant.blocks, redundant.primary_type
            primary = payload[redundant.primary_start :]
        else:
            primary, payload_type = payload, header.payload_type
        if payload_type != self._audio_type:
            raise DropError(NetCounter.FOREIGN_PAYLOAD_TYPE)
        if not self.accepts_ssrc(header.ssrc):
            raise DropError(NetCounter.FOREIGN_SSRC)
        self._counters[NetCounter.PEER_PACKET_SAMPLES] = len(primary) // self._frame_bytes
        if len(primary) != self._codec.packet_bytes:
            raise DropError(NetCounter.WRONG_SIZE)
        number = self._numbered(header.ssrc, header.sequence, arrival_ns)
        if number is None:
            raise DropError(NetCounter.JUMPED)
        if blocks:
            self._recover(payload, blocks, number, arrival_ns, sink)
        self._reception.arrive(header.timestamp, arrival_ns)
        self._counters[NetCounter.LOST_BY_US] = self.numbering.lost
        self._counters[NetCounter.RECEIVED] += 1
        sink(number, arrival_ns, self._codec.unpack(np.frombuffer(primary, np.uint8)), False)

    def _numbered(self, ssrc: int, sequence: int, arrival_ns: int) -> int | None:
        numbering = self.numbering
        restarts = numbering.restarts
        if ssrc == self._peer_ssrc:
            number = numbering.number(sequence, arrival_ns)
        else:
            self._peer_ssrc = ssrc
            self._reception.reset()
            number = numbering.restart(sequence, arrival_ns)
        if number is None:
            return None
        self._peer_may_change = False
        if number == numbering.first and not numbering.arrived:
            self._sequence_offset = number - sequence  # what RTCP calls the extended sequence begins without wraps
            self._counters[NetCounter.RESTARTS] += numbering.restarts - restarts
        numbering.arrive(number)
        return number

    def _recover(
        self,
        payload: memoryview,
        blocks: list[tuple[int, int, int, int]],
        number: int,
        arrival_ns: int,
        sink: Sink,
    ) -> None:
        """Put the blocks of earlier packets together; hand on what has not come yet, the oldest first."""
        packet_samples = self._spec.packet_samples
        back, filled_bytes = 0, 0
        for kind, offset_samples, start, stop in blocks:
            block_back = -(-offset_samples // packet_samples)
            at = (block_back * packet_samples - offset_samples) * self._frame_bytes
            if at == 0:
                back, filled_bytes = block_back, 0
            if kind != self._audio_type or not block_back or block_back != back or at != filled_bytes or start == stop:
                back = 0
                continue
            filled_bytes += stop - start
            if filled_bytes > self._copy.size:
                back = 0
                continue
            self._copy[at:filled_bytes] = np.frombuffer(payload[start:stop], np.uint8)
            if filled_bytes == self._copy.size and self.numbering.recover(number - back):
                self._counters[NetCounter.RECOVERED] += 1
                sink(number - back, arrival_ns, self._codec.unpack(self._copy), True)

    def _decode_rtcp(self, datagram: memoryview, arrival_ns: int) -> Heard:
        report = parse_rtcp(datagram)
        if not self.accepts_ssrc(report.ssrc):
            raise DropError(NetCounter.FOREIGN_SSRC)
        self._counters[NetCounter.RTCP_RECEIVED] += 1
        if report.ssrc == self._peer_ssrc and report.ntp is not None:
            self._reception.sender_report(report.ntp, arrival_ns)
        for block in report.blocks:
            if block.ssrc == self._ssrc:
                self._reported(block, arrival_ns)
        if report.ssrc in report.byes and report.ssrc == self._peer_ssrc:
            self.interrupt()
            return Heard.GOODBYE
        return Heard.CONTROL

    def _reported(self, block: ReportBlock, arrival_ns: int) -> None:
        """What the peer says about our stream."""
        counters = self._counters
        counters[NetCounter.LOST_BY_PEER] = block.lost
        counters[NetCounter.PEER_JITTER_NS] = block.jitter * 1_000_000_000 // self._spec.sample_rate_hz
        round_trip = round_trip_ns(block, ntp_of(arrival_ns + self._clock_ns))
        if round_trip is not None:
            counters[NetCounter.ROUND_TRIP_NS] = round_trip
