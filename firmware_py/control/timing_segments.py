"""The box's timing log: a folder of segments, each a whole timing log, never more than so many bytes together.

Segments are called ``timing-000001.ctlg`` and so on, in the order in which they were written: a board without a
battery has no clock to go by after its start. The oldest ones make room for new ones, also those of sessions before.
"""

import contextlib
import errno
import os
import re
import struct
import time
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..rt.spec import StreamSpec
from .timing_log import DROPPED_OFFSET, TimingMeta, encode_header, read_timing_header

__all__ = ["SegmentedTimingLog", "segment_paths"]

_NAME = re.compile(r"timing-(\d{6,})\.ctlg")
_SEGMENTS_IN_ALL = 8
_SEGMENT_BYTES_MOST = 64_000_000
_RETRY_S = 1.0
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def segment_paths(folder: str | Path) -> list[Path]:
    """The segments in a folder, the oldest first. OSError when it cannot be read."""
    numbered = [(_NAME.fullmatch(path.name), path) for path in Path(folder).iterdir()]
    return [path for _, path in sorted((int(match[1]), path) for match, path in numbered if match)]


class SegmentedTimingLog:
    """Writes rows to segments; a `row_pump.RowSink`.

    Raises nothing in operation: rows that the disk does not take are lost and counted, and as soon as it takes rows
    again they are written. What a killed process wrote stays, each segment readable up to its last whole row.

    Parameters
    ----------
    folder
        Where the segments go; it is made if need be.
    spec, method
        What the headers say of the session.
    dtype
        Row type: `TIMING_DTYPE`, or one that begins with its fields.
    max_bytes
        What all segments in the folder may take together, those of other sessions included.
    started
        The session's start, ISO 8601; None: now. A writer that goes on with a session passes the same again.
    """

    def __init__(
        self,
        folder: str | Path,
        spec: StreamSpec,
        method: str,
        dtype: np.dtype[Any],
        max_bytes: int,
        *,
        started: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        started = started or datetime.now(UTC).isoformat(timespec="seconds")
        self.meta = TimingMeta(spec.sample_rate_hz, spec.packet_samples, spec.channels, method, started)
        self.rows_written = 0
        self.rows_lost = 0
        """Rows that came and could not be written. Those that found the ring full are not among them."""
        self.problem = ""
        """Why rows are being lost right now; empty: they are not."""
        self._dtype = dtype
        self._max_bytes = max_bytes
        self._segment_bytes = min(max_bytes // _SEGMENTS_IN_ALL, _SEGMENT_BYTES_MOST)
        self._header = encode_header(self.meta, dtype)
        self._file: FileIO | None = None
        self._bytes = 0
        self._dropped_seen = self._dropped_before()
        self._dropped_to_tell = 0
        self._dropped_told = 0
        self._retry_at_s = 0.0

    def take(self, rows: NDArray[np.void], dropped_rows: int) -> None:
        """Write rows [shape=(n,)]; ``dropped_rows`` is `TimingRing.dropped_rows`."""
        self._dropped_to_tell += max(0, dropped_rows - self._dropped_seen)
        self._dropped_seen = max(self._dropped_seen, dropped_rows)
        most = max(1, (self._segment_bytes - len(self._header)) // self._dtype.itemsize)
        for start in range(0, len(rows), most):
            self._write(rows[start : start + most])
        if self._dropped_to_tell and self._file is not None:
            with contextlib.suppress(OSError):  # told the next time
                self._tell_dropped()

    def close(self) -> None:
        """Bring what was written to the disk. `take` may go on afterwards, with a new segment."""
        if self._file is None:
            return
        file, self._file = self._file, None
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):
            file.close()

    def _write(self, rows: NDArray[np.void]) -> None:
        data = rows.tobytes()
        written_bytes = 0
        try:
            if self._file is not None and self._bytes + len(data) > self._segment_bytes:
                self.close()
            if self._file is None:
                self._open(len(data))
            assert self._file is not None
            while written_bytes < len(data):
                written_bytes += self._file.write(memoryview(data)[written_bytes:]) or 0
        except OSError as error:
            self._note(error)
        whole_rows = written_bytes // self._dtype.itemsize
        self._bytes += whole_rows * self._dtype.itemsize
        self.rows_written += whole_rows
        if whole_rows == len(rows):
            self.problem = ""
            return
        self.rows_lost += len(rows) - whole_rows
        self._dropped_to_tell += len(rows) - whole_rows
        if self._file is not None:
            try:  # what follows a part of a row could not be read
                self._file.seek(self._bytes)
                self._file.truncate()
            except OSError:
                self.close()

    def _open(self, first_bytes: int) -> None:
        if time.monotonic() < self._retry_at_s:
            raise OSError(errno.EAGAIN, self.problem)
        self.folder.mkdir(parents=True, exist_ok=True)
        segments = segment_paths(self.folder)
        self._make_room(segments, max(self._segment_bytes, len(self._header) + first_bytes))
        number = int(segments[-1].stem.partition("-")[2]) + 1 if segments else 1
        path = self.folder / f"timing-{number:06d}.ctlg"
        file = path.open("xb", buffering=0)
        try:
            file.write(self._header)
            if path.stat().st_size != len(self._header):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.close()
            path.unlink(missing_ok=True)
            raise
        self._file, self._bytes, self._dropped_told = file, len(self._header), 0

    def _make_room(self, segments: list[Path], needed_bytes: int) -> None:
        sizes = [path.stat().st_size for path in segments]
        too_many_bytes = sum(sizes) + needed_bytes - self._max_bytes
        for path, size in zip(segments, sizes, strict=True):
            if too_many_bytes <= 0:
                return
            path.unlink()
            too_many_bytes -= size

    def _tell_dropped(self) -> None:
        assert self._file is not None
        self._file.seek(DROPPED_OFFSET)
        self._file.write(struct.pack("<Q", self._dropped_told + self._dropped_to_tell))
        self._dropped_told += self._dropped_to_tell
        self._dropped_to_tell = 0
        self._file.seek(self._bytes)

    def _note(self, error: OSError) -> None:
        if error.errno == errno.EAGAIN:
            return
        self.problem = error.strerror or type(error).__name__
        if self._file is None:
            self._retry_at_s = time.monotonic() + _RETRY_S
        elif error.errno not in _NO_SPACE:  # the disk went away: it may come back under the same name
            self.close()
            self._retry_at_s = time.monotonic() + _RETRY_S

    def _dropped_before(self) -> int:
        """Rows dropped from the ring that earlier segments of this very session have told of."""
        told = 0
        with contextlib.suppress(OSError):
            for path in segment_paths(self.folder):
                with contextlib.suppress(InputError):
                    meta, _, dropped_rows = read_timing_header(path)
                    told += dropped_rows if meta == self.meta else 0
        return told
