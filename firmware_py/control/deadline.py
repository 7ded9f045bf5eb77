"""How much of the time that there was for a packet was used: the bins of every histogram of it."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["DEADLINE_EDGES", "deadline_bins", "deadline_shares"]

DEADLINE_EDGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 0.9, 1.0)
"""Upper edges of the bins, as shares of the deadline; one more bin holds what missed it."""


def deadline_shares(rows: NDArray[np.void]) -> NDArray[np.float64]:
    """Share of its deadline that each row [shape=(packets,), `TIMING_DTYPE` or wider] used; inf: there was no time."""
    allowed_ns = rows["total_ns"] + rows["deadline_margin_ns"]
    return np.where(allowed_ns > 0, rows["total_ns"] / np.maximum(allowed_ns, 1), np.inf)


def deadline_bins(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """Index [shape=(packets,)] of each row's bin, 0 to ``len(DEADLINE_EDGES)``: the last for missed deadlines."""
    bins = np.searchsorted(np.array(DEADLINE_EDGES), deadline_shares(rows), side="left")
    bins[rows["deadline_missed"] != 0] = len(DEADLINE_EDGES)
    return bins
