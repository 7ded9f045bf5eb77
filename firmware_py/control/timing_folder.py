"""A box's folder of timing segments, read as the sessions that it holds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from .timing_log import TimingLog, TimingMeta, read_timing_header, read_timing_log
from .timing_segments import segment_paths

__all__ = ["TimingFolder", "read_timing", "read_timing_folder"]


@dataclass(frozen=True)
class TimingFolder:
    """One session of a folder, and how many there are."""

    log: TimingLog
    session: int
    """1: the oldest."""
    sessions: int
    damaged: tuple[Path, ...] = ()
    """Segments that cannot be read, such as one that the power failed on as it was begun."""


def read_timing(path: str | Path, back: int = 0) -> tuple[TimingLog, TimingFolder | None]:
    """Read a timing log, a ``timing.csv``, or a session of a folder of segments; None in place of the folder if none.

    Raises
    ------
    InputError
        As `read_timing_log` and `read_timing_folder` do; when ``back`` is asked of a single file.
    """
    if Path(path).is_dir():
        folder = read_timing_folder(path, back)
        return folder.log, folder
    if back:
        raise InputError(f"{path} is one file: to go back to an earlier session, pass the folder of the log")
    return read_timing_log(path), None


def read_timing_folder(path: str | Path, back: int = 0) -> TimingFolder:
    """Read one session of a folder: the last one, or one so many sessions back.

    The beginning of a long session may be gone: newer segments took its place.

    Raises
    ------
    InputError
        When the folder cannot be read, holds no timing log, or not so many sessions.
    """
    try:
        paths = segment_paths(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; pass the folder of a timing log") from error
    sessions: list[tuple[TimingMeta, np.dtype[np.void], list[Path]]] = []
    damaged = []
    for segment in paths:
        try:
            meta, dtype, _ = read_timing_header(segment)
        except InputError:
            damaged.append(segment)
            continue
        if not sessions or sessions[-1][:2] != (meta, dtype):
            sessions.append((meta, dtype, []))
        sessions[-1][2].append(segment)
    if not sessions:
        raise InputError(f"{path} holds no timing log: pass the folder that log.folder names, or a timing.csv")
    if not 0 <= back < len(sessions):
        raise InputError(f"{path} holds {_sessions(len(sessions))}: go back by {len(sessions) - 1} at most, not {back}")
    meta, _, chosen = sessions[-1 - back]
    logs = [read_timing_log(segment) for segment in chosen]
    log = TimingLog(meta, np.concatenate([log.rows for log in logs]), sum(log.dropped_rows for log in logs))
    return TimingFolder(log, len(sessions) - back, len(sessions), tuple(damaged))


def _sessions(count: int) -> str:
    return f"{count} session{'' if count == 1 else 's'}"
