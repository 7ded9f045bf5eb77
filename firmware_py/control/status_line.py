"""A snapshot on one line of a terminal."""

from collections.abc import Mapping
from typing import Any

__all__ = ["status_line"]

_BARS = " ▁▂▃▄▅▆▇█"
_QUIETEST_DBFS = -48.0
_CAUSES = {
    "network_lost": "lost", "network_late": "late", "cpu_deadline": "CPU", "device_xrun": "xrun",
    "peer_stopped": "peer stopped", "inserted": "inserted",
}  # fmt: skip


def status_line(status: Mapping[str, Any], width: int) -> str:
    """Return a line of at most ``width`` characters.

    Parameters
    ----------
    status
        `StatusSnapshot.as_json`, from here or from a page.
    width
        What does not fit is left out, the least important first.
    """
    recent, machine = status["recent"], status["machine"]
    levels = status["levels_dbfs"]
    faults = {
        "xruns": machine["xruns_capture"] + machine["xruns_playback"],
        "misses": machine["deadline_misses"] + machine["periods_overrun"],
        "restarts": sum(machine[f"restarts_{process}"] for process in ("net", "conceal", "control")),
    }
    parts = [
        status["state"],
        f"in {_meter(levels['capture'])} out {_meter(levels['playback'])}",
        f"lost {_percent(recent['lost'])} late {_percent(recent['late'])}",
        f"buffer {status['depth_ms']:.1f} ms",
        *([f"trip {status['round_trip_ms']:.1f} ms"] if status["round_trip_ms"] is not None else []),
        " ".join(f"{name} {count:,}" for name, count in faults.items() if count) or "no faults",
        _causes(status.get("causes") or {}),
        f"drift {status['drift_ppm']:+.1f} ppm",
        " ".join(f"{name} {count:,}" for name, count in status["rungs"].items() if count and name != "received"),
    ]
    line = parts[0]
    for part in filter(None, parts[1:]):
        longer = f"{line}  {part}"
        if len(longer) > width:
            break
        line = longer
    return str(line[:width])


def _causes(causes: Mapping[str, int]) -> str:
    """Where dropouts came from, since the start."""
    counted = [f"{count:,} {_CAUSES.get(cause, cause)}" for cause, count in causes.items() if count]
    return f"dropouts {', '.join(counted)}" if counted else ""


def _meter(level_dbfs: float | None) -> str:
    """Level as a bar and a figure, always as wide."""
    if level_dbfs is None:
        return "   -  "
    share = min(1.0, max(0.0, 1 - level_dbfs / _QUIETEST_DBFS))
    return f"{_BARS[round(share * (len(_BARS) - 1))]}{level_dbfs:5.1f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
