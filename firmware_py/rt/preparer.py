"""The preparing half of the concealer: remembers what was received, and makes ready what would replace the next packet.

It runs in a process of its own on the box, ahead of time; in the simulator, in the same call that plays.
"""

from collections.abc import Callable, Sequence
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from .burst import Burst, Step
from .method import Method, Refiner
from .predictor import Predictor
from .spec import StreamSpec
from .splice import move_to_front, remember_packet, remember_prediction
from .timing import Rung

__all__ = ["Preparer", "Replacement"]

ROOM_PACKETS = 16
"""The history's buffer has room for at least so many more: it is moved when that is full, not at every packet."""


class Replacement:
    """What stands in for lost packets: every channel's prediction and its refinement, and which of the two to play.

    Attributes
    ----------
    prediction, refinement, samples : float32 [shape=(channels, n)], full scale 1
    rung : Rung, of ``samples``
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


class Preparer:
    """Predicts and refines; told of every packet by `received` or `lost`.

    Per packet: `predict`, then `refine`, as far as there is time, then what became of it. `predict` and `refine` do
    nothing the second time, and change nothing of what plays if the packet arrives after all. After `prepare` nothing
    is allocated.

    Attributes
    ----------
    current : Replacement
        What the last lost packet plays.
    pending : Replacement
        What `predict` and `refine` made ready when they returned `Step.FRESH`.
    predict_ns, refine_ns : int
        What the last `predict` and `refine` took; 0 when there was nothing to do.
    """

    def __init__(self, method: Method) -> None:
        self.method = method
        self.fan_out: Callable[[Callable[[int], None]], None] | None = None
        """Calls what it is given with each channel's number, returns when all are done. None: one after the other."""

    def prepare(self, spec: StreamSpec) -> None:
        """Allocate every buffer and compile every kernel for streams of ``spec``."""
        self.spec = spec
        packet, channels = spec.packet_samples, spec.channels
        self.burst = Burst(self.method, spec)
        ahead = self.burst.ahead_samples
        self._predictors: Sequence[Predictor] = [self.method.predictor() for _ in range(channels)]
        refiner = self.method.refiner
        self._refiners: Sequence[Refiner] = [refiner() for _ in range(channels)] if refiner else []
        blocks: list[Predictor | Refiner] = [*self._predictors, *self._refiners]
        for block in blocks:
            block.prepare(spec, ahead)
        self._better = [False] * channels
        self.history_samples = max(packet, *(b.context_samples for b in blocks))
        room = self.history_samples + max(ROOM_PACKETS * packet, self.history_samples // 2)
        self._history = np.zeros((channels, room), np.float32)
        self._concealed = np.zeros((1, room), np.float32)
        self.current, self.pending = (Replacement(channels, ahead) for _ in range(2))
        self._packet = np.zeros((packet, channels), np.float32)
        self.reset()
        self.received(self._packet.copy())
        self.refine()
        self.lost()
        self.remember_concealed(self._packet.copy())
        self.reset()

    def reset(self) -> None:
        """Forget the stream: the next packet is its first."""
        self.burst.reset()
        self._history.fill(0)
        self._concealed.fill(0)
        self._end = self.history_samples
        self.current.silence()
        self._step: Step | None = None
        self._refined = False
        self.predict_ns = self.refine_ns = 0

    def predict(self) -> Step:
        """Make the first rung ready, if the next packet would need one of its own; say what it would play if lost."""
        if self._step is None:
            self._step = step = self.burst.step
            self._refined = step != Step.FRESH or not self._refiners
            if step == Step.SILENT:
                self.pending.silence()
            elif step == Step.FRESH:
                start_ns = perf_counter_ns()
                pending = self.pending
                self._each_channel(self._predict_channel)
                pending.samples, pending.rung = pending.prediction, self._predictors[0].rung
                self.predict_ns = perf_counter_ns() - start_ns
        return self._step

    def refine(self) -> bool:
        """Climb the ladder from what `predict` made; False if there was nothing to do, or the prediction stands.

        One channel that declines keeps the predictions of all: channels sound alike.
        """
        self.predict()
        if self._refined:
            return False
        self._refined = True
        start_ns = perf_counter_ns()
        pending = self.pending
        self._each_channel(self._refine_channel)
        better = all(self._better)
        if better:
            pending.samples, pending.rung = pending.refinement, self._refiners[0].rung
        self.refine_ns = perf_counter_ns() - start_ns
        return better

    def lost(self) -> int:
        """The packet was lost: `current` plays, from the returned place on. Predicts if nobody has.

        The history holds what the predictor itself would have played, unrefined and unfaded: a predictor fitted to it
        later in the burst learns neither the fade nor the refiner's noise.
        """
        step = self.predict()
        if step != Step.KEPT:
            self.current, self.pending = self.pending, self.current
        position = self.burst.lost()
        remember_prediction(self.current.prediction, position, self.spec.packet_samples, self._history, self._end)
        self._next(lost=True)
        return position

    def received(self, packet: NDArray[np.float32]) -> None:
        """The packet arrived [shape=(packet_samples, channels), full scale 1, any memory layout]."""
        self._remember(packet)
        self.burst.reset()
        self._next(lost=False)

    def remember_concealed(self, played: NDArray[np.float32]) -> None:
        """A packet was lost before we could take part, and ``played`` [shape as in `received`] was heard instead."""
        self._remember(played)
        self.burst.lost()
        self._next(lost=True)

    def _remember(self, packet: NDArray[np.float32]) -> None:
        np.copyto(self._packet, packet)  # the kernel is compiled for this layout: another would compile it anew
        remember_packet(self._packet, self._history, self._end)

    def _predict_channel(self, channel: int) -> None:
        predictor = self._predictors[channel]
        context = self._history[channel, self._end - predictor.context_samples : self._end]
        predictor.predict(context, self.pending.predicted[channel])

    def _refine_channel(self, channel: int) -> None:
        refiner = self._refiners[channel]
        span = slice(self._end - refiner.context_samples, self._end)
        self._better[channel] = refiner.refine(
            self._history[channel, span], self._concealed[0, span],
            self.pending.predicted[channel], self.pending.refined[channel],
        )  # fmt: skip

    def _each_channel(self, work: Callable[[int], None]) -> None:
        if self.fan_out is not None:
            self.fan_out(work)
            return
        for channel in range(self.spec.channels):
            work(channel)

    def _next(self, lost: bool) -> None:
        packet = self.spec.packet_samples
        self._concealed[0, self._end : self._end + packet] = lost
        self._end += packet
        if self._end + packet > self._history.shape[1]:
            for remembered in (self._history, self._concealed):
                move_to_front(remembered, self._end, self.history_samples)
            self._end = self.history_samples
        self._step = None
