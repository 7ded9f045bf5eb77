"""The timing log on disk: one row per packet, drained from a `TimingRing` off the hot path.

Binary file, little-endian throughout, made to be readable after the writer was killed at any moment::

    offset  bytes  field
    0       4      magic "CTLG"
    4       2      version (1)
    6       2      row_bytes
    8       4      json_bytes
    12      8      dropped_rows: rows that found the ring full; updated in place
    20      ...    JSON: sample_rate_hz, packet_samples, channels, method, started, row ([[name, type], ...])
    then    ...    raw rows to the end of the file; a partial last row is ignored

A row begins with the columns of `TIMING_DTYPE`; the box appends more, and the header says which.
"""

import csv
import json
import re
import struct
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_path
from ..errors import InputError, RunError
from ..rt.spec import StreamSpec
from ..rt.timing import TIMING_DTYPE, Cause, Rung, TimingRing

__all__ = [
    "DROPPED_OFFSET",
    "TimingLog",
    "TimingLogWriter",
    "TimingMeta",
    "encode_header",
    "read_timing_header",
    "read_timing_log",
    "write_timing_csv",
]

DROPPED_OFFSET = 12
"""Where in a file ``dropped_rows`` lies, 8 bytes."""

_MAGIC = b"CTLG"
_VERSION = 1
_HEADER = struct.Struct("<4sHHIQ")
_JSON_BYTES_MOST = 1 << 20
_COLUMNS = TIMING_DTYPE.names or ()
_NAMED: dict[str, type[Rung] | type[Cause]] = {"rung": Rung, "cause": Cause}
_SCALAR = re.compile(r"[<|](?:[iu][1248]|f[248]|b1)")


@dataclass(frozen=True)
class TimingMeta:
    """What a log says of its session."""

    sample_rate_hz: int
    packet_samples: int
    channels: int
    method: str
    started: str
    """ISO 8601 with its offset from UTC."""


@dataclass(frozen=True)
class TimingLog:
    """A timing log in memory."""

    meta: TimingMeta | None
    """None when it was read from a CSV, which holds rows alone."""
    rows: NDArray[np.void]
    """[shape=(packets,)], fields of `TIMING_DTYPE` and whatever the writer appended."""
    dropped_rows: int = 0
    """Rows that the ring had no place for: packets that the log does not show."""

    @property
    def packet_ns(self) -> float | None:
        """Duration of a packet in nanoseconds: the format's, or else the rows' own median time to their deadline.

        None when there is neither format nor row.
        """
        if self.meta is not None:
            return 1e9 * self.meta.packet_samples / self.meta.sample_rate_hz
        inferred = float(np.median(self.rows["total_ns"] + self.rows["deadline_margin_ns"])) if len(self.rows) else 0.0
        return inferred if inferred > 0 else None


class TimingLogWriter:
    """Writes a ring's rows to a file from a background thread; a context manager.

    Every `period_s` the rows pushed since go to the operating system, so a killed process loses one period at most.
    Leaving the block writes the rest. An older file at `path` is replaced.

    Parameters
    ----------
    path
        The file to write.
    ring
        The ring to drain. Nobody else may drain it meanwhile.
    spec, method
        What the header says of the session.
    started
        Its start, ISO 8601; None: now.
    period_s
        Seconds between two drains. The ring must hold more than that.

    Raises
    ------
    RunError
        On entry when the file cannot be opened; on exit when a row could not be written (disk full): the file then
        holds every row before it.
    """

    def __init__(
        self,
        path: str | Path,
        ring: TimingRing,
        spec: StreamSpec,
        method: str,
        *,
        started: str | None = None,
        period_s: float = 0.05,
    ) -> None:
        self.path = Path(path)
        self.rows_written = 0
        started = started or datetime.now(UTC).isoformat(timespec="seconds")
        self.meta = TimingMeta(spec.sample_rate_hz, spec.packet_samples, spec.channels, method, started)
        self._ring = ring
        self._period_s = period_s
        self._scratch = np.zeros(min(ring.capacity_rows, 1024), ring.dtype)
        self._dropped_rows = ring.dropped_rows
        self._dropped_before = ring.dropped_rows
        self._stop = threading.Event()
        self._error: OSError | None = None
        self._file: FileIO | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            self._file = self.path.open("wb", buffering=0)
            _write_all(self._file, encode_header(self.meta, self._ring.dtype))
        except OSError as error:
            if self._file is not None:
                self._file.close()
            raise self._run_error(error) from error
        self._stop.clear()
        self._thread = threading.Thread(target=self._drain_until_stopped, name="timing-log", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None or self._file is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        self._file.close()
        if self._error is not None and kind is None:  # never hides the error that ended the block
            raise self._run_error(self._error) from self._error

    def _run_error(self, error: OSError) -> RunError:
        reason = error.strerror or type(error).__name__
        return RunError(f"cannot write the timing log {self.path}: {reason}; choose another place or free some space")

    def _drain_until_stopped(self) -> None:
        last_time = False
        while not last_time:
            last_time = self._stop.wait(self._period_s)
            try:
                self._drain()
            except OSError as error:
                self._error = error
                return  # the ring fills up and counts: the audio side never notices

    def _drain(self) -> None:
        assert self._file is not None
        while count := self._ring.drain(self._scratch):
            _write_all(self._file, self._scratch[:count].tobytes())
            self.rows_written += count
        if self._ring.dropped_rows != self._dropped_rows:
            self._dropped_rows = self._ring.dropped_rows
            self._file.seek(DROPPED_OFFSET)
            _write_all(self._file, struct.pack("<Q", self._dropped_rows - self._dropped_before))
            self._file.seek(0, 2)


def encode_header(meta: TimingMeta, dtype: np.dtype[Any]) -> bytes:
    """What a file begins with, nothing dropped yet; rows of ``dtype`` follow."""
    text = json.dumps(asdict(meta) | {"row": dtype.descr}).encode()
    return _HEADER.pack(_MAGIC, _VERSION, dtype.itemsize, len(text), 0) + text


def read_timing_header(path: str | Path) -> tuple[TimingMeta, np.dtype[Any], int]:
    """Return the session, row type and dropped rows of a binary log; raises InputError as `read_timing_log` does."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEADER.size)
            if not head.startswith(_MAGIC):
                raise InputError(f"{path} is not a timing log: pass one written by Continuo")
            return _read_head(Path(path), file, head)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; pass a timing log") from error


def read_timing_log(path: str | Path) -> TimingLog:
    """Read a binary timing log or a ``timing.csv``.

    Raises
    ------
    InputError
        When the file is missing, empty, neither of the two, cut off within its header, or of a newer version.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
    except FileNotFoundError as error:
        raise InputError(f"{path} is not there: pass a timing log or the timing.csv of `continuo simulate`") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; pass a timing log or a timing.csv") from error
    if not head:
        raise InputError(f"{path} is empty: its writer never started; pass another timing log")
    if head.startswith(_MAGIC):
        return _read_binary(path, head)
    if head.removeprefix(b"\xef\xbb\xbf").startswith(b"sequence,"):
        return _read_csv(path)
    raise InputError(f"{path} is not a timing log: pass one written by Continuo, or a timing.csv")


def write_timing_csv(path: str | Path, rows: NDArray[np.void]) -> None:
    """Write rows as CSV, whole or not at all.

    Parameters
    ----------
    path
        The file to write; an older one is replaced.
    rows : [shape=(packets,)]
        `TIMING_DTYPE`, or a row type that begins with its fields. ``rung`` and ``cause`` are written as their names in
        lower case, everything else as a number.

    Raises
    ------
    RunError
        When the file cannot be written.
    """
    names = rows.dtype.names or ()
    named = {
        names.index(column): {int(member): member.name.lower() for member in kind}
        for column, kind in _NAMED.items()
        if column in names
    }
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(",".join(names) + "\n")
        for start in range(0, len(rows), 4096):  # a long session as Python objects would not fit a small board
            for row in rows[start : start + 4096].tolist():
                cells = [str(int(cell) if isinstance(cell, bool) else cell) for cell in row]
                for column, name_of in named.items():
                    cells[column] = name_of.get(row[column], cells[column])
                file.write(",".join(cells) + "\n")


def _write_all(file: FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) or 0 :]


def _read_binary(path: Path, head: bytes) -> TimingLog:
    with path.open("rb") as file:
        file.seek(_HEADER.size)
        meta, dtype, dropped_rows = _read_head(path, file, head)
        body = file.read()
    rows = np.frombuffer(body, dtype, count=len(body) // dtype.itemsize)
    return TimingLog(meta, rows, dropped_rows)


def _read_head(path: Path, file: BinaryIO, head: bytes) -> tuple[TimingMeta, np.dtype[Any], int]:
    """Read on from after ``head`` to the first row."""
    cut_off = InputError(f"{path} is cut off within its header: it holds no packet, pass another timing log")
    if len(head) < _HEADER.size:
        raise cut_off
    _, version, row_bytes, json_bytes, dropped_rows = _HEADER.unpack(head)
    if version > _VERSION:
        raise InputError(f"{path} has log version {version}, this Continuo reads {_VERSION}: update continuo-nmp")
    if json_bytes > _JSON_BYTES_MOST:
        raise InputError(f"{path} has a damaged header ({json_bytes} bytes of JSON): pass another timing log")
    text = file.read(json_bytes)
    if len(text) < json_bytes:
        raise cut_off
    try:
        fields = json.loads(text)
        dtype = _row_dtype(fields["row"])
        spec = StreamSpec(*(int(fields[key]) for key in ("sample_rate_hz", "packet_samples", "channels")))
        meta = TimingMeta(
            spec.sample_rate_hz, spec.packet_samples, spec.channels, str(fields["method"]), str(fields["started"])
        )
    except (ValueError, KeyError, TypeError, InputError) as error:
        raise InputError(f"{path} has a damaged header ({error}): pass another timing log") from error
    if dtype.itemsize != row_bytes:
        raise InputError(f"{path} has a damaged header (rows of {row_bytes} bytes): pass another timing log")
    return meta, dtype, dropped_rows


def _row_dtype(description: list[list[str]]) -> np.dtype[Any]:
    fields = [(str(name), str(kind)) for name, kind in description]
    if tuple(name for name, _ in fields[: len(_COLUMNS)]) != _COLUMNS:
        raise ValueError("its columns are not those of a timing log")
    for name, kind in fields:
        if not _SCALAR.fullmatch(kind):
            raise ValueError(f"column {name} has the type {kind}")
    return np.dtype(fields)


def _read_csv(path: Path) -> TimingLog:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            names = next(reader)
            table = [(reader.line_num, cells) for cells in reader if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path} as CSV ({error}): pass a timing log or a timing.csv") from error
    if tuple(names[: len(_COLUMNS)]) != _COLUMNS or len(set(names)) < len(names):
        raise InputError(f"{path} is not a timing log: its header must begin {','.join(_COLUMNS)}")
    for line, cells in table:
        if len(cells) != len(names):
            raise InputError(f"{path}, line {line}: {len(cells)} cells for {len(names)} columns; write the file again")
    cells_of = dict(zip(names, zip(*(cells for _, cells in table), strict=True), strict=True)) if table else {}
    lines = [line for line, _ in table]
    columns = {name: _column(path, name, lines, cells_of.get(name, ())) for name in names}
    dtype = np.dtype(
        TIMING_DTYPE.descr + [(name, column.dtype.str) for name, column in columns.items() if name not in _COLUMNS]
    )
    rows: NDArray[np.void] = np.zeros(len(table), dtype)
    for name, column in columns.items():
        rows[name] = column
    return TimingLog(None, rows)


def _column(path: Path, name: str, lines: list[int], cells: tuple[str, ...]) -> NDArray[Any]:
    """Column of a CSV: whole numbers, or for a column that we do not know also fractions (as float64)."""
    if name in _NAMED:
        numbers = {member.name.lower(): str(int(member)) for member in _NAMED[name]}
        cells = tuple(numbers.get(cell.strip().lower(), cell) for cell in cells)
    kinds: list[type[int] | type[float]] = [int] if name in _COLUMNS else [int, float]
    small = name in _COLUMNS and TIMING_DTYPE[name].itemsize == 1
    least, most = (0, 255 if name == "rung" else 1) if small else (-(2**63), 2**63 - 1)
    bad = 0
    for kind in kinds:
        values: list[int | float] = []
        for cell in cells:
            try:
                value = kind(cell)
            except ValueError:
                break
            if kind is int and not least <= value <= most:
                break
            values.append(value)
        if len(values) == len(cells):
            return np.array(values, np.int64 if kind is int else np.float64)
        bad = len(values)
    raise InputError(f"{path}, line {lines[bad]}: {name} is {cells[bad]!r}; write the file again")
