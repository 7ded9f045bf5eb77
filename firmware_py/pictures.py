"""Pictures of a simulation and of an evaluation, for people to look at."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .loss import find_bursts
from .picture_style import ACCENT, GRID, INK, QUIET, SERIES, WARNING, drawing
from .simulate import SimulationResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["METRIC_LABELS", "save_method_picture", "save_spectrogram_picture", "save_waveform_picture", "worst_bursts"]

METRIC_LABELS: Mapping[str, tuple[str, str]] = {
    "nmse_db": ("NMSE, whole clip, dB", "lower"),
    "nmse_gap_db": ("NMSE, lost packets, dB", "lower"),
    "mel_sc": ("mel spectral convergence", "lower"),
    "lsd_db": ("LSD, whole clip, dB", "lower"),
    "lsd_gap_db": ("LSD, around gaps, dB", "lower"),
    "visqol": ("ViSQOL, MOS-LQO", "higher"),
}
"""What a metric is called in tables and pictures, and which way is better. LSD: log-spectral distance."""

_REFERENCE, _LOST = "#98a4ae", "#f7e3df"
_WAVEFORM_MOST_S = 0.1
_SPECTROGRAM_S = (0.3, 1.5)
_RANGE_DB = 80.0


class Burst(NamedTuple):
    """One run of lost packets, in samples."""

    start: int
    stop: int
    channel: int
    """The channel with the largest error."""
    error_db: float
    """NMSE of that channel within the burst, dB."""


def worst_bursts(result: SimulationResult, most: int) -> list[Burst]:
    """Return at most ``most`` bursts, that with the largest error energy first."""
    packet = result.spec.packet_samples
    ranked = []
    for start, stop in (find_bursts(result.lost) * packet).tolist():
        reference = result.audio.samples[start:stop].astype(np.float64)
        error = np.sum((result.concealed[start:stop] - reference) ** 2, axis=0)
        channel = int(np.argmax(error))
        energy = float(np.sum(reference[:, channel] ** 2))
        error_db = 10 * math.log10(error[channel] / energy) if energy and error[channel] else -math.inf
        ranked.append((float(error.sum()), Burst(start, stop, channel, error_db)))
    ranked.sort(key=lambda item: -item[0])
    return [burst for _, burst in ranked[:most]]


def save_waveform_picture(result: SimulationResult, path: str | os.PathLike[str]) -> None:
    """Draw the waveform around the worst gaps, at most three: reference, concealed, lost packets shaded, error below.

    Raises
    ------
    InputError
        When nothing was lost.
    MissingError
        When matplotlib is not installed.
    RunError
        When the picture cannot be written.
    """
    bursts = _bursts_to_draw(result, 3)
    with drawing(path, 4.1 * max(len(bursts), 2), 4.7) as figure:
        grid = figure.subplots(2, len(bursts), squeeze=False, sharex="col", height_ratios=(2.2, 1))
        for burst, (upper, lower) in zip(bursts, grid.T, strict=True):
            _draw_gap(upper, lower, result, burst)
        grid[0, 0].set_ylabel("amplitude")
        grid[1, 0].set_ylabel("error")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, borderaxespad=0)
        for line in legend.get_lines():
            line.set_linewidth(2.4)


def save_spectrogram_picture(result: SimulationResult, path: str | os.PathLike[str]) -> None:
    """Draw three spectrograms around the worst burst, as in Fig. 2 of paper 000: lossy, concealed, reference.

    Raises
    ------
    InputError, MissingError, RunError
        As `save_waveform_picture`.
    """
    burst = _bursts_to_draw(result, 1)[0]
    rate = result.spec.sample_rate_hz
    span = int(np.clip(4 * (burst.stop - burst.start), _SPECTROGRAM_S[0] * rate, _SPECTROGRAM_S[1] * rate))
    begin, end = _window(burst, span, result.audio.frames)
    signals = {"lossy": result.lossy, result.method: result.concealed, "reference": result.audio.samples}
    levels = {name: _spectrogram_db(x[:, burst.channel], begin, end, rate) for name, x in signals.items()}
    top = 5 * math.ceil(levels["reference"].max() / 5)
    left, right = (1e3 * (edge - burst.start) / rate for edge in (begin, end))
    extent = (left, right, 0.0, rate / 2000)
    with drawing(path, 12.3, 4.4) as figure:
        row = figure.subplots(1, 3, sharey=True)
        for axes, (name, level) in zip(row, levels.items(), strict=True):
            image = axes.imshow(
                level, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=top - _RANGE_DB, vmax=top,
                interpolation="bilinear",
            )  # fmt: skip
            axes.set_title(name if name != result.method else f"concealed, {name}", pad=24)
            axes.set_xlabel("time, ms")
            axes.set_xlim(left, right)
            axes.set_ylim(0, min(rate / 2000, 16))
            _mark_losses(axes, result, begin, end, burst)
        row[0].set_ylabel("frequency, kHz")
        bar = figure.colorbar(image, ax=row, pad=0.01, aspect=30)
        bar.set_label("level, dBFS")
        bar.outline.set_visible(False)
        figure.suptitle(_place(result, burst), x=0.01, ha="left", fontsize=9.5, color=QUIET)


def save_method_picture(
    clips: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Mapping[str, Mapping[str, Any]]],
    path: str | os.PathLike[str],
) -> None:
    """Draw one panel per metric: a dot per clip and method, and per method the mean with its confidence interval.

    Parameters
    ----------
    clips
        One row per clip and method, with ``clip``, ``method`` and the metrics (None where there is no value).
    summary
        Method -> metric -> ``mean``, ``low``, ``high`` (None where there is none).
    path
        The picture to write.

    Raises
    ------
    MissingError
        When matplotlib is not installed.
    RunError
        When the picture cannot be written.
    """
    methods = list(summary)
    metrics = list(next(iter(summary.values())))
    columns = min(len(metrics), 3)
    rows = -(-len(metrics) // columns)
    height = 0.75 + 0.42 * len(methods)
    with drawing(path, 4.1 * max(columns, 2), max(rows * height, 2.6) + 0.4) as figure:
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
        for axes, metric in zip(panels, metrics, strict=False):
            _draw_metric(axes, metric, methods, clips, summary)
        for axes in list(panels)[len(metrics) :]:
            axes.set_visible(False)
        figure.supxlabel(
            "small dots: one clip each · large dot and bar: mean over clips and its 95 % confidence interval",
            fontsize=9, color=QUIET,
        )  # fmt: skip


def _bursts_to_draw(result: SimulationResult, most: int) -> list[Burst]:
    bursts = worst_bursts(result, most)
    if not bursts:
        raise InputError("nothing was lost: there is no gap to draw")
    return bursts


def _window(burst: Burst, span: int, frames: int) -> tuple[int, int]:
    """Samples of a view of ``span`` around the burst's middle, or around its start when it is longer than the view."""
    middle = (burst.start + min(burst.stop, burst.start + span // 2)) // 2
    begin = max(0, min(middle - span // 2, frames - span))
    return begin, min(begin + span, frames)


def _draw_gap(upper: "Axes", lower: "Axes", result: SimulationResult, burst: Burst) -> None:
    rate = result.spec.sample_rate_hz
    span = int(min(2 * (burst.stop - burst.start) + 0.012 * rate, _WAVEFORM_MOST_S * rate))
    begin, end = _window(burst, span, result.audio.frames)
    at_ms = 1e3 * (np.arange(begin, end) - burst.start) / rate
    reference = result.audio.samples[begin:end, burst.channel]
    concealed = result.concealed[begin:end, burst.channel]
    upper.plot(at_ms, reference, color=_REFERENCE, linewidth=1.5, label="reference")
    replaced = np.where(concealed != reference, concealed, np.nan)  # elsewhere it would only hide the reference
    upper.plot(at_ms, replaced, color=ACCENT, linewidth=1.2, label=f"concealed, {result.method}")
    lower.plot(at_ms, concealed - reference, color=WARNING, linewidth=0.9, label="error")
    peak = 1.12 * max(float(np.abs(reference).max()), float(np.abs(concealed).max()), 1e-6)
    upper.set_ylim(-peak, peak)
    lower.set_ylim(-peak, peak)
    for axes in (upper, lower):
        axes.set_xlim(at_ms[0], at_ms[-1])
        axes.axhline(0, color=GRID, linewidth=0.8, zorder=0)
        axes.locator_params(axis="y", nbins=5)
        for index, (start, stop) in enumerate(_losses_ms(result, begin, end, burst)):
            axes.axvspan(start, stop, color=_LOST, linewidth=0, zorder=-1, label=None if index else "lost")
    upper.tick_params(axis="x", length=0)
    lower.set_xlabel("time, ms")
    upper.set_title(_place(result, burst), fontsize=9.5, fontweight="normal", color=INK, pad=8)


def _place(result: SimulationResult, burst: Burst) -> str:
    packets = (burst.stop - burst.start) // result.spec.packet_samples
    rate = result.spec.sample_rate_hz
    parts = [
        f"at {burst.start / rate:.2f} s",
        f"{packets} packet{'s' if packets > 1 else ''} ({1e3 * (burst.stop - burst.start) / rate:.3g} ms)",
    ]
    if math.isfinite(burst.error_db):
        parts.append(f"NMSE {burst.error_db:.1f} dB")
    if result.spec.channels > 1:
        parts.append(f"channel {burst.channel + 1}")
    return " · ".join(parts)


def _losses_ms(result: SimulationResult, begin: int, end: int, burst: Burst) -> list[tuple[float, float]]:
    """Starts and ends of the bursts between two samples, in ms from the start of ``burst``."""
    edges = find_bursts(result.lost) * result.spec.packet_samples
    seen = edges[(edges[:, 0] < end) & (edges[:, 1] > begin)]
    clipped = np.clip(seen, begin, end) - burst.start
    return [(start, stop) for start, stop in (1e3 * clipped / result.spec.sample_rate_hz).tolist()]


def _mark_losses(axes: "Axes", result: SimulationResult, begin: int, end: int, burst: Burst) -> None:
    """Bars above the picture, and dashed edges at the burst that it is about."""
    from matplotlib.patches import Rectangle  # noqa: PLC0415 (an extra, and slow to load)

    for start, stop in _losses_ms(result, begin, end, burst):
        ours = start <= 0 < stop
        bar = Rectangle((start, 1.015), stop - start, 0.022, transform=axes.get_xaxis_transform(), clip_on=False)
        bar.set(linewidth=0, color=WARNING if ours else "#e9a8a2")
        axes.add_patch(bar)
        if ours:
            for edge in (start, stop):
                axes.axvline(edge, color="white", linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.9)
            axes.annotate(
                "lost", ((start + stop) / 2, 1.045), xycoords=axes.get_xaxis_transform(), ha="center", va="bottom",
                fontsize=8.5, color=WARNING, annotation_clip=False,
            )  # fmt: skip


def _spectrogram_db(signal: NDArray[np.float32], begin: int, end: int, rate: int) -> NDArray[np.float64]:
    """Level in dB, 0 for a full-scale sine [shape=(bins, columns)]; Hann windows of about 12 ms, 700 columns."""
    window_samples = 1 << round(math.log2(0.0116 * rate))
    window = np.hanning(window_samples)
    padded = np.pad(signal.astype(np.float64), window_samples // 2)
    centres = np.linspace(begin, end - 1, min(700, end - begin)).astype(np.int64)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window_samples)[centres] * window
    magnitude = np.abs(np.fft.rfft(frames, 2 * window_samples, axis=1)).T
    level_db: NDArray[np.float64] = 20 * np.log10(np.maximum(magnitude / (window.sum() / 2), 1e-9))
    return level_db


def _draw_metric(
    axes: "Axes",
    metric: str,
    methods: Sequence[str],
    clips: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> None:
    values = {(row["clip"], row["method"]): row[metric] for row in clips}
    names = sorted({row["clip"] for row in clips})
    spread = 0.3 * np.linspace(-1, 1, len(names)) if len(names) > 1 else np.zeros(1)
    for level, method in enumerate(methods):
        colour = SERIES[level % len(SERIES)]
        known = [(values.get((clip, method)), level + offset) for clip, offset in zip(names, spread, strict=True)]
        at, height = np.array([point for point in known if point[0] is not None], np.float64).reshape(-1, 2).T
        axes.scatter(at, height, 13, color=colour, alpha=0.5, linewidth=0)
        middle = summary[method][metric]
        if middle["mean"] is None:
            continue
        if middle["low"] is not None:
            axes.plot([middle["low"], middle["high"]], [level, level], color=INK, linewidth=2.2, solid_capstyle="butt")
        axes.plot(middle["mean"], level, "o", color=colour, markeredgecolor=INK, markeredgewidth=1.2, markersize=7.5)
    axes.set_yticks(range(len(methods)), methods, color=INK)
    axes.locator_params(axis="x", nbins=6)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    label, better = METRIC_LABELS[metric]
    axes.set_title(label, fontsize=10.5, pad=8)
    axes.set_title(f"{better} is better", loc="right", fontsize=8.5, fontweight="normal", color=QUIET, pad=8)
