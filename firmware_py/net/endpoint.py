"""The network process's whole work: sockets, a wire, and a clock.

Its loop is `Endpoint.poll`, which receives and calls the sink, and `Endpoint.send` for each packet of our own.
"""

import selectors
import socket
import time
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..rt.spec import StreamSpec
from .address import Address, arrival_ns, bare_host, open_udp, resolve
from .config import NetConfig
from .counters import NetCounter, PeerState, new_counters
from .hub import HubHandshake
from .make_wire import make_wire
from .wire import Datagram, Heard, Sink

__all__ = ["Endpoint"]

_DATAGRAMS_AT_ONCE = 64
"""After so many the caller gets its turn to send, whatever else has arrived."""
_ANCILLARY_BYTES = socket.CMSG_SPACE(16)
_TICK_S = 0.05
_HUB_ATTEMPT_NS = 5_000_000_000
"""For one handshake with the hub, and how long we wait for its audio before the next."""


class Endpoint:
    """Talks to one peer. Not for several threads.

    Parameters
    ----------
    config
        Who the peer is and how to talk to it.
    spec
        Format of both directions.
    sink
        Called from `poll` for every packet that arrives. See `wire.Sink`.
    counters : [shape=(len(NetCounter),)], optional
        int64, for example in shared memory. They are added to, not cleared, but for the values among them.

    Raises
    ------
    InputError
        When the peer's name leads nowhere, or the wire cannot carry this format.
    MissingError
        When the wire needs a library that is not installed.
    RunError
        When the port is taken.
    """

    def __init__(
        self,
        config: NetConfig,
        spec: StreamSpec,
        sink: Sink,
        counters: NDArray[np.int64] | None = None,
    ) -> None:
        self.counters = new_counters() if counters is None else counters
        self._config = config
        self._sink = sink
        self._wire = make_wire(config)
        self._wire.prepare(spec, self.counters)
        self._is_hub = config.wire == "jacktrip-hub"
        self._peer: Address | None = None
        self._handshake: HubHandshake | None = None
        self._handshake_ns = self._heard_ns = time.monotonic_ns()
        family: int = socket.AF_INET6
        if config.peer_host:
            kind = socket.SOCK_STREAM if self._is_hub else socket.SOCK_DGRAM
            family, self._configured = resolve(config.peer_host, config.peer_port, kind)
            self._family = family
            if not self._is_hub:
                self._peer = self._configured
        self._socket = open_udp(family, config.local_host, config.local_port, config.dscp)
        self._buffer = bytearray(self._wire.max_datagram_bytes + 1)
        self._view = memoryview(self._buffer)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._set_state(PeerState.WAITING)
        if self._is_hub:
            self._begin_handshake(self._handshake_ns)

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def local_port(self) -> int:
        """The UDP port that we listen on."""
        return int(self._socket.getsockname()[1])

    @property
    def peer_state(self) -> PeerState:
        """What is known of the peer."""
        return PeerState(self.counters.item(NetCounter.PEER_STATE))

    def wait_also(self, file_descriptor: int) -> None:
        """Let `poll` return when this becomes readable too: an eventfd that says that there is something to send."""
        self._selector.register(file_descriptor, selectors.EVENT_READ)

    def poll(self, timeout_s: float) -> bool:
        """Wait for datagrams, hand their packets to the sink, and do what is due. Raises nothing of its own.

        Parameters
        ----------
        timeout_s
            At most; returns earlier when anything has happened, and after 50 ms to be called again.

        Returns
        -------
        bool
            Whether a descriptor given to `wait_also` is readable. It is the caller's to read.
        """
        also = False
        for key, _ in self._selector.select(min(timeout_s, _TICK_S)):
            if key.fileobj is self._socket:
                self._receive()
            else:
                also = True
        self._tick(time.monotonic_ns())
        return also

    def send(self, packet_number: int, samples: NDArray[np.float32]) -> bool:
        """Send one packet; False when it was counted as not sent. Never waits.

        Parameters
        ----------
        packet_number
            Grows by one per packet; one left out keeps its number.
        samples : [shape=(packet_samples, channels)]
            float32, full scale 1.
        """
        datagram = self._wire.encode(packet_number, samples)
        if self._peer is None:
            self._count(NetCounter.SEND_DROPPED)
            return False
        sent = self._send_to(datagram, self._peer)
        if sent:
            self._count(NetCounter.SENT)
        return sent

    def close(self) -> None:
        """Say goodbye and close. Does nothing the second time."""
        if self._socket.fileno() < 0:
            return
        if self._peer is not None:
            for datagram in self._wire.goodbye(time.monotonic_ns()):
                self._send_to(datagram, self._peer)
        if self._handshake is not None:
            self._handshake.close()
        self._selector.close()
        self._socket.close()

    def _receive(self) -> None:
        for _ in range(_DATAGRAMS_AT_ONCE):
            try:
                size, ancillary, flags, source = self._socket.recvmsg_into([self._buffer], _ANCILLARY_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # an ICMP error of an earlier datagram: it says nothing about those that wait
                continue
            if flags & socket.MSG_TRUNC or size > self._wire.max_datagram_bytes:
                self._count(NetCounter.OVERSIZED)
            elif not self._may_be_peer(source):
                self._count(NetCounter.FOREIGN_ADDRESS)
            else:
                heard = self._wire.decode(self._view[:size], arrival_ns(ancillary), self._sink)
                if heard != Heard.NOTHING:
                    self._heard(heard, source)

    def _may_be_peer(self, source: Address) -> bool:
        """The configured host, from any port (routers change it); without one, anybody while there is no peer."""
        if self._config.peer_host:
            return bare_host(source) == bare_host(self._configured)
        return source == self._peer or self.peer_state != PeerState.PLAYING

    def _heard(self, heard: Heard, source: Address) -> None:
        if not self._config.peer_host:
            self._peer = source
        if heard == Heard.AUDIO:
            self._heard_ns = time.monotonic_ns()
            if self.peer_state != PeerState.PLAYING:
                self._set_state(PeerState.PLAYING)
        elif heard == Heard.GOODBYE and self.peer_state != PeerState.GONE:
            self._count(NetCounter.GOODBYES)
            self._set_state(PeerState.GONE)

    def _tick(self, now_ns: int) -> None:
        if self.peer_state == PeerState.PLAYING and now_ns - self._heard_ns > self._config.stopped_ms * 1_000_000:
            self._count(NetCounter.STOPS)
            self._set_state(PeerState.STOPPED)
            self._wire.interrupt()
        if self._peer is not None:
            for datagram in self._wire.reports(now_ns):
                self._send_to(datagram, self._peer)
        if self._is_hub:
            self._join_hub(now_ns)

    def _join_hub(self, now_ns: int) -> None:
        """Greet the hub; greet it again when it has been silent for long."""
        if self._handshake is not None:
            port = self._handshake.advance(now_ns)
            if port is not None:
                self._peer = (self._configured[0], port, *self._configured[2:])
            if port is not None or self._handshake.failed:
                self._handshake = None
        elif self.peer_state != PeerState.PLAYING and (
            now_ns - max(self._handshake_ns, self._heard_ns) > _HUB_ATTEMPT_NS
        ):
            self._begin_handshake(now_ns)

    def _begin_handshake(self, now_ns: int) -> None:
        self._peer = None
        self._handshake_ns = now_ns
        self._handshake = HubHandshake(
            self._family, self._configured, self.local_port, self._config.name, now_ns + _HUB_ATTEMPT_NS
        )

    def _send_to(self, datagram: Datagram, address: Address) -> bool:
        try:
            self._socket.sendto(datagram, address)
        except (BlockingIOError, InterruptedError):
            self._count(NetCounter.SEND_DROPPED)
        except OSError:
            self._count(NetCounter.SEND_FAILED)
        else:
            return True
        return False

    def _count(self, counter: NetCounter) -> None:
        self.counters[counter] += 1

    def _set_state(self, state: PeerState) -> None:
        self.counters[NetCounter.PEER_STATE] = state
