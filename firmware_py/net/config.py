"""The network part of the configuration: who the peer is, and how we talk to it."""

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import InputError

__all__ = ["KEY_BYTES", "NetConfig"]

KEY_BYTES = 30
"""AES-128 master key and its 112-bit salt (RFC 3711 section 8.2)."""

_WIRES = ("rtp", "jacktrip-p2p", "jacktrip-hub")
_LIMITS = {
    "peer_port": (1, 65_535),
    "local_port": (0, 65_535),
    "redundancy": (0, 8),
    "payload_type": (96, 127),
    "stopped_ms": (100, 60_000),
    "dscp": (0, 63),
}
_MAKE_KEY = f"make one for both ends with `head -c {KEY_BYTES} /dev/urandom | base64`"


@dataclass(frozen=True)
class NetConfig:
    """Section ``[net]`` of the box's configuration.

    Raises
    ------
    InputError
        In one line: which value is wrong and what to write instead. Also when ``key_file`` cannot be read.
    """

    peer_host: str = ""
    """Name or address of the peer or the hub. Empty: wait for whoever sends first (and, with SRTP, knows the key)."""
    peer_port: int = 4464
    """Where the peer listens: UDP, or TCP for ``jacktrip-hub``."""
    local_host: str = ""
    """Address to listen on. Empty: all."""
    local_port: int = 4464
    """UDP port to listen on; 0: any free one."""
    wire: str = "rtp"
    """``rtp``, ``jacktrip-p2p`` or ``jacktrip-hub`` (as the hub's client)."""
    bits: int = 16
    """Per sample on the wire: 16 or 24. The same at both ends."""
    redundancy: int = 0
    """How many of the packets before are sent again with each packet, 0 to 8."""
    payload_type: int = 96
    """RTP payload type of the audio, 96 to 127 (RFC 3551 section 3); redundant audio uses the next one."""
    key: str = field(default="", repr=False, metadata={"secret": True})
    """SRTP master key and salt, base64 of 30 bytes."""
    key_file: str = ""
    """File that holds such a key, readable by its owner alone."""
    insecure: bool = False
    """Go without encryption and authentication. JackTrip's format has neither."""
    name: str = "continuo"
    """What we call ourselves: to the hub, and in RTCP."""
    stopped_ms: int = 1000
    """A peer this long silent has stopped."""
    dscp: int = 46
    """Class of our datagrams for routers and Wi-Fi: 46 is expedited forwarding (RFC 3246), 0 best effort."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if type(value) is not item.type:
                kind = {str: "text", int: "a whole number", bool: "true or false"}[item.type]  # type: ignore[index]
                raise InputError(f"net.{item.name} is {type(value).__name__}: write {kind}")
        for name, (least, most) in _LIMITS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise InputError(f"net.{name} is {value}: choose from {least} to {most}")
        if self.wire not in _WIRES:
            raise InputError(f"net.wire is {self.wire!r}: choose from {', '.join(_WIRES)}")
        if self.bits not in (16, 24):
            raise InputError(f"net.bits is {self.bits}: choose 16 or 24")
        if self.redundancy and self.payload_type == 127:
            raise InputError("net.payload_type is 127: with redundancy choose from 96 to 126, the next one is used too")
        if self.wire == "jacktrip-hub" and not self.peer_host:
            raise InputError("net.peer_host is missing: name the hub")
        if self.local_host:
            try:
                ipaddress.ip_address(self.local_host)
            except ValueError:
                raise InputError(f"net.local_host is {self.local_host!r}: write an address, or leave it out") from None
        self._check_security()

    @property
    def secret(self) -> bytes | None:
        """Master key and salt, 30 bytes; None when insecure. InputError when the file holds no such key."""
        if self.insecure:
            return None
        if self.key:
            return _decoded(self.key, "net.key")
        path = Path(self.key_file).expanduser()
        try:
            if path.stat().st_mode & 0o077:
                raise InputError(f"net.key_file {path} is readable by others: run `chmod 600 {path}`")
            text = path.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not base64"
            raise InputError(f"net.key_file {path}: {reason}: {_MAKE_KEY}") from None
        return _decoded(text, f"net.key_file {path}")

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any]) -> "NetConfig":
        """Of a TOML table; an unknown key is an InputError."""
        known = [item.name for item in fields(cls)]
        for name in table:
            if name not in known:
                raise InputError(f"net.{name} is unknown: choose from {', '.join(known)}")
        return cls(**table)

    def _check_security(self) -> None:
        if self.key and self.key_file:
            raise InputError("net.key and net.key_file are both set: keep one")
        if self.wire != "rtp":
            if not self.insecure:
                raise InputError(f"net.wire {self.wire} has no encryption: set net.insecure = true, or use wire rtp")
            if self.key or self.key_file:
                raise InputError(f"net.wire {self.wire} uses no key: remove it, or use wire rtp")
        elif self.insecure:
            if self.key or self.key_file:
                raise InputError("net.insecure is true and there is a key: remove one of them")
        elif not (self.key or self.key_file):
            raise InputError(f"net.key_file is missing: {_MAKE_KEY}, or set net.insecure = true to go without")
        else:
            _ = self.secret


def _decoded(text: str, where: str) -> bytes:
    try:
        secret = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{where} is not base64: {_MAKE_KEY}") from None
    if len(secret) != KEY_BYTES:
        raise InputError(f"{where} holds {len(secret)} bytes, not {KEY_BYTES}: {_MAKE_KEY}")
    return secret
