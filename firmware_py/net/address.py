"""Addresses and sockets: names resolved, UDP opened, arrival times read."""

import contextlib
import ipaddress
import socket
import struct
import time
from typing import Any

from ..errors import InputError, RunError

__all__ = ["Address", "arrival_ns", "bare_host", "open_udp", "resolve"]

Address = tuple[Any, ...]
"""As the socket module has it: host, port and, for IPv6, flow and scope."""

_SO_TIMESTAMPNS = getattr(socket, "SO_TIMESTAMPNS", 35)  # Linux; the number is the same on x86 and ARM
_TIMESPEC = struct.Struct("@ll")
_BUFFER_BYTES = 1 << 20
_AGE_MAX_NS = 10_000_000_000


def resolve(host: str, port: int, kind: socket.SocketKind) -> tuple[int, Address]:
    """Family and address of a host; InputError when the name leads nowhere. Asks the name server: may take seconds."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=kind)[0]
    except (OSError, UnicodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a host name"
        raise InputError(f"net.peer_host {host}: {reason}: check the name and the network") from None
    return family, address


def open_udp(family: int, host: str, port: int, dscp: int) -> socket.socket:
    """A bound UDP socket that does not block and stamps arrivals; RunError when the port cannot be had.

    Parameters
    ----------
    family
        Of the peer; AF_INET6 without a host listens to IPv4 too, where the machine has IPv6.
    host, port
        To bind to; an empty host is every address.
    dscp
        Class of the datagrams that it sends.
    """
    if host:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    try:
        udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError:
        if host or family == socket.AF_INET:
            raise
        return open_udp(socket.AF_INET, host, port, dscp)  # a kernel without IPv6
    try:
        if family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        udp.bind((host, port))
    except OSError as error:
        udp.close()
        place = f"{host or '*'}:{port}"
        raise RunError(f"UDP {place}: {error.strerror}: choose another net.local_host or net.local_port") from None
    for level, option, value in (
        (socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES),
        (socket.IPPROTO_IP, socket.IP_TOS, dscp << 2),
        (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2),
    ):
        with contextlib.suppress(OSError):  # none of them is needed
            udp.setsockopt(level, option, value)
    return udp


def arrival_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """When the kernel received a datagram, as CLOCK_MONOTONIC in nanoseconds; now, when it did not say.

    The kernel stamps with the wall clock: its distance from now is taken over to the monotonic clock.
    """
    now_ns = time.monotonic_ns()
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            age_ns = time.time_ns() - (seconds * 1_000_000_000 + nanoseconds)
            return now_ns - age_ns if 0 <= age_ns < _AGE_MAX_NS else now_ns
    return now_ns


def bare_host(address: Address) -> str:
    """The host of an address without port, scope and the prefix that IPv4 has on an IPv6 socket."""
    return str(address[0]).split("%", 1)[0].removeprefix("::ffff:")
