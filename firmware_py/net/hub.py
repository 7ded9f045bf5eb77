"""The TCP greeting by which a client joins a JackTrip hub, without ever blocking."""

import contextlib
import socket
from typing import Any

from .jacktrip import hub_greeting, hub_port

__all__ = ["HubHandshake"]

_ANSWER_BYTES = 4


class HubHandshake:
    """One attempt: connect, send our UDP port and name, read the port to send to.

    Parameters
    ----------
    family, address
        Of the hub, as `socket.getaddrinfo` gives them.
    udp_port
        Ours.
    name
        Under which the hub lists us.
    deadline_ns
        CLOCK_MONOTONIC: the attempt fails then.
    """

    def __init__(self, family: int, address: tuple[Any, ...], udp_port: int, name: str, deadline_ns: int) -> None:
        self._deadline_ns = deadline_ns
        self._address = address
        self._to_send = hub_greeting(udp_port, name)
        self._answer = b""
        self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._socket.connect_ex(address)
        self.failed = False

    def advance(self, now_ns: int) -> int | None:
        """Go as far as it goes now: the UDP port once it is known, else None. `failed` tells that it never will be."""
        received: bytes | None
        try:
            if self._to_send:
                self._to_send = self._to_send[self._socket.send(self._to_send) :]
            received = self._socket.recv(_ANSWER_BYTES - len(self._answer))
        except (BlockingIOError, InterruptedError):
            received = None
        except OSError:  # refused, no route
            received = b""
        if received:
            self._answer += received
        port = hub_port(self._answer)
        if port is None and (received == b"" or now_ns >= self._deadline_ns or len(self._answer) == _ANSWER_BYTES):
            self.failed = True
        if port is not None or self.failed:
            self.close()
        return port

    def close(self) -> None:
        """Give up."""
        with contextlib.suppress(OSError):
            self._socket.close()
