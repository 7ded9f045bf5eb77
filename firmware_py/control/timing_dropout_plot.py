"""Pictures of what the box's timing log says beyond the simulator's: dropouts by cause, and the playout buffer."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..picture_style import ACCENT, GRID, INK, QUIET, WARNING
from ..rt.timing import Cause
from .timing_dropouts import CAUSE_LABELS, bursts_of
from .timing_log import TimingLog

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_buffer", "draw_dropouts"]

_COLOURS = {
    Cause.NETWORK_LOST: "#d1382c",
    Cause.NETWORK_LATE: "#c98a1b",
    Cause.CPU_DEADLINE: "#7b5ea7",
    Cause.DEVICE_XRUN: "#b5527d",
    Cause.PEER_STOPPED: "#44505c",
    Cause.INSERTED: "#98a4ae",
}
_SLICES = 300
_DOTS_MOST = 4000


def draw_dropouts(axes: "Axes", log: TimingLog, at: NDArray[np.float64]) -> None:
    """Draw a lane per cause, a bar per burst, their number beside it; ``at`` [shape=(packets,)]: when each played."""
    span = max(float(at[-1] - at[0]), 1e-9)
    packet = span / max(len(at) - 1, 1)
    lanes = list(reversed(CAUSE_LABELS))
    axes.set_yticks(range(len(lanes)), [CAUSE_LABELS[cause] for cause in lanes], color=INK)
    for lane, cause in enumerate(lanes):
        axes.axhline(lane, color=GRID, linewidth=1, zorder=0)
        begins, lengths = bursts_of(log.rows["cause"] == cause)
        if len(begins):
            bars = [
                (float(at[begin]), max(length * packet, 0.0025 * span)) for begin, length in _pairs(begins, lengths)
            ]
            axes.broken_barh(bars, (lane - 0.33, 0.66), color=_COLOURS[cause], linewidth=0)
        count = int(lengths.sum())
        axes.annotate(
            f"{count:,}" if count else "none", (1, lane), (58, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", va="center", fontsize=9, color=INK if count else QUIET,
            annotation_clip=False,
        )  # fmt: skip
    axes.annotate(
        "packets", (1, len(lanes) - 0.35), (58, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
        ha="right", va="center", fontsize=9, color=QUIET, annotation_clip=False,
    )  # fmt: skip
    axes.set(ylim=(-0.6, len(lanes) - 0.4), xlim=(at[0] - 0.01 * span, at[-1] + 0.01 * span))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title("Where dropouts came from")


def draw_buffer(axes: "Axes", log: TimingLog, at: NDArray[np.float64], label: str) -> None:
    """Depth of the playout buffer over the session, and by how much late packets were late, both in milliseconds."""
    rows = log.rows
    packet_ms = (log.packet_ns or 0.0) / 1e6
    packet_samples = log.meta.packet_samples if log.meta is not None else 0
    per_sample_ms = packet_ms / packet_samples if packet_samples else 1.0
    depth = rows["depth_samples"] * per_sample_ms
    starts = np.arange(0, len(at), -(-len(at) // _SLICES))
    least, most = np.minimum.reduceat(depth, starts), np.maximum.reduceat(depth, starts)
    medians = [float(np.median(part)) for part in np.split(depth, starts[1:])]
    axes.fill_between(at[starts], least, most, color=ACCENT, alpha=0.16, linewidth=0, label="depth, least to most")
    axes.plot(at[starts], medians, color=ACCENT, linewidth=1.4, label="depth, median")
    late = np.flatnonzero(rows["late_by_ns"] > 0)
    if len(late):
        shown = late[:: -(-len(late) // _DOTS_MOST)]
        axes.scatter(at[shown], rows["late_by_ns"][shown] / 1e6, 9, color=WARNING, linewidth=0, label="late by")
    span = max(float(at[-1] - at[0]), 1e-9)
    axes.set(xlim=(at[0] - 0.01 * span, at[-1] + 0.01 * span), xlabel=label)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} ms" if packet_samples else f"{value:g}")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title("Playout buffer" if packet_samples else "Playout buffer, samples")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=9, handlelength=1.2)


def _pairs(begins: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[tuple[int, int]]:
    return list(zip(begins.tolist(), lengths.tolist(), strict=True))
