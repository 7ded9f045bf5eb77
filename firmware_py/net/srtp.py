"""RTP and RTCP encrypted, authenticated and protected against replay (SRTP, RFC 3711), with a key known to both ends.

AES-128 in counter mode with an 80-bit HMAC-SHA1 tag, by libsrtp. Both directions use one master key: their SSRCs, drawn
at random for each stream, keep their key streams apart (RFC 3711 section 9.1).

A receiver that comes late cannot see how often a sender's 16-bit sequence has wrapped, which the cipher needs to know
(section 3.3.1). It learns that from the sender's next report, whose own index is 31 bits long and sent in clear: the
count of packets sent, and the sequence number that is on the air.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingError
from ..rt.spec import StreamSpec
from .counters import DropError, NetCounter
from .rtcp import is_rtcp, parse_rtcp
from .rtp import HEADER_BYTES, pack_header
from .rtp_wire import RtpWire
from .wire import Datagram, Heard, Sink

try:
    import pylibsrtp
    from pylibsrtp._binding import ffi  # type: ignore[import-not-found]
except ImportError as error:  # an extra: said when it is asked for
    _MISSING: ImportError | None = error
else:
    _MISSING = None

__all__ = ["SrtpWire"]

_RTCP_HEADER_BYTES = 8
_WINDOW_PACKETS = 1024
"""Packets that come later than this after their successors cannot be told from replayed ones, and are dropped."""
_WIND_STEP = 0x7000
"""Less than half of the sequence: a longer step would be taken for one back."""
_WRAPS_MAX = 1 << 15


class SrtpWire:
    """An `RtpWire` in SRTP and SRTCP.

    Parameters
    ----------
    inner
        What is protected.
    secret
        Master key and salt, 30 bytes.

    Raises
    ------
    MissingError
        Without pylibsrtp.
    """

    def __init__(self, inner: RtpWire, secret: bytes) -> None:
        if _MISSING is not None:
            raise MissingError("SRTP needs pylibsrtp: run `pip install 'continuo-nmp[box]'`") from _MISSING
        self._inner = inner
        self._secret = secret
        self.max_datagram_bytes = 0

    def prepare(self, spec: StreamSpec, counters: NDArray[np.int64]) -> None:
        """Allocate for this format of stream."""
        self._counters = counters
        self._inner.prepare(spec, counters)
        self.max_datagram_bytes = self._inner.max_datagram_bytes
        self._outbound = self._session(outbound=True)
        self._inbound = self._session(outbound=False)
        self._inbound_rtcp = self._session(outbound=False)  # apart: its memory of replays outlives `_come_late`
        self._known_ssrc: int | None = None  # its datagrams decrypt: the count of its wraps is right
        self._reported: tuple[int, int] | None = None  # SSRC and packets sent of the last sender report

    def encode(self, packet_number: int, samples: NDArray[np.float32]) -> Datagram:
        """The protected datagram for one packet."""
        return self._outbound.protect(bytes(self._inner.encode(packet_number, samples)))

    def decode(self, datagram: memoryview, arrival_ns: int, sink: Sink) -> Heard:
        """Authenticate, decrypt, and hand the datagram's packets to the sink, or count why not."""
        try:
            control = is_rtcp(datagram)
            plain = self._unprotect_rtcp(datagram) if control else self._unprotect(datagram)
        except DropError as drop:
            self._counters[drop.cause] += 1
            return Heard.NOTHING
        return self._inner.decode(memoryview(plain), arrival_ns, sink)

    def reports(self, now_ns: int) -> Sequence[Datagram]:
        """Protected RTCP reports that are due."""
        return [self._outbound.protect_rtcp(bytes(report)) for report in self._inner.reports(now_ns)]

    def goodbye(self, now_ns: int) -> Sequence[Datagram]:
        """Protected RTCP BYE."""
        return [self._outbound.protect_rtcp(bytes(report)) for report in self._inner.goodbye(now_ns)]

    def interrupt(self) -> None:
        """The peer fell silent or left: the next stream may be another."""
        self._known_ssrc = None
        self._inner.interrupt()

    def _unprotect(self, datagram: memoryview) -> bytes:
        if len(datagram) < HEADER_BYTES or datagram[0] >> 6 != 2:
            raise DropError(NetCounter.MALFORMED)
        ssrc = self._accepted(datagram, 8)
        protected = bytes(datagram)
        try:
            plain = self._inbound.unprotect(protected)
        except pylibsrtp.Error as error:
            cause = _cause(error)
            late = self._come_late(protected, ssrc) if cause == NetCounter.UNAUTHENTICATED else None
            if late is None:
                raise DropError(cause) from None
            plain = late
        self._known_ssrc = ssrc
        return plain

    def _unprotect_rtcp(self, datagram: memoryview) -> bytes:
        if len(datagram) < _RTCP_HEADER_BYTES:
            raise DropError(NetCounter.MALFORMED)
        ssrc = self._accepted(datagram, 4)
        try:
            plain = self._inbound_rtcp.unprotect_rtcp(bytes(datagram))
        except pylibsrtp.Error as error:
            raise DropError(_cause(error)) from None
        report = parse_rtcp(plain)
        if report.ntp is not None:
            self._reported = ssrc, report.packets_sent
        return plain

    def _accepted(self, datagram: memoryview, at: int) -> int:
        """The sender's SSRC, before the work of decrypting what is not the peer's."""
        ssrc = int.from_bytes(datagram[at : at + 4], "big")
        if not self._inner.accepts_ssrc(ssrc):
            raise DropError(NetCounter.FOREIGN_SSRC)
        return ssrc

    def _come_late(self, protected: bytes, ssrc: int) -> bytes | None:
        """Decrypt a stream that began long ago, with the number of wraps that its sender's report implies.

        The sender began its sequence below 2^15 (as section 3.3.1 asks, and with it every gap of its own in the
        sequence shifts the count), so one wrap more or less is tried too. Once per report: a forged datagram must not
        cost much.
        """
        if self._reported is None or self._reported[0] != ssrc or self._known_ssrc == ssrc:
            return None
        packets_sent = self._reported[1]
        self._reported = None
        sequence = int.from_bytes(protected[2:4], "big")
        first = sequence - packets_sent + 1 & 0xFFFF
        likely = first + packets_sent - 1 >> 16
        for wraps in (likely, likely + 1, likely - 1):
            if not 0 < wraps <= _WRAPS_MAX:
                continue
            session = self._wound(ssrc, wraps, sequence)
            try:
                plain = session.unprotect(protected)
            except pylibsrtp.Error:
                continue
            self._inbound = session
            return plain
        return None

    def _wound(self, ssrc: int, wraps: int, sequence: int) -> "pylibsrtp.Session":
        """A session that has seen the sequence wrap this often, by empty packets of our own that nobody else sees."""
        sender, session = self._session(outbound=True), self._session(outbound=False)
        packet = bytearray(HEADER_BYTES)
        # Stops short of the packet by the window, which is for packets that come reordered.
        index, target = 0, (wraps << 16) + sequence - _WINDOW_PACKETS
        while index < target:
            index = min(index + _WIND_STEP, target)
            pack_header(packet, 0, index, 0, ssrc)
            session.unprotect(sender.protect(bytes(packet)))
        return session

    def _session(self, outbound: bool) -> "pylibsrtp.Session":
        kind = pylibsrtp.Policy.SSRC_ANY_OUTBOUND if outbound else pylibsrtp.Policy.SSRC_ANY_INBOUND
        policy = pylibsrtp.Policy(key=self._secret, ssrc_type=kind)
        policy.window_size = _WINDOW_PACKETS
        session = pylibsrtp.Session(policy)
        # Its own buffer ends at 1500 bytes; our packets may be longer and are then fragmented.
        session._cdata = ffi.new("char[]", self.max_datagram_bytes + pylibsrtp.SRTP_MAX_SRTCP_TRAILER_LEN)
        session._buffer = ffi.buffer(session._cdata)
        return session


def _cause(error: Exception) -> NetCounter:
    text = str(error)
    if text.startswith("replay check failed"):
        return NetCounter.REPLAYED
    malformed = ("error parsing data", "unsupported parameter")
    return NetCounter.MALFORMED if text in malformed else NetCounter.UNAUTHENTICATED
