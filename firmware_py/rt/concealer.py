"""The concealer: packets in, packets out, no latency. The box, the simulator, the evaluator and the bench all run it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .predictor import Predictor
from .spec import StreamSpec
from .splice import burst_gain, half_hann, play_received, play_replacement
from .timing import TIMING_DTYPE, Rung

__all__ = ["Concealer", "Method", "Refiner"]

PREDICT_SAMPLES = 1024
"""The paper predicts 1024 samples for a gap of 512: a refiner needs what lies behind the gap, the crossfade too."""
REFIT_SAMPLES = 512
"""Inside a burst the predictor is fitted again, to its own output, after this many samples."""
HOLD_MS = 60.0
"""A burst plays at full level for this long: within it, predictions still carry information (docs/prediction.md) ..."""
FADE_MS = 240.0
"""... and then fades to silence over this long."""


class Refiner(Protocol):
    """Improves on a prediction. One object serves one channel."""

    rung: Rung
    context_samples: int

    def prepare(self, spec: StreamSpec, predict_samples: int) -> None:
        """Allocate every buffer and warm up."""

    def refine(self, context: NDArray[np.float32], prediction: NDArray[np.float32], out: NDArray[np.float32]) -> bool:
        """Write a better continuation of ``context`` into ``out`` [shape of ``prediction``]; False: the prediction stands."""


@dataclass(frozen=True)
class Method:
    """What stands on the ladder, and how its output is joined to what comes next."""

    name: str
    predictor: Callable[[], Predictor]
    refiner: Callable[[], Refiner] | None = None
    crossfade_ms: float = 1.45
    """From the replacement into the first packet after a gap; at most one packet long."""
    fades: bool = True
    """Whether a long burst fades to silence."""


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

    def prepare(self, spec: StreamSpec) -> None:
        """Allocate every buffer and compile every kernel for streams of ``spec``."""
        self.spec = spec
        packet, channels = spec.packet_samples, spec.channels
        crossfade = min(packet, round(self.method.crossfade_ms * 1e-3 * spec.sample_rate_hz))
        self._refit_after = max(REFIT_SAMPLES, packet)
        last_position = (self._refit_after - 1) // packet * packet
        self._ahead = max(PREDICT_SAMPLES, last_position + packet + crossfade)
        self._predictors: Sequence[Predictor] = [self.method.predictor() for _ in range(channels)]
        self._refiners: Sequence[Refiner] = [self.method.refiner() for _ in range(channels)] if self.method.refiner else []
        blocks = [*self._predictors, *self._refiners]
        for block in blocks:
            block.prepare(spec, self._ahead)
        self._history = np.zeros((channels, max(packet, *(b.context_samples for b in blocks))), np.float32)
        self._prediction = np.zeros((channels, self._ahead), np.float32)
        self._refined = np.zeros((channels, self._ahead), np.float32)
        self._plane = np.zeros(packet, np.float32)
        self._out = np.zeros((packet, channels), np.float32)
        self._rise = half_hann(crossfade)
        samples_per_ms = 1e-3 * spec.sample_rate_hz
        faded = burst_gain(round(HOLD_MS * samples_per_ms), round(FADE_MS * samples_per_ms))
        self._gain = faded if self.method.fades else np.ones(1, np.float32)
        self._contexts = [self._history[c, -p.context_samples :] for c, p in enumerate(self._predictors)]
        self._refiner_contexts = [self._history[c, -r.context_samples :] for c, r in enumerate(self._refiners)]
        self.row = np.zeros((), TIMING_DTYPE)
        self.reset()
        self.process(self._out.copy())
        self.process(None)
        self.process(self._out.copy())
        self.reset()

    def reset(self) -> None:
        """Forget the stream: the next packet is its first."""
        self._history.fill(0)
        self._burst_samples = 0
        self._position = 0
        self._ready = False
        self._replacement = self._prediction
        self._rung = Rung.FADE
        self._predict_ns = 0
        self._refine_ns = 0
        self._sequence = -1
        self.damaged_samples = 0
        self.row.fill(0)

    def prepare_replacement(self) -> None:
        """Make ready what would replace the next packet. `process` does it when nobody has; the box does it ahead."""
        if self._ready:
            return
        self._ready = True
        if self._burst_samples >= len(self._gain) and self._gain[-1] == 0:  # faded out: nobody would hear it
            self._rung = Rung.FADE
            self._position = 0
            self._replacement.fill(0)
            return
        if 0 < self._position < self._refit_after:  # the last fit still serves
            return
        self._position = 0
        start_ns = perf_counter_ns()
        for predictor, context, out in zip(self._predictors, self._contexts, self._prediction, strict=True):
            predictor.predict(context, out)
        self._replacement, self._rung = self._prediction, self._predictors[0].rung
        self._predict_ns = perf_counter_ns() - start_ns
        if self._refiners:
            self._refine()

    def process(self, packet: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Return what to play: ``packet`` [shape=(packet_samples, channels), full scale 1], or its replacement if None.

        Raises nothing and allocates nothing for packets of the prepared shape.
        """
        start_ns = perf_counter_ns()
        if packet is None:
            self.prepare_replacement()
        splice_ns = perf_counter_ns()
        if packet is None:
            rung = self._rung
            play_replacement(
                self._replacement, self._position, self._gain, self._burst_samples, self._plane, self._history, self._out
            )
            self._position += self.spec.packet_samples
            self._burst_samples += self.spec.packet_samples
        else:
            rung = Rung.RECEIVED
            self.damaged_samples += play_received(
                packet, self._replacement, self._position, self._rise, self._gain, self._burst_samples,
                self._plane, self._history, self._out,
            )  # fmt: skip
            self._position = 0
            self._burst_samples = 0
        self._ready = False
        self._sequence += 1
        self._write_row(packet is None, rung, start_ns, splice_ns, perf_counter_ns())
        return self._out

    def _refine(self) -> None:
        """Let the refiners improve every channel's prediction; one that declines leaves all to the predictor."""
        start_ns = perf_counter_ns()
        better = True
        for refiner, context, prediction, out in zip(
            self._refiners, self._refiner_contexts, self._prediction, self._refined, strict=True
        ):
            better = refiner.refine(context, prediction, out) and better
        if better:
            self._replacement, self._rung = self._refined, self._refiners[0].rung
        self._refine_ns = perf_counter_ns() - start_ns

    def _write_row(self, lost: bool, rung: Rung, start_ns: int, splice_ns: int, end_ns: int) -> None:
        row = self.row
        row["sequence"] = self._sequence
        row["lost"] = lost
        row["rung"] = rung
        row["predict_ns"] = self._predict_ns
        row["refine_ns"] = self._refine_ns
        row["crossfade_ns"] = end_ns - splice_ns
        row["total_ns"] = end_ns - start_ns
        row["deadline_margin_ns"] = self.spec.packet_ns - (end_ns - start_ns)
        row["deadline_missed"] = end_ns - start_ns > self.spec.packet_ns
        self._predict_ns = self._refine_ns = 0
