"""The methods by the names that ``--method`` takes."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from .errors import InputError
from .rt.concealer import Concealer, Method
from .rt.predictor import BurgPredictor, PaperPredictor, RepeatPacket, Silence
from .rt.refiner_tflite import TfliteRefiner

__all__ = ["METHODS", "build_concealer", "with_threads"]

WHOLE_PACKET_MS = 1000.0
"""The published baselines crossfade over the whole first packet after a gap (capped at the packet's length)."""
NETWORKS = Path(__file__).parent / "networks"
"""What the board runs: written by ``continuo convert``."""


METHODS = {
    method.name: method
    for method in (
        Method("zero", Silence, crossfade_ms=WHOLE_PACKET_MS, fades=False),
        Method("repeat", RepeatPacket, crossfade_ms=WHOLE_PACKET_MS, fades=False),
        Method("lpc-paper", PaperPredictor, crossfade_ms=WHOLE_PACKET_MS, fades=False),
        Method("lpc", BurgPredictor),
        Method("lite", BurgPredictor, partial(TfliteRefiner, NETWORKS / "lite-float.tflite")),
        Method("lite-int8", BurgPredictor, partial(TfliteRefiner, NETWORKS / "lite-int8.tflite")),
    )
}


def with_threads(method: Method, threads: int) -> Method:
    """``method`` with its network, if it has one that runs on the board, on ``threads`` threads."""
    refiner = method.refiner
    if isinstance(refiner, partial) and refiner.func is TfliteRefiner:
        return replace(method, refiner=partial(refiner, threads=threads))
    return method


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
