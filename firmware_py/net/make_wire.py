"""The wire that a configuration asks for."""

from .config import NetConfig
from .jacktrip import JackTripWire
from .rtp_wire import RtpWire
from .srtp import SrtpWire
from .wire import Wire

__all__ = ["make_wire"]


def make_wire(config: NetConfig) -> Wire:
    """Not prepared yet. MissingError when it needs a library that is not installed."""
    if config.wire != "rtp":
        return JackTripWire(config)
    secret = config.secret
    return RtpWire(config) if secret is None else SrtpWire(RtpWire(config), secret)
