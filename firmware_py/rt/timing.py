"""One fixed-size row per packet: what happened to it and how long each stage took."""

from enum import IntEnum

import numpy as np

__all__ = ["TIMING_DTYPE", "Rung"]


class Rung(IntEnum):
    """Where a packet's samples came from, worst to best among the replacements."""

    RECEIVED = 0
    FADE = 1
    """Silence, or the end of a fade after a long burst."""
    REPEAT = 2
    LPC = 3
    LITE = 4
    FULL = 5


TIMING_DTYPE = np.dtype(
    [
        ("sequence", "<i8"),
        ("lost", "u1"),
        ("rung", "u1"),
        ("predict_ns", "<i8"),
        ("refine_ns", "<i8"),
        ("crossfade_ns", "<i8"),
        ("total_ns", "<i8"),
        ("deadline_margin_ns", "<i8"),
        ("deadline_missed", "u1"),
    ]
)
"""Row of the timing log. Times in nanoseconds; ``lost`` and ``deadline_missed`` are 0 or 1; ``rung`` is a `Rung`."""
