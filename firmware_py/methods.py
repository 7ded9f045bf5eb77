"""The methods by the names that ``--method`` takes."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from .errors import InputError, MissingError
from .rt.concealer import Concealer, Method
from .rt.method import Refiner
from .rt.predictor import BurgPredictor, PaperPredictor, RepeatPacket, Silence
from .rt.refiner_tflite import TfliteRefiner
from .rt.timing import Rung

__all__ = ["BOARD_METHODS", "METHODS", "build_concealer", "with_threads"]

WHOLE_PACKET_MS = 1000.0
"""The published baselines crossfade over the whole first packet after a gap (capped at the packet's length)."""
NETWORKS = Path(__file__).parent / "networks"
"""What the board runs: written by ``continuo convert``."""


def _torch_refiner(weights: str, rung: Rung) -> Refiner:
    """A network for desktops and researchers, which torch runs.

    Raises
    ------
    MissingError
        Without torch.
    """
    try:
        from ..models.bin2bin.runtime import WEIGHTS, TorchRefiner, load_weights  # noqa: PLC0415 (extra train)
    except ImportError as error:
        raise MissingError(
            f"this method needs {error.name or 'torch'}: pip install 'continuo-nmp[train]' "
            "(torch==2.13.0 for a CPU build)"
        ) from None
    return TorchRefiner(load_weights(WEIGHTS / f"{weights}.npz"), rung)


BOARD_METHODS = {
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
"""What the box may be told to use: all without torch."""
METHODS = BOARD_METHODS | {
    "lite-paper": replace(
        BOARD_METHODS["lpc-paper"], name="lite-paper", refiner=partial(_torch_refiner, "lite-paper", Rung.LITE)
    ),
    "full": replace(BOARD_METHODS["lpc"], name="full", refiner=partial(_torch_refiner, "full", Rung.FULL)),
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
