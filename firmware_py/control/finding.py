"""What `continuo doctor` finds."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Verdict"]


class Verdict(StrEnum):
    """How it is."""

    OK = "ok"
    WARN = "warn"
    """The box plays, but not as well as it could."""
    FAIL = "fail"
    """The box does not play like this."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    name: str
    verdict: Verdict
    says: str
    """What is so."""
    remedy: str = ""
    """What to do about it. Empty when all is well, or when `says` has it."""
