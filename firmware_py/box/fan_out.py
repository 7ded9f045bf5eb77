"""A thread per channel: stereo is concealed in the time of mono, where there are cores for it."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["FanOut"]


class FanOut:
    """Calls a function with 0, 1, ... ``channels - 1``, each on a thread of its own, 0 on the caller's.

    Worth it for what releases the interpreter's lock, as compiled kernels and the network's interpreter do. The
    threads end with the process.
    """

    def __init__(self, channels: int) -> None:
        self._calls: list[SimpleQueue[Callable[[int], None]]] = [SimpleQueue() for _ in range(channels - 1)]
        self._done: SimpleQueue[None] = SimpleQueue()
        for channel, calls in enumerate(self._calls, 1):
            threading.Thread(target=self._serve, args=(channel, calls), name=f"channel-{channel}", daemon=True).start()

    def __call__(self, work: Callable[[int], None]) -> None:
        """Returns when all are done; ``work`` raises nothing."""
        for calls in self._calls:
            calls.put(work)
        work(0)
        for _ in self._calls:
            self._done.get()

    def _serve(self, channel: int, calls: "SimpleQueue[Callable[[int], None]]") -> None:
        while True:
            calls.get()(channel)
            self._done.put(None)
