"""Times of several things, taken in turns so that whatever slows the machine down slows all of them alike."""

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

__all__ = ["Times", "measure"]


@dataclass(frozen=True)
class Times:
    """Times of one thing, in milliseconds."""

    p50_ms: float
    p99_ms: float
    count: int

    @classmethod
    def of(cls, times_ns: NDArray[np.int64]) -> "Times":
        """Summarise times in nanoseconds [shape=(n,)]."""
        p50, p99 = np.percentile(times_ns, (50, 99)) * 1e-6
        return cls(float(p50), float(p99), len(times_ns))


def measure(things: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, Times]:
    """Call each of ``things`` once to warm up, then ``repetitions`` rounds of all in turn; the collector is off."""
    for call in things.values():
        call()
    taken = {name: np.zeros(repetitions, np.int64) for name in things}
    gc.collect()
    gc.disable()
    try:
        for repetition in range(repetitions):
            for name, call in things.items():
                start_ns = perf_counter_ns()
                call()
                taken[name][repetition] = perf_counter_ns() - start_ns
    finally:
        gc.enable()
    return {name: Times.of(times) for name, times in taken.items()}
