"""The concealer: packets in, packets out, no latency. Box, simulator, evaluator and bench all run this one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .predictor import Predictor
from .refinement import PREDICT_SAMPLES
from .spec import StreamSpec
from .splice import burst_gain, half_hann, play_received, play_replacement, remember_state
from .timing import TIMING_DTYPE, Rung

__all__ = ["Concealer", "Method", "Refiner"]


class Refiner(Protocol):
    """Improves on a prediction. One object serves one channel."""

    rung: Rung
    context_samples: int

    def prepare(self, spec: StreamSpec, predict_samples: int) -> None:
        """Allocate every buffer and warm up."""

    def refine(
        self,
        context: NDArray[np.float32],
        concealed: NDArray[np.float32],
        prediction: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> bool:
        """Write a better continuation of ``context`` than ``prediction`` into ``out`` [both of one shape].

        ``concealed`` [shape of ``context``] is 1 where the context was not received but concealed, else 0. False: the
        prediction stands.
        """


@dataclass(frozen=True)
class Method:
    """What stands on the ladder, and how its output is joined to what comes next (why so: ``docs/prediction.md``)."""

    name: str
    predictor: Callable[[], Predictor]
    refiner: Callable[[], Refiner] | None = None
    crossfade_ms: float = 1.45
    """From the replacement into the first packet after a gap; at most one packet long."""
    fades: bool = True
    """Whether a long burst fades to silence."""
    hold_ms: float = 60.0
    """A burst plays at full level for this long: within it, predictions still carry information ..."""
    fade_ms: float = 240.0
    """... and then fades to silence over this long."""
    refit_samples: int = 256
    """Inside a burst the predictor is fitted again, to its own output, after this many samples; at least a packet."""


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
        self._refit_after = max(self.method.refit_samples, packet)
        last_position = (self._refit_after - 1) // packet * packet
        self._ahead = max(PREDICT_SAMPLES, last_position + packet + crossfade)
        self._predictors: Sequence[Predictor] = [self.method.predictor() for _ in range(channels)]
        refiner = self.method.refiner
        self._refiners: Sequence[Refiner] = [refiner() for _ in range(channels)] if refiner else []
        blocks: list[Predictor | Refiner] = [*self._predictors, *self._refiners]
        for block in blocks:
            block.prepare(spec, self._ahead)
        self._history = np.zeros((channels, max(packet, *(b.context_samples for b in blocks))), np.float32)
        self._concealed = np.zeros(self._history.shape[1], np.float32)
        self._playing, self._pending = (_Replacement(channels, self._ahead) for _ in range(2))
        self._packet = np.zeros((packet, channels), np.float32)
        self._plane = np.zeros(packet, np.float32)
        self._out = np.zeros((packet, channels), np.float32)
        self._rise = half_hann(crossfade)
        samples_per_ms = 1e-3 * spec.sample_rate_hz
        faded = burst_gain(round(self.method.hold_ms * samples_per_ms), round(self.method.fade_ms * samples_per_ms))
        self._gain = faded if self.method.fades else np.ones(1, np.float32)
        self._contexts = [self._history[c, -p.context_samples :] for c, p in enumerate(self._predictors)]
        self._refiner_contexts = [self._history[c, -r.context_samples :] for c, r in enumerate(self._refiners)]
        self._refiner_concealed = [self._concealed[-r.context_samples :] for r in self._refiners]
        self.row = np.zeros((), TIMING_DTYPE)
        self.reset()
        self.process(self._out.copy())
        self.process(None)
        self.process(self._out.copy())
        self.reset()

    def reset(self) -> None:
        """Forget the stream: the next packet is its first."""
        self._history.fill(0)
        self._concealed.fill(0)
        self._burst_samples = 0
        self._position = 0
        self._ready = False
        self._kept = False
        self._playing.silence()
        self._predict_ns = 0
        self._refine_ns = 0
        self._sequence = -1
        self.damaged_samples = 0
        self.row.fill(0)

    def prepare_replacement(self) -> None:
        """Make ready what would replace the next packet. `process` does it when nobody has; the box does it ahead.

        Changes nothing of what plays if the packet arrives after all.
        """
        if self._ready:
            return
        self._ready = True
        self._kept = 0 < self._position < self._refit_after
        if self._burst_samples >= len(self._gain) and self._gain[-1] == 0:  # faded out: nobody would hear it
            self._kept = False
            self._pending.silence()
        elif not self._kept:
            self._predict(self._pending)

    def process(self, packet: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Return what to play: ``packet`` [shape=(packet_samples, channels), full scale 1], or its replacement if None.

        Raises nothing and allocates nothing for packets of the prepared shape, whatever their memory layout.
        """
        start_ns = perf_counter_ns()
        if packet is None:
            self.prepare_replacement()
        splice_ns = perf_counter_ns()
        if packet is None:
            tail_position = 0
            if not self._kept:
                self._playing, self._pending = self._pending, self._playing
                if self._refiners:
                    tail_position = self._position
                self._position = 0
            rung = self._playing.rung
            play_replacement(
                self._playing.samples, self._playing.prediction, self._position, self._pending.samples, tail_position,
                self._rise, self._gain, self._burst_samples, self._history, self._out,
            )  # fmt: skip
            self._position += self.spec.packet_samples
            self._burst_samples += self.spec.packet_samples
        else:
            rung = Rung.RECEIVED
            np.copyto(self._packet, packet)  # the kernel is compiled for this layout: another would compile it anew
            self.damaged_samples += play_received(
                self._packet, self._playing.samples, self._position, self._rise, self._gain, self._burst_samples,
                self._plane, self._history, self._out,
            )  # fmt: skip
            self._position = 0
            self._burst_samples = 0
        if self._refiners:
            remember_state(self._concealed, self.spec.packet_samples, packet is None)
        self._ready = False
        self._sequence += 1
        self._write_row(packet is None, rung, start_ns, splice_ns, perf_counter_ns())
        return self._out

    def _predict(self, replacement: "_Replacement") -> None:
        """Climb the ladder: predict every channel, then refine; if one declines, the predictions stand."""
        start_ns = perf_counter_ns()
        for predictor, context, out in zip(self._predictors, self._contexts, replacement.predicted, strict=True):
            predictor.predict(context, out)
        replacement.samples, replacement.rung = replacement.prediction, self._predictors[0].rung
        self._predict_ns = perf_counter_ns() - start_ns
        if not self._refiners:
            return
        start_ns = perf_counter_ns()
        better = True
        for refiner, context, concealed, prediction, out in zip(
            self._refiners, self._refiner_contexts, self._refiner_concealed,
            replacement.predicted, replacement.refined, strict=True,
        ):  # fmt: skip
            better = refiner.refine(context, concealed, prediction, out) and better
        if better:
            replacement.samples, replacement.rung = replacement.refinement, self._refiners[0].rung
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


class _Replacement:
    """What stands in for lost packets: every channel's prediction and its refinement, and which of the two to play.

    There are two: one plays (and its tail crossfades into the next good packet) while the next is prepared.
    """

    def __init__(self, channels: int, samples: int) -> None:
        self.prediction = np.zeros((channels, samples), np.float32)
        self.refinement = np.zeros((channels, samples), np.float32)
        self.predicted = list(self.prediction)
        self.refined = list(self.refinement)
        self.silence()

    def silence(self) -> None:
        """Stand in with zeros."""
        self.prediction.fill(0)
        self.samples = self.prediction
        self.rung = Rung.FADE
