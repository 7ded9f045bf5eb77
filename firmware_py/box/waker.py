"""Wakes another process that sleeps in `select`: a named pipe, so that either side can go and come back."""

import contextlib
import os
from pathlib import Path

__all__ = ["Waker"]


class Waker:
    """One end, or both, of a named pipe.

    ``wake`` never waits: it writes one byte, and none when the pipe is full of unheard ones. Both ends open it for
    reading and writing, so neither sees the other's end of file.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """For `select`: readable when woken."""
        return self._descriptor

    def wake(self) -> None:
        """Wake the other side; it finds out why by itself."""
        try:  # noqa: SIM105 (on the audio thread: `suppress` takes as long as the write)
            os.write(self._descriptor, b"\0")
        except BlockingIOError:
            pass

    def drain(self) -> None:
        """Forget how often we were woken."""
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._descriptor, 4096)) == 4096:
                pass
