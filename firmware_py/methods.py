"""The methods by the names that ``--method`` takes."""

from .errors import InputError
from .rt.concealer import Concealer, Method
from .rt.predictor import BurgPredictor, PaperPredictor, RepeatPacket, Silence

__all__ = ["METHODS", "build_concealer"]

WHOLE_PACKET_MS = 1000.0
"""The published baselines crossfade over the whole first packet after a gap (capped at the packet's length)."""


METHODS = {
    method.name: method
    for method in (
        Method("zero", Silence, crossfade_ms=WHOLE_PACKET_MS, fades=False),
        Method("repeat", RepeatPacket, crossfade_ms=WHOLE_PACKET_MS, fades=False),
        Method("lpc-paper", PaperPredictor, crossfade_ms=WHOLE_PACKET_MS, fades=False),
        Method("lpc", BurgPredictor),
    )
}


def build_concealer(method: str | Method) -> Concealer:
    """Return an unprepared concealer for a method, or the method of that name.

    Raises
    ------
    InputError
        For a name that is no method.
    """
    if isinstance(method, Method):
        return Concealer(method)
    if method not in METHODS:
        raise InputError(f"no method is called '{method}': choose from {', '.join(METHODS)}")
    return Concealer(METHODS[method])
