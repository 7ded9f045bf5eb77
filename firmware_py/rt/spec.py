"""What every block is prepared for: the format of the stream."""

from dataclasses import dataclass

from ..errors import InputError

__all__ = ["StreamSpec"]


@dataclass(frozen=True)
class StreamSpec:
    """Format of one stream of packets.

    Raises
    ------
    InputError
        When a value lies outside what Continuo handles.
    """

    sample_rate_hz: int
    """22,050 to 96,000."""
    packet_samples: int = 512
    """Samples per channel in one packet, 32 to 1024."""
    channels: int = 1
    """1 to 8."""

    def __post_init__(self) -> None:
        limits = {"sample_rate_hz": (22_050, 96_000), "packet_samples": (32, 1024), "channels": (1, 8)}
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise InputError(f"{name} is {value}: choose from {least} to {most}")

    @property
    def packet_ns(self) -> int:
        """Duration of one packet in nanoseconds: the time there is to replace it."""
        return round(1e9 * self.packet_samples / self.sample_rate_hz)
