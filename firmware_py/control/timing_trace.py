"""The timing log as a Chrome trace, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

Format: "Trace Event Format" of the Chromium project, JSON object form. Times are microseconds of virtual time:
packet `sequence` plays from ``sequence * packet`` on.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..atomic import atomic_path
from ..errors import InputError
from ..rt.timing import Rung
from .timing_log import TimingLog

__all__ = ["chrome_trace_events", "write_chrome_trace"]

_PID = 1
_PACKETS, _STAGES = 1, 2
_RUNG_NAMES = {int(rung): rung.name.lower() for rung in Rung}


def chrome_trace_events(log: TimingLog) -> Iterator[dict[str, Any]]:
    """Yield the trace events of a log, in the order of its rows.

    One track shows the packets as they play, one the stages that prepared them: a packet is prepared while the one
    before plays, so its stages begin where ``total_ns + deadline_margin_ns`` before its deadline lies, or where the
    stages of the packet before end, if that is later. Missed deadlines are instant events, margins a counter track.

    Raises
    ------
    InputError
        When the log holds no packet, or a CSV does not tell how long a packet is.
    """
    packet_ns = log.packet_ns
    if packet_ns is None or not len(log.rows):
        raise InputError("the timing log holds no packet to export: pass one of a session that ran")
    name = "Continuo"
    if log.meta is not None:
        name += f", {log.meta.method}, {log.meta.packet_samples} samples at {log.meta.sample_rate_hz} Hz"
    yield _metadata("process_name", name=name)
    for tid, track in ((_PACKETS, "packets"), (_STAGES, "stages")):
        yield _metadata("thread_name", tid, name=track)
        yield _metadata("thread_sort_index", tid, sort_index=tid)
    stages_end_ns = 0
    for row in log.rows:
        sequence = int(row["sequence"])
        play_ns, next_ns = round(sequence * packet_ns), round((sequence + 1) * packet_ns)
        margin_ns = int(row["deadline_margin_ns"])
        rung = _RUNG_NAMES.get(int(row["rung"]), str(row["rung"]))
        yield _complete(_PACKETS, rung, play_ns, next_ns - play_ns, sequence=sequence, lost=int(row["lost"]))
        begin_ns = max(stages_end_ns, play_ns - margin_ns - int(row["total_ns"]))
        for stage in ("predict", "refine", "crossfade"):
            if (stage_ns := int(row[f"{stage}_ns"])) > 0:
                yield _complete(_STAGES, stage, begin_ns, stage_ns, sequence=sequence)
                begin_ns += stage_ns
                stages_end_ns = begin_ns
        deadline = {"pid": _PID, "tid": _PACKETS, "ts": play_ns / 1000, "cat": "deadline"}
        if row["deadline_missed"]:
            yield deadline | {"ph": "i", "s": "p", "name": "deadline missed", "args": {"sequence": sequence}}
        yield deadline | {"ph": "C", "name": "deadline margin", "args": {"us": margin_ns / 1000}}


def write_chrome_trace(path: str | Path, log: TimingLog) -> None:
    """Write `chrome_trace_events` as a JSON file, whole or not at all; raises InputError as they do, and RunError."""
    events = chrome_trace_events(log)
    first = json.dumps(next(events))
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"displayTimeUnit": "ms", "traceEvents": [\n' + first)
        for event in events:
            file.write(",\n" + json.dumps(event))
        file.write("\n]}\n")


def _metadata(kind: str, tid: int = 0, **args: str | int) -> dict[str, Any]:
    return {"ph": "M", "pid": _PID, "tid": tid, "ts": 0, "name": kind, "cat": "__metadata", "args": args}


def _complete(tid: int, name: str, begin_ns: int, ns: int, **args: str | int) -> dict[str, Any]:
    return {
        "ph": "X",
        "pid": _PID,
        "tid": tid,
        "ts": begin_ns / 1000,
        "dur": ns / 1000,
        "name": name,
        "cat": "packet" if tid == _PACKETS else "stage",
        "args": args,
    }
