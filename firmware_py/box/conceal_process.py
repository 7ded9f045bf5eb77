"""The conceal process: makes ready what replaces the next packet while this one plays."""

import os
import select
import sys
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import ContinuoError
from ..rt.burst import Step
from ..rt.counters import AudioCounter, new_audio_counters
from ..rt.preparer import Preparer
from ..rt.rings import FLAGS, HEAD_WORDS, NUMBER, AudioRing
from ..rt.slots import ReplacementSlots
from ..rt.spec import StreamSpec
from ..rt.timing import Rung
from .child import Child, run_child
from .fan_out import FanOut
from .memory import LOST, RESET, WANTED
from .realtime import be_real_time, freeze_garbage

__all__ = ["ConcealWorker", "main"]

_TICK_S = 0.1
_NOTHING = -1
_REST_NS, _REST_MOST_NS = 1_000_000_000, 60_000_000_000


class ConcealWorker:
    """Follows the packets that play and publishes replacements: the prediction first, then what improves on it.

    Parameters
    ----------
    preparer
        Prepared.
    pulled, slots
        See `memory.BoxMemory`.
    counters : int64, by `AudioCounter`, optional
        Counted: `REFINED_SLOWLY`.

    A machine may be too slow for the method's network, always or now and then. A refinement that made the next
    prediction late costs more than it gains: after it there is none for a second, after the next one for two, and so
    on up to a minute.
    """

    def __init__(
        self, preparer: Preparer, spec: StreamSpec, pulled: AudioRing, slots: ReplacementSlots,
        counters: NDArray[np.int64] | None = None,
    ) -> None:  # fmt: skip
        self._preparer = preparer
        self._counters = new_audio_counters() if counters is None else counters
        until_next_samples = max(spec.packet_samples, preparer.method.refit_samples)
        self._most_ns = round(1e9 * until_next_samples / spec.sample_rate_hz)
        self._rest_ns, self._rests_until_ns = _REST_NS, 0
        self._pulled = pulled
        self._slots = slots
        self._head = np.zeros(HEAD_WORDS, np.int64)
        self._samples = np.zeros((spec.packet_samples, spec.channels), np.float32)
        self._next = _NOTHING
        self._history_packets = preparer.history_samples // spec.packet_samples + 1

    def catch_up(self) -> None:
        """Learn the history from the packets that still lie in the ring: another process may have seen them before."""
        self._pulled.rewind(self._history_packets)
        while len(self._pulled) > 1 and self._pulled.pop(self._head, self._samples):
            self._continue()
            if self._head.item(FLAGS) & LOST:
                self._preparer.remember_concealed(self._samples)
            else:
                self._preparer.received(self._samples)

    def work(self) -> None:
        """Do everything that is due."""
        while self._pulled.pop(self._head, self._samples):
            number, flags = self._continue()
            if flags & LOST:
                self._predict(number)  # if it comes too late for this packet, it still serves the burst's next one
                self._preparer.lost()
            else:
                self._preparer.received(self._samples)
            if flags & WANTED and not len(self._pulled):
                self._predict(number + 1)
                if not len(self._pulled):
                    self._refine(number + 1)

    def _continue(self) -> tuple[int, int]:
        number, flags = self._head.item(NUMBER), self._head.item(FLAGS)
        if flags & RESET or number != self._next:
            self._preparer.reset()
        self._next = number + 1
        return number, flags

    def _predict(self, number: int) -> None:
        preparer = self._preparer
        preparer.predict_ns = 0
        if preparer.predict() == Step.FRESH and preparer.predict_ns:
            pending = preparer.pending
            self._publish(number, 0, pending.rung, preparer.predict_ns)

    def _refine(self, number: int) -> None:
        if self._rests_until_ns and time.monotonic_ns() < self._rests_until_ns:
            return
        preparer = self._preparer
        preparer.refine_ns = 0
        if preparer.refine():
            self._publish(number, 1, preparer.pending.rung, preparer.refine_ns)
        if preparer.refine_ns > self._most_ns:
            self._counters[AudioCounter.REFINED_SLOWLY] += 1
            self._rests_until_ns = time.monotonic_ns() + self._rest_ns
            self._rest_ns = min(2 * self._rest_ns, _REST_MOST_NS)
        elif preparer.refine_ns:
            self._rest_ns = _REST_NS

    def _publish(self, number: int, level: int, rung: Rung, work_ns: int) -> None:
        self._slots.publish(number, level, int(rung), work_ns, time.monotonic_ns(), self._preparer.pending.samples)


def main(child: Child) -> None:
    """Follow the audio process until SIGTERM."""
    memory = child.memory
    preparer = _prepared(child)
    worker = ConcealWorker(preparer, child.spec, memory.pulled, memory.slots, memory.audio)
    waker = child.waker("conceal")
    poll = select.poll()
    poll.register(waker.fileno(), select.POLLIN)
    be_real_time(child.config.conceal.priority, child.config.conceal.cpu)
    if child.spec.channels > 1 and len(os.sched_getaffinity(0)) > 1:
        preparer.fan_out = FanOut(child.spec.channels)  # after the priority was set: its threads inherit it
    freeze_garbage()
    worker.catch_up()
    while not child.stopping:
        waker.drain()
        worker.work()
        memory.audio[AudioCounter.HEARTBEAT_CONCEAL] = time.monotonic_ns()
        poll.poll(1000 * _TICK_S)


def _prepared(child: Child) -> Preparer:
    """A missing rung is no error: without what runs the network, the predictor works alone."""
    preparer, missing = Preparer(child.method), 0
    try:
        preparer.prepare(child.spec)
    except ContinuoError as error:
        print(f"continuo: {error}; until then linear prediction replaces packets", file=sys.stderr)  # noqa: T201
        preparer, missing = Preparer(replace(child.method, refiner=None)), 1
        preparer.prepare(child.spec)
    child.memory.audio[AudioCounter.UNREFINED] = missing
    return preparer


if __name__ == "__main__":
    run_child(main)
