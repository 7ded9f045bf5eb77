"""What a timing log says: counts, percentiles per stage, a histogram against the deadline."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..errors import InputError
from ..rt.timing import Rung
from .deadline import DEADLINE_EDGES, deadline_bins
from .timing_dropouts import dropout_facts, has_causes, render_dropouts
from .timing_folder import TimingFolder
from .timing_log import TimingLog

__all__ = ["picture_path", "render_report", "rung_counts", "stage_percentiles", "stage_table", "summary"]

_TAIL = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9, "max": 100.0}
_LOW_TAIL = {"min": 0.0, "p001": 0.1, "p01": 1.0, "p10": 10.0}
_BAR_CELLS = 17


def stage_percentiles(rows: NDArray[np.void]) -> dict[str, dict[str, float | None]]:
    """Percentiles of each stage's time in microseconds.

    Parameters
    ----------
    rows : [shape=(packets,)]
        `TIMING_DTYPE`, or a row type that begins with its fields.

    Returns
    -------
    dict
        ``predict_us``, ``refine_us`` and ``crossfade_us`` over the rows where that stage ran (its time is not 0);
        ``total_us`` and ``deadline_margin_us`` over all rows. Each holds ``p50``, ``p90``, ``p99``, ``p999``
        (99.9 %) and ``max``, interpolated linearly, and ``count``, the rows that it is over; they are None when that
        is 0. A margin's tail is at its other end: it also holds ``min``, ``p001`` (0.1 %), ``p01`` and ``p10``.
    """
    stages: dict[str, dict[str, float | None]] = {}
    for stage in ("predict", "refine", "crossfade", "total", "deadline_margin"):
        times_ns = rows[f"{stage}_ns"]
        if stage in ("predict", "refine", "crossfade"):
            times_ns = times_ns[times_ns > 0]
        wanted = _TAIL | _LOW_TAIL if stage == "deadline_margin" else _TAIL
        values = np.percentile(times_ns, list(wanted.values())) / 1000 if len(times_ns) else [None] * len(wanted)
        stages[f"{stage}_us"] = dict(zip(wanted, map(_rounded, values), strict=True)) | {"count": len(times_ns)}
    return stages


def rung_counts(rows: NDArray[np.void]) -> dict[str, int]:
    """Count the packets per `Rung`, by its name in lower case; every rung is there, those without packets as 0."""
    return {rung.name.lower(): int(np.count_nonzero(rows["rung"] == rung)) for rung in Rung}


def summary(log: TimingLog) -> dict[str, Any]:
    """Everything that the report says, ready for JSON: counts, session, deadline, `stage_percentiles`, `dropout_facts`.

    Keys that ``report.json`` of ``continuo simulate`` also has mean the same here.
    """
    rows, meta = log.rows, log.meta
    lost = int(np.count_nonzero(rows["lost"]))
    return {
        "sample_rate_hz": meta and meta.sample_rate_hz,
        "packet_samples": meta and meta.packet_samples,
        "channels": meta and meta.channels,
        "method": meta and meta.method,
        "started": meta and meta.started,
        "packet_us": None if log.packet_ns is None else _rounded(log.packet_ns / 1000),
        "packets": len(rows),
        "lost": lost,
        "loss_rate": lost / len(rows) if len(rows) else 0.0,
        "deadline_misses": int(np.count_nonzero(rows["deadline_missed"])),
        "dropped_rows": log.dropped_rows,
        "rungs": rung_counts(rows),
        **stage_percentiles(rows),
        **dropout_facts(log),
    }


def render_report(log: TimingLog, folder: TimingFolder | None = None) -> RenderableType:
    """Return the report as something that a rich console prints; an empty log gives its counts alone.

    Of a ``folder`` it also says which of its sessions this is.
    """
    facts = summary(log)
    parts: list[RenderableType] = [_headline(facts, folder), ""]
    if facts["packets"]:
        if has_causes(log):
            parts += [render_dropouts(log, facts), ""]
        parts += [stage_table(facts), "", _histogram(log)]
    return Group(*parts)


def stage_table(facts: dict[str, Any]) -> Table:
    """Return `stage_percentiles` (what else is in ``facts`` is not looked at) as a table."""
    table = Table(title="Time per stage, µs", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("stage")
    for heading in ("packets", "p50", "p90", "p99", "p99.9", "max"):
        table.add_column(heading, justify="right")
    for stage in ("predict", "refine", "crossfade", "total"):
        times = facts[f"{stage}_us"]
        table.add_row(stage, f"{times['count']:,}", *(_cell(times[key]) for key in _TAIL))
    margin = facts["deadline_margin_us"]
    table.add_section()
    table.add_row("", "", *(Text(name, style="bold") for name in ("p50", "p10", "p1", "p0.1", "min")))
    low = [margin[key] for key in ("p50", "p10", "p01", "p001", "min")]
    table.add_row("deadline margin", f"{margin['count']:,}", *map(_cell, low))
    return table


def picture_path(out: str | Path) -> Path:
    """Return where ``--out`` puts the picture: the file itself, or ``timing.png`` in a folder.

    Raises
    ------
    InputError
        When the name ends like something else than a picture.
    """
    out = Path(out)
    if out.is_dir() or not out.suffix:
        return out / "timing.png"
    if out.suffix.lower() not in {".png", ".svg", ".pdf"}:
        raise InputError(f"{out} is not a name for a picture: end it in .png, .svg or .pdf, or pass a folder")
    return out


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 3)


def _headline(facts: dict[str, Any], folder: TimingFolder | None) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    if facts["method"] is not None:
        table.add_row(
            "session",
            f"{facts['method']}, {facts['packet_samples']} samples at {facts['sample_rate_hz']} Hz, "
            f"{facts['channels']} channel{'s' if facts['channels'] > 1 else ''}, started {facts['started']}",
        )
    if folder is not None and folder.sessions > 1:
        table.add_row("", f"{folder.session} of {folder.sessions} in the folder; --back 1 for the one before the last")
    if folder is not None and folder.damaged:
        names = ", ".join(path.name for path in folder.damaged)
        table.add_row("damaged", Text(f"{names}: cannot be read, left out", style="bold red"))
    if facts["packet_us"] is not None:
        source = "" if facts["method"] is not None else " (from the rows: a CSV does not say)"
        table.add_row("deadline", f"{facts['packet_us'] / 1000:.3f} ms per packet{source}")
    table.add_row("packets", f"{facts['packets']:,}")
    table.add_row("lost", f"{facts['lost']:,} ({facts['loss_rate']:.2%})")
    misses = facts["deadline_misses"]
    table.add_row("deadline misses", Text(f"{misses:,}", style="bold red" if misses else "green"))
    if facts["dropped_rows"]:
        table.add_row("rows dropped", Text(f"{facts['dropped_rows']:,}: the log is not complete", style="bold red"))
    rungs = ", ".join(f"{name} {count:,}" for name, count in facts["rungs"].items() if count)
    table.add_row("rungs", rungs or "none")
    return table


def _cell(value: float | None) -> Text:
    if value is None:
        return Text("-", style="dim")
    return Text(f"{value:,.1f}", style="red" if value < 0 else "")


def _histogram(log: TimingLog) -> Table:
    """Two columns of bars, each to its own scale: the few lost packets would vanish beside the received ones."""
    rows, packet_ms = log.rows, (log.packet_ns or 0.0) / 1e6
    bins = deadline_bins(rows)
    lost = rows["lost"] != 0
    counts = [np.bincount(bins[chosen], minlength=len(DEADLINE_EDGES) + 1) for chosen in (~lost, lost)]
    used = np.flatnonzero(counts[0] + counts[1])
    last = max(int(used[-1]), len(DEADLINE_EDGES) - 1)

    title = "Total time as a share of the packet's deadline"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("share", justify="right")
    table.add_column("up to", justify="right")
    table.add_column("received", justify="right")
    table.add_column("", min_width=_BAR_CELLS)
    table.add_column("lost", justify="right")
    table.add_column("", min_width=_BAR_CELLS)
    for index in range(last + 1):
        late = index == len(DEADLINE_EDGES)
        edge = 1.0 if late else DEADLINE_EDGES[index]
        style = "red" if late else "yellow" if edge > 0.5 else "green"
        cells: list[str | Text] = []
        for count in counts:
            cells += [f"{count[index]:,}", Text(_bar(int(count[index]), int(count.max())), style=style)]
        label = "late" if late else f"<= {edge:.0%}"
        table.add_row(Text(label, style=style), "" if late else f"{edge * packet_ms:.2f} ms", *cells)
    return table


def _bar(count: int, most: int) -> str:
    eighths = max(1, round(8 * _BAR_CELLS * count / most)) if count else 0
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
