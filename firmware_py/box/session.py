"""Everything that control does beside looking after the processes: log, status page, recording, a line to look at."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from shutil import get_terminal_size

from ..control.config import BoxConfig
from ..control.recorder import Recorder
from ..control.row_pump import RowPump, RowSink
from ..control.status import SessionFacts
from ..control.status_collector import StatusCollector
from ..control.status_line import status_line
from ..control.timing_segments import SegmentedTimingLog
from ..rt.counters import AudioCounter
from ..rt.timing import BOX_TIMING_DTYPE
from .memory import BoxMemory

__all__ = ["Session", "control_session"]

_LINE_S = 0.5


class Session:
    """What control does several times a second, and shows."""

    def __init__(
        self, memory: BoxMemory, collector: StatusCollector, log: SegmentedTimingLog | None,
        notes: Sequence[Callable[[], str]],
    ) -> None:  # fmt: skip
        self.collector = collector
        self._memory = memory
        self._log = log
        self._notes = notes
        self._told = {""}
        self._terminal = sys.stderr.isatty()
        self._line_at_s = 0.0

    def tick(self) -> None:
        """Sample levels, tell of a log that cannot be written, draw the line."""
        self.collector.sample()
        if self._log is not None:
            self._memory.audio[AudioCounter.LOG_DROPPED] = self._log.rows_lost
        for ask in self._notes:
            if (note := ask()) not in self._told:
                self._told.add(note)
                _tell(note)
        if self._terminal and time.monotonic() >= self._line_at_s:
            self._line_at_s = time.monotonic() + _LINE_S
            width = get_terminal_size().columns - 1
            print(f"\r{self.line(width):<{width}}", end="", file=sys.stderr, flush=True)  # noqa: T201

    def line(self, width: int = 120) -> str:
        """The status on one line."""
        return status_line(self.collector.snapshot().as_json(), width)


@contextlib.contextmanager
def control_session(config: BoxConfig, memory: BoxMemory, started: str) -> Iterator[Session]:
    """Log, serve and record while the block runs; on leaving, what is left is written.

    Parameters
    ----------
    started
        The session's start, ISO 8601: a control process that came back passes its predecessor's.

    Raises
    ------
    RunError, MissingError
        When the status page cannot be served.
    """
    with contextlib.ExitStack() as stack:
        log = None
        if config.log.folder:
            _make_folder("log.folder", config.log.folder)
            spec, method, most = config.stream.spec, config.conceal.method, config.log.max_mb * 1_000_000
            folder = Path(config.log.folder).expanduser()
            log = SegmentedTimingLog(folder, spec, method, BOX_TIMING_DTYPE, most, started=started)
            stack.callback(log.close)
        notes: list[Callable[[], str]] = []
        if log is not None:
            notes.append(lambda: f"timing log: {log.problem}" if log.problem else "")
        if config.record.enabled:
            _make_folder("record.folder", config.record.folder)
            memory.record_received.skip()
            memory.record_played.skip()
            folder = Path(config.record.folder).expanduser()
            recorder = stack.enter_context(
                Recorder(
                    folder, config.stream.spec, config.conceal.method, memory.record_received,
                    memory.record_played, max_bytes=config.record.max_mb * 1_000_000,
                )
            )  # fmt: skip
            notes.append(recorder.note)
        collector = StatusCollector(SessionFacts.of(config), memory.audio, memory.net, notes=notes)
        sinks: list[RowSink] = [collector] if log is None else [collector, log]
        if config.status.port:
            from ..control.page import StatusPage  # noqa: PLC0415 (a box without a page needs no aiohttp)

            stack.enter_context(StatusPage(config.status, collector))
        stack.enter_context(RowPump(memory.timing, sinks))
        session = Session(memory, collector, log, notes)
        yield session
        if session._terminal:
            print(file=sys.stderr)  # noqa: T201


def _make_folder(name: str, folder: str) -> None:
    """Tell at once if nothing can be kept there: the music is no worse for it, so the box plays."""
    path = Path(folder).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        _tell(f"{name} {folder} cannot be written ({error.strerror}): let the user that runs the box own it")


def _tell(line: str) -> None:
    print(f"continuo: {line}", file=sys.stderr, flush=True)  # noqa: T201
