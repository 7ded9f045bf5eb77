"""The timing log as a picture: what each stage takes, and the session from its first packet to its last."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..picture_style import GRID, INK, QUIET, WARNING, drawing
from ..rt.timing import Rung
from .timing_dropout_plot import draw_buffer, draw_dropouts
from .timing_dropouts import has_causes
from .timing_log import TimingLog

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["save_timing_picture"]

_STAGE_COLOURS = {"predict": "#3b6fb6", "refine": "#7b5ea7", "crossfade": "#2a9d8f", "total": "#44505c"}
_RUNG_COLOURS = {
    Rung.FADE: "#e07a5f",
    Rung.REPEAT: "#c98a1b",
    Rung.LPC: "#3b6fb6",
    Rung.LITE: "#7b5ea7",
    Rung.FULL: "#2a9d8f",
}
_DOTS_MOST = 4000


def save_timing_picture(log: TimingLog, path: str | Path) -> None:
    """Draw per-stage distributions with the deadline, and total time over the session with the losses.

    Of a box's log also where dropouts came from, and the playout buffer.

    Parameters
    ----------
    log
        A log with at least one packet.
    path
        The picture to write; its ending chooses the format (.png, .svg, .pdf). Its folder is made if need be.

    Raises
    ------
    InputError
        When the log holds no packet.
    MissingError
        When matplotlib is not installed (extra `eval`).
    RunError
        When the picture cannot be written.
    """
    if not len(log.rows):
        raise InputError("the timing log holds no packet to draw: pass one of a session that ran")
    at, label = _session_times(log)
    if not has_causes(log):
        with drawing(path, 11, 7.8) as figure:
            upper, lower = figure.subplots(2, 1, height_ratios=(1.15, 1.0))
            _draw_stages(upper, log)
            _draw_session(lower, log, at, label)
        return
    with drawing(path, 11, 13.4) as figure:
        stages, session, dropouts, buffer = figure.subplots(4, 1, height_ratios=(1.15, 1.0, 0.62, 0.6))
        _draw_stages(stages, log)
        _draw_session(session, log, at, "")
        draw_dropouts(dropouts, log, at)
        draw_buffer(buffer, log, at, label)


def _session_times(log: TimingLog) -> tuple[NDArray[np.float64], str]:
    """When each packet played since the first, and what the axis says: minutes of a long session, else seconds."""
    at_s = (log.rows["sequence"] - log.rows["sequence"].min()) * (log.packet_ns or 1.0) / 1e9
    return (at_s / 60, "session time, min") if at_s.max() > 180 else (at_s, "session time, s")


def _draw_stages(axes: "Axes", log: TimingLog) -> None:
    """One ridge per stage: density over log time; a bar from the median to the 99th percentile; a tick at the most."""
    rows, lost = log.rows, log.rows["lost"] != 0
    stages = {stage: rows[f"{stage}_ns"] / 1000 for stage in ("predict", "refine", "crossfade")}
    stages = {stage: times[times > 0] for stage, times in stages.items()}
    ran = rows["total_ns"] > 0
    totals = rows["total_ns"] / 1000
    stages |= {"total, lost": totals[lost & ran], "total, received": totals[~lost & ran]}
    deadline_us = (log.packet_ns or 0.0) / 1000
    everything = np.concatenate([*stages.values(), [deadline_us / 100 or 1.0]])
    low, high = float(everything.min()) / 1.6, max(float(everything.max()), deadline_us) * 2.0
    grid = np.linspace(np.log10(low), np.log10(high), 400)
    ticks = []
    for column, heading in enumerate(("p50", "p99", "max")):
        _table_cell(axes, column, len(stages) - 0.12, heading, QUIET)
    for level, (stage, times) in enumerate(reversed(stages.items())):
        colour = _STAGE_COLOURS[stage.split(",")[0]]
        ticks.append(f"{stage}\n{_packets(len(times))}" if len(times) else f"{stage}\ndid not run")
        axes.axhline(level, color=GRID, linewidth=1, zorder=0)
        if not len(times):
            continue
        ridge = level + 0.74 * _density(np.log10(times), grid)
        axes.fill_between(10**grid, level, ridge, color=colour, alpha=0.28, linewidth=0)
        axes.plot(10**grid, np.where(ridge > level + 0.004, ridge, np.nan), color=colour, linewidth=1.4)
        figures = [*np.percentile(times, [50, 99]).tolist(), float(times.max())]
        axes.plot(figures[:2], [level, level], color=colour, linewidth=2.6, solid_capstyle="round")
        axes.plot(figures[0], level, "o", color=colour, markersize=6.5)
        axes.plot(figures[1], level, "o", color="white", markeredgecolor=colour, markeredgewidth=1.6, markersize=6)
        axes.plot(figures[2], level, "|", color=colour, markeredgewidth=1.8, markersize=9)
        for column, figure in enumerate(figures):
            _table_cell(axes, column, level + 0.14, _spoken(figure), WARNING if 0 < deadline_us < figure else INK)
    axes.set(xscale="log", xlim=(low, high), ylim=(-0.2, len(stages) - 0.05))
    axes.set_yticks([level + 0.14 for level in range(len(stages))], ticks, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _label_times(axes.xaxis)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    if deadline_us:
        axes.axvline(deadline_us, color=WARNING, linewidth=1.5)
        axes.axvspan(deadline_us, high, color=WARNING, alpha=0.06, linewidth=0)
        axes.annotate(
            f"deadline {_spoken(deadline_us)} ", (deadline_us, 1), (-3, 0), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="right", va="top", color=WARNING, fontsize=9, weight="bold",
        )  # fmt: skip
    axes.set_title("Time per stage")
    if (meta := log.meta) is not None:
        session = f"{meta.method}, {meta.packet_samples} samples at {meta.sample_rate_hz / 1000:g} kHz"
        axes.set_title(session, loc="right", color=QUIET, fontsize=9.5, fontweight="normal")


def _draw_session(axes: "Axes", log: TimingLog, at: NDArray[np.float64], label: str) -> None:
    """Total time of each packet over the session; a lost one wears the colour of the rung that replaced it."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 (an extra, and slow to load)

    rows, packet_ns = log.rows, log.packet_ns or 1.0
    total_us = rows["total_ns"] / 1000
    total_us = np.maximum(total_us, total_us.min(where=total_us > 0, initial=packet_ns / 1e5) / 1.5)  # 0 has no log
    lost, missed = rows["lost"] != 0, rows["deadline_missed"] != 0
    handles: list[Line2D] = []

    def explain(what: str, count: int, colour: str, face: str, size: float) -> None:
        label = f"{what}\n{_packets(count)}"
        handles.append(
            Line2D([], [], linestyle="", marker="o", color=colour, markerfacecolor=face, markersize=size, label=label)
        )

    if (~lost).any():
        _draw_received(axes, at[~lost], total_us[~lost])
        explain("received", int((~lost).sum()), "#b9c2ca", "#b9c2ca", 5)
    for rung in Rung:
        chosen = lost & (rows["rung"] == rung)
        if chosen.any():
            colour = _RUNG_COLOURS.get(rung, QUIET)
            size, rare_on_top = 16 if lost.sum() < 1500 else 6, 3.0 - float(chosen.mean())
            axes.scatter(at[chosen], total_us[chosen], size, color=colour, linewidth=0, zorder=rare_on_top)
            explain(f"lost, {rung.name.lower()}", int(chosen.sum()), colour, colour, 5)
    if missed.any():
        axes.scatter(at[missed], total_us[missed], 70, facecolor="none", edgecolor=WARNING, linewidth=1.4, zorder=4)
        explain("deadline missed", int(missed.sum()), WARNING, "none", 8)

    deadline_us = packet_ns / 1000
    low, high = float(total_us.min()) / 1.8, max(float(total_us.max()), deadline_us) * 2.0
    span = max(float(at.max()), 1e-3)
    axes.set(yscale="log", ylim=(low, high), xlim=(-0.01 * span, 1.01 * span))
    if log.packet_ns is not None:
        axes.axhline(deadline_us, color=WARNING, linewidth=1.5, zorder=1)
        axes.axhspan(deadline_us, high, color=WARNING, alpha=0.06, linewidth=0)
    _label_times(axes.yaxis)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(label)
    axes.set_title("Total time per packet")
    axes.set_title(
        f"{_packets(len(rows))}, {int(lost.sum()):,} lost ({lost.mean():.1%})",
        loc="right", color=QUIET, fontsize=9.5, fontweight="normal",
    )  # fmt: skip
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=9, labelspacing=0.9,
        handletextpad=0.5,
    )  # fmt: skip


def _draw_received(axes: "Axes", at: NDArray[np.float64], total_us: NDArray[np.float64]) -> None:
    """Dots, or for a long session the span and median per slice of time: dots would only be a black bar."""
    if len(at) <= _DOTS_MOST:
        axes.scatter(at, total_us, 5, color="#b9c2ca", linewidth=0)
        return
    order = np.argsort(at, kind="stable")
    at, total_us = at[order], total_us[order]
    starts = np.arange(0, len(at), -(-len(at) // 300))
    least, most = np.minimum.reduceat(total_us, starts), np.maximum.reduceat(total_us, starts)
    medians = [float(np.median(part)) for part in np.split(total_us, starts[1:])]
    axes.fill_between(at[starts], least, most, color="#e1e6ea", linewidth=0)
    axes.plot(at[starts], medians, color="#98a4ae", linewidth=1.2)


def _table_cell(axes: "Axes", column: int, level: float, text: str, colour: str) -> None:
    """Write into the table of figures to the right of the ridges."""
    axes.annotate(
        text, (1, level), (58 + 55 * column, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
        ha="right", va="center", fontsize=9, color=colour, annotation_clip=False,
    )  # fmt: skip


def _density(values: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smoothed histogram of `values` on an even grid, its peak at 1."""
    step = grid[1] - grid[0]
    edges = np.append(grid - step / 2, grid[-1] + step / 2)
    counts = np.histogram(np.clip(values, grid[0], grid[-1]), edges)[0].astype(np.float64)
    width = max(2.0, 0.9 * float(values.std()) * len(values) ** -0.2 / step)
    reach = np.arange(-int(4 * width), int(4 * width) + 1)
    smooth = np.convolve(counts, np.exp(-0.5 * (reach / width) ** 2), mode="full")
    smooth = smooth[-reach[0] : len(smooth) - reach[-1]]
    return smooth / max(float(smooth.max()), 1e-12)


def _packets(count: int) -> str:
    return "1 packet" if count == 1 else f"{count:,} packets"


def _spoken(time_us: float) -> str:
    if time_us >= 1000:
        return f"{time_us / 1000:.3g} ms" if time_us < 1e6 else f"{time_us / 1e6:.3g} s"
    return f"{time_us:.3g} µs"


def _label_times(axis: Any) -> None:
    axis.set_major_formatter(lambda value, _: _spoken(value))
    axis.set_minor_formatter(lambda *_: "")
