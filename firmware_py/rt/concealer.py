"""The concealer: packets in, packets out, no latency. Box, simulator, evaluator and bench all run this one.

It is two halves (`Preparer`, `Player`) in one process. On the box they are in two.
"""

from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from .method import Method, Refiner
from .player import Player
from .preparer import Preparer
from .spec import StreamSpec
from .timing import TIMING_DTYPE, Rung

__all__ = ["Concealer", "Method", "Refiner"]


class Concealer:
    """Replaces lost packets of one stream.

    >>> concealer.prepare(StreamSpec(sample_rate_hz=44_100, packet_samples=512, channels=2))
    >>> out = concealer.process(packet)   # received: float32 [shape=(packet_samples, channels)]
    >>> out = concealer.process(None)     # lost

    What `process` returns belongs to the concealer and is overwritten by the next call. After `prepare` nothing is
    allocated. ``row`` holds the timing of the packet processed last, ``damaged_samples`` counts received samples that
    were not finite or absurdly loud and were played as zeros.
    """

    latency_samples = 0
    """Structural: a received packet leaves in the call that it came in with."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.preparer = Preparer(method)
        self.player = Player(method)

    def prepare(self, spec: StreamSpec) -> None:
        """Allocate every buffer and compile every kernel for streams of ``spec``."""
        self.spec = spec
        self.preparer.prepare(spec)
        self.player.prepare(spec)
        self._blends = self.method.refiner is not None
        self.row = np.zeros((), TIMING_DTYPE)
        self.reset()

    def reset(self) -> None:
        """Forget the stream: the next packet is its first."""
        self.preparer.reset()
        self.player.reset()
        self._sequence = -1
        self.row.fill(0)

    @property
    def damaged_samples(self) -> int:
        """Since the last `reset`."""
        return self.player.damaged_samples

    def prepare_replacement(self) -> None:
        """Make ready what would replace the next packet. `process` does it when nobody has; the box does it ahead.

        Changes nothing of what plays if the packet arrives after all.
        """
        self.preparer.predict()
        self.preparer.refine()

    def process(self, packet: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Return what to play: ``packet`` [shape=(packet_samples, channels), full scale 1], or its replacement if None.

        Raises nothing and allocates nothing for packets of the prepared shape, whatever their memory layout.
        """
        start_ns = perf_counter_ns()
        if packet is None:
            self.prepare_replacement()
        splice_ns = perf_counter_ns()
        if packet is None:
            position = self.preparer.lost()
            replacement = self.preparer.current
            rung = replacement.rung
            out = self.player.lost(replacement.samples, position, self._blends and position == 0)
        else:
            rung = Rung.RECEIVED
            self.preparer.received(packet)
            out = self.player.received(packet)
        self._sequence += 1
        self._write_row(packet is None, rung, start_ns, splice_ns, perf_counter_ns())
        return out

    def _write_row(self, lost: bool, rung: Rung, start_ns: int, splice_ns: int, end_ns: int) -> None:
        row, preparer = self.row, self.preparer
        row["sequence"] = self._sequence
        row["lost"] = lost
        row["rung"] = rung
        row["predict_ns"] = preparer.predict_ns
        row["refine_ns"] = preparer.refine_ns
        row["crossfade_ns"] = end_ns - splice_ns
        row["total_ns"] = end_ns - start_ns
        row["deadline_margin_ns"] = self.spec.packet_ns - (end_ns - start_ns)
        row["deadline_missed"] = end_ns - start_ns > self.spec.packet_ns
        preparer.predict_ns = preparer.refine_ns = 0
