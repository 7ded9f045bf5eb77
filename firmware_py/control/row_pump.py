"""Takes the timing rows out of their ring, in a thread of the control process, and hands them to whoever wants them."""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..rt.timing import TimingRing

__all__ = ["RowPump", "RowSink"]


class RowSink(Protocol):
    """Wants to see every row: the log, the status, the recorder."""

    def take(self, rows: NDArray[np.void], dropped_rows: int) -> None:
        """Use the next rows [shape=(n,), n may be 0]. They are the pump's: copy what is to stay.

        ``dropped_rows`` is `TimingRing.dropped_rows`. Whatever can go wrong in operation, a full disk for one, is the
        sink's to count, not to raise.
        """


class RowPump:
    """Drains a ring every `period_s` and hands the rows to each sink in turn; a context manager.

    Leaving the block hands over what is left. The ring must hold more rows than come in `period_s`, and some more
    for a disk that takes its time: rows that find it full are dropped and counted, and audio never notices.

    Parameters
    ----------
    ring
        The ring to drain. Nobody else may drain it meanwhile.
    sinks
        In the order in which they are served. All are called from one thread.
    period_s
        Seconds between two drains.
    """

    def __init__(self, ring: TimingRing, sinks: Sequence[RowSink], period_s: float = 0.1) -> None:
        self.failure: Exception | None = None
        """What a sink raised against its promise, the first of them. It got no rows since; the others did."""
        self._ring = ring
        self._sinks = list(sinks)
        self._period_s = period_s
        self._rows = np.zeros(min(ring.capacity_rows, 1024), ring.dtype)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._stop.clear()
        self._thread = threading.Thread(target=self._pump_until_stopped, name="row-pump", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def _pump_until_stopped(self) -> None:
        last_time = False
        while not last_time:
            last_time = self._stop.wait(self._period_s)
            while count := self._ring.drain(self._rows):
                self._hand_over(self._rows[:count])
            self._hand_over(self._rows[:0])

    def _hand_over(self, rows: NDArray[np.void]) -> None:
        for sink in tuple(self._sinks):
            try:
                sink.take(rows, self._ring.dropped_rows)
            except Exception as error:  # one sink's mistake must not cost the others their rows
                self.failure = self.failure or error
                self._sinks.remove(sink)
