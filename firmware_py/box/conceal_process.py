"""The conceal process: makes ready what replaces the next packet while this one plays."""

import os
import select
import time

import numpy as np

from ..rt.burst import Step
from ..rt.counters import AudioCounter
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


class ConcealWorker:
    """Follows the packets that play and publishes replacements: the prediction first, then what improves on it.

    Parameters
    ----------
    preparer
        Prepared.
    pulled, slots
        See `memory.BoxMemory`.
    """

    def __init__(self, preparer: Preparer, spec: StreamSpec, pulled: AudioRing, slots: ReplacementSlots) -> None:
        self._preparer = preparer
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
        preparer = self._preparer
        if preparer.refine():
            self._publish(number, 1, preparer.pending.rung, preparer.refine_ns)

    def _publish(self, number: int, level: int, rung: Rung, work_ns: int) -> None:
        self._slots.publish(number, level, int(rung), work_ns, time.monotonic_ns(), self._preparer.pending.samples)


def main(child: Child) -> None:
    """Follow the audio process until SIGTERM."""
    preparer = Preparer(child.method)
    preparer.prepare(child.spec)
    memory = child.memory
    worker = ConcealWorker(preparer, child.spec, memory.pulled, memory.slots)
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


if __name__ == "__main__":
    run_child(main)
