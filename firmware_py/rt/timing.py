"""One fixed-size row per packet: what happened to it and how long each stage took.

The audio side pushes rows into a `TimingRing`; the control side drains it (`control.timing_log`).
"""

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

__all__ = ["BOX_TIMING_DTYPE", "DROPPED", "READ", "TIMING_DTYPE", "WRITE", "Cause", "Rung", "TimingRing"]


class Rung(IntEnum):
    """Where a packet's samples came from, worst to best among the replacements."""

    RECEIVED = 0
    FADE = 1
    """Silence, or the end of a fade after a long burst."""
    REPEAT = 2
    LPC = 3
    LITE = 4
    FULL = 5


class Cause(IntEnum):
    """Why the box did not play what the peer sent."""

    NONE = 0
    """It did."""
    NETWORK_LOST = 1
    """The packet never came."""
    NETWORK_LATE = 2
    """It came after its pull: ``late_by_ns`` says how long after."""
    CPU_DEADLINE = 3
    """No replacement was ready in time, or the period's work took longer than the period."""
    DEVICE_XRUN = 4
    """The sound device ran dry or over."""
    PEER_STOPPED = 5
    """The peer sends nothing."""
    INSERTED = 6
    """Nothing was missing: one packet was concealed to make the playout buffer deeper."""


TIMING_DTYPE = np.dtype(
    [
        ("sequence", "<i8"),
        ("lost", "u1"),
        ("rung", "u1"),
        ("predict_ns", "<i8"),
        ("refine_ns", "<i8"),
        ("crossfade_ns", "<i8"),
        ("total_ns", "<i8"),
        ("deadline_margin_ns", "<i8"),
        ("deadline_missed", "u1"),
    ]
)
"""Row of the timing log. Times in nanoseconds; ``lost`` and ``deadline_missed`` are 0 or 1; ``rung`` is a `Rung`."""

BOX_TIMING_DTYPE = np.dtype(
    [
        *TIMING_DTYPE.descr,
        ("arrival_ns", "<i8"),
        ("inter_arrival_ns", "<i8"),
        ("depth_samples", "<i4"),
        ("late_by_ns", "<i8"),
        ("xrun", "u1"),
        ("cause", "u1"),
    ]
)
"""Row of the box's timing log: `TIMING_DTYPE`, and

- ``arrival_ns``: monotonic clock when the packet came; 0 if it did not.
- ``inter_arrival_ns``: since the packet that came before it; 0 if there is none.
- ``depth_samples``: in the playout buffer when this packet was pulled.
- ``late_by_ns``: how long after its own pull the packet came; 0 if in time, or never.
- ``xrun``: 1 if the device ran dry or over since the row before.
- ``cause``: a `Cause`.

Lost is told from late by waiting: a row is pushed once its packet came, or can be waited for no longer.
"""

# Counters lie a cache line (8 int64) apart, so that the two sides do not pull one line back and forth.
WRITE, DROPPED, READ, _STATE_WORDS = 0, 1, 8, 16


class TimingRing:
    """Ring of timing rows between exactly one producer (`push`) and one consumer (`drain`).

    A full ring never overwrites: the new row is dropped and counted. The counters are absolute row counts, so
    an all-zero buffer is an empty ring, and a side that restarts goes on where it left off.

    Within one process the interpreter orders the stores. Between processes on a weakly ordered CPU nothing but the
    time between a push and the next drain does; that is enough for a log, not for audio.

    Parameters
    ----------
    capacity_rows
        A power of two. 4096 rows hold 47 s at 44.1 kHz and 512 samples.
    dtype
        Row type: `TIMING_DTYPE`, or one that begins with its fields and appends more.
    buffer
        Writable memory of at least `bytes_needed` bytes, for example ``SharedMemory.buf``: zeros for a new ring, or
        the buffer of a ring of the same capacity and row type. It is not cleared. None: own memory.

    Raises
    ------
    InputError
        When the capacity is not a power of two, or the buffer is too small, read-only or not a ring of this size.
    """

    def __init__(
        self,
        capacity_rows: int = 4096,
        dtype: np.dtype[Any] = TIMING_DTYPE,
        buffer: memoryview | bytearray | None = None,
    ) -> None:
        needed = self.bytes_needed(capacity_rows, dtype)
        memory = np.zeros(needed, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)
        if memory.size < needed or not memory.flags.writeable:
            raise InputError(f"the timing ring needs {needed} writable bytes: its buffer has {memory.size}")
        state_bytes = 8 * _STATE_WORDS
        self._state: NDArray[np.int64] = memory[:state_bytes].view(np.int64)
        self._rows: NDArray[np.void] = memory[state_bytes:needed].view(dtype)
        self._mask = capacity_rows - 1
        self.capacity_rows = capacity_rows
        self.dtype = dtype
        if not 0 <= len(self) <= capacity_rows:
            raise InputError("the timing ring's buffer holds something else: pass zeros or a ring of the same size")

    @staticmethod
    def bytes_needed(capacity_rows: int, dtype: np.dtype[Any] = TIMING_DTYPE) -> int:
        """Bytes of memory for `capacity_rows` rows and the counters; InputError when not a power of two."""
        if capacity_rows < 1 or capacity_rows & (capacity_rows - 1):
            raise InputError(f"capacity_rows is {capacity_rows}: choose a power of two, such as 4096")
        return 8 * _STATE_WORDS + capacity_rows * dtype.itemsize

    @property
    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.void]]:
        """State (`WRITE`, `DROPPED`, `READ`) and rows, for kernels that push rows along with other work."""
        return self._state, self._rows

    def __len__(self) -> int:
        """Rows pushed and not drained yet."""
        return self._state.item(WRITE) - self._state.item(READ)

    @property
    def dropped_rows(self) -> int:
        """Rows that found the ring full (or did not fit its row type), since the buffer was zero."""
        return self._state.item(DROPPED)

    def push(self, row: NDArray[np.void] | np.void) -> bool:
        """Append a copy of one row. Producer only; allocates no numpy memory, takes no lock, raises nothing.

        Parameters
        ----------
        row : [shape=()]
            Of the ring's row type. Keep one ``np.zeros((), ring.dtype)``, set its fields and push it again and again.

        Returns
        -------
        bool
            False when the row was dropped.
        """
        state = self._state
        write = state.item(WRITE)
        if write - state.item(READ) <= self._mask:
            try:
                self._rows[write & self._mask] = row
            except (TypeError, ValueError, OverflowError):  # not a row: a counter, never an exception, on this side
                pass
            else:
                state[WRITE] = write + 1  # publishes the row: last
                return True
        state[DROPPED] = state.item(DROPPED) + 1
        return False

    def drain(self, out: NDArray[np.void]) -> int:
        """Move the oldest rows into `out` and free their places. Consumer only; allocates no numpy memory.

        Parameters
        ----------
        out : [shape=(n,)]
            Of the ring's row type. Receives at most n rows, in the order of their pushes.

        Returns
        -------
        int
            How many rows were moved; fewer than n means that the ring was empty for a moment.
        """
        read = self._state.item(READ)
        count = min(self._state.item(WRITE) - read, len(out))
        start = read & self._mask
        before_wrap = min(count, self.capacity_rows - start)
        out[:before_wrap] = self._rows[start : start + before_wrap]
        out[before_wrap:count] = self._rows[: count - before_wrap]
        self._state[READ] = read + count  # frees the places: last
        return count
