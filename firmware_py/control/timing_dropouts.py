"""Where dropouts came from: what the box's timing log says beyond the simulator's."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..rt.timing import BOX_TIMING_DTYPE, Cause
from .timing_log import TimingLog

__all__ = ["CAUSE_LABELS", "bursts_of", "dropout_facts", "has_causes", "render_dropouts"]

CAUSE_LABELS = {
    Cause.NETWORK_LOST: "network lost",
    Cause.NETWORK_LATE: "network late",
    Cause.CPU_DEADLINE: "CPU missed",
    Cause.DEVICE_XRUN: "device xrun",
    Cause.PEER_STOPPED: "peer stopped",
    Cause.INSERTED: "inserted",
}
"""Every cause but none at all, as reports call it."""

_REMEDIES = {
    Cause.NETWORK_LOST: "a cable instead of Wi-Fi helps, or net.redundancy = 1",
    Cause.NETWORK_LATE: "lower playout.tightness",
    Cause.CPU_DEADLINE: "see `continuo doctor`, or choose a lighter conceal.method",
    Cause.DEVICE_XRUN: "raise audio.periods, and see `continuo doctor`",
    Cause.PEER_STOPPED: "look at the other end",
    Cause.INSERTED: "nothing was missing, the playout buffer grew",
}
_TAIL = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9, "max": 100.0}
_DEPTH = {"min": 0.0, "p001": 0.1, "p01": 1.0, "p10": 10.0, "p50": 50.0, "max": 100.0}
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_CELLS = 24


def has_causes(log: TimingLog) -> bool:
    """Whether a box wrote this log: then its rows have the columns of `BOX_TIMING_DTYPE`."""
    return set(BOX_TIMING_DTYPE.names or ()) <= set(log.rows.dtype.names or ())


def dropout_facts(log: TimingLog) -> dict[str, Any]:
    """What a box's log says of dropouts, ready for JSON; nothing for another log.

    Returns
    -------
    dict
        ``dropouts``: by cause, in lower case, ``packets``, ``bursts`` (rows of one cause in a row), ``longest`` (of
        them) and ``share`` (of all packets). ``late_by_us`` over the packets that came late, ``inter_arrival_us`` over
        all that came: ``p50 p90 p99 p999 max count``. ``depth_samples``: ``min p001 p01 p10 p50 max count``, over the
        packets that were not pulled while the peer had stopped. ``xruns``: rows that saw one. Figures over nothing
        are None.
    """
    if not has_causes(log):
        return {}
    rows = log.rows
    dropouts: dict[str, dict[str, float]] = {}
    for cause in CAUSE_LABELS:
        _, lengths = bursts_of(rows["cause"] == cause)
        packets = int(lengths.sum())
        dropouts[cause.name.lower()] = {
            "packets": packets,
            "bursts": len(lengths),
            "longest": int(lengths.max(initial=0)),
            "share": packets / len(rows) if len(rows) else 0.0,
        }
    came = (rows["arrival_ns"] > 0) & (rows["inter_arrival_ns"] > 0)
    return {
        "dropouts": dropouts,
        "late_by_us": _percentiles(rows["late_by_ns"][rows["late_by_ns"] > 0] / 1000, _TAIL),
        "inter_arrival_us": _percentiles(rows["inter_arrival_ns"][came] / 1000, _TAIL),
        "depth_samples": _percentiles(rows["depth_samples"][rows["cause"] != Cause.PEER_STOPPED], _DEPTH),
        "xruns": int(np.count_nonzero(rows["xrun"])),
    }


def bursts_of(marked: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Begin and length of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    return edges[::2], edges[1::2] - edges[::2]


def render_dropouts(log: TimingLog, facts: dict[str, Any]) -> RenderableType:
    """`dropout_facts` as tables, and for the commonest cause what to do about it."""
    packet_ms = (log.packet_ns or 0.0) / 1e6
    table = Table(title="Where dropouts came from", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("cause")
    for heading in ("packets", "share", "bursts", "longest"):
        table.add_column(heading, justify="right")
    table.add_column("over the session", no_wrap=True)
    for cause, label in CAUSE_LABELS.items():
        found = facts["dropouts"][cause.name.lower()]
        style = "" if not found["packets"] or cause == Cause.INSERTED else "red"
        table.add_row(
            Text(label, style=style or ("dim" if not found["packets"] else "")),
            Text(f"{found['packets']:,}", style=style),
            f"{found['share']:.2%}" if found["packets"] else "-",
            f"{found['bursts']:,}" if found["packets"] else "-",
            f"{found['longest'] * packet_ms:,.1f} ms" if found["packets"] else "-",
            Text(_sparks(log.rows["cause"] == cause), style=style),
        )
    worst = max(CAUSE_LABELS, key=lambda cause: _weight(cause, facts))
    lines: list[RenderableType] = [table]
    if packets := facts["dropouts"][worst.name.lower()]["packets"]:
        noun = "1 packet" if packets == 1 else f"{packets:,} packets"
        lines.append(Text(f"Most: {CAUSE_LABELS[worst]}, {noun}: {_REMEDIES[worst]}.", style="bold"))
    return Group(*lines, "", _arrival_table(log, facts))


def _arrival_table(log: TimingLog, facts: dict[str, Any]) -> Table:
    table = Table(title="Arrival, ms", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("")
    for heading in ("packets", "p50", "p90", "p99", "p99.9", "max"):
        table.add_column(heading, justify="right")
    for label, key in (("inter-arrival", "inter_arrival_us"), ("late by", "late_by_us")):
        table.add_row(label, f"{facts[key]['count']:,}", *(_milliseconds(facts[key][name], 1e-3) for name in _TAIL))
    table.add_section()
    table.add_row("", "", *(Text(name, style="bold") for name in ("p50", "p10", "p1", "p0.1", "min")))
    depth = facts["depth_samples"]
    low = (depth[name] for name in ("p50", "p10", "p01", "p001", "min"))
    unit_ms = (log.packet_ns or 0.0) / 1e6 / log.meta.packet_samples if log.meta is not None else None
    cells = ["-" if unit_ms is None else _milliseconds(value, unit_ms) for value in low]
    table.add_row("buffer depth", f"{depth['count']:,}", *cells)
    return table


def _weight(cause: Cause, facts: dict[str, Any]) -> tuple[bool, int]:
    """A peer that went home leaves more rows than any fault; what it left out is no dropout to look for first."""
    packets = int(facts["dropouts"][cause.name.lower()]["packets"])
    return packets > 0 and cause not in (Cause.PEER_STOPPED, Cause.INSERTED), packets


def _percentiles(values: NDArray[Any], wanted: dict[str, float]) -> dict[str, float | None]:
    figures = np.percentile(values, list(wanted.values())) if len(values) else [None] * len(wanted)
    rounded = [None if figure is None else round(float(figure), 3) for figure in figures]
    return dict(zip(wanted, rounded, strict=True)) | {"count": len(values)}


def _sparks(marked: NDArray[np.bool_]) -> str:
    """How many rows are marked in each part of the session: empty for none, tallest for the part that has most."""
    if not marked.any():
        return ""
    counts = [int(np.count_nonzero(part)) for part in np.array_split(marked, min(_SPARK_CELLS, len(marked)))]
    most = max(counts)
    return "".join(_SPARKS[round((len(_SPARKS) - 1) * count / most)] if count else " " for count in counts)


def _milliseconds(value: float | None, unit_ms: float) -> str:
    return "-" if value is None else f"{value * unit_ms:,.2f}"
