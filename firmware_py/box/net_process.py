"""The network process: from the capture ring to the peer, and from the peer to the receive ring."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..net.endpoint import Endpoint
from ..rt.counters import AudioCounter
from ..rt.rings import HEAD_WORDS, NUMBER, AudioRing
from ..rt.spec import StreamSpec
from .child import Child, run_child
from .memory import RECOVERED
from .realtime import be_real_time, freeze_garbage

__all__ = ["Receiver", "Sender", "main"]

_TICK_S = 0.05
_BELOW_AUDIO = 5
_NEXT_NUMBER, _ARRIVAL_NS = 0, 1


class Receiver:
    """The endpoint's sink: packets go into the ring as they come, numbered across our own death.

    An endpoint numbers the peer's packets from wherever it first hears them. The last number and its arrival lie in
    shared memory: a successor goes on above, leaving out as many as the silence was packets long, so that the playout
    finds the peer's next packets where it expects them.

    Parameters
    ----------
    ring : AudioRing
    spec : StreamSpec
    state : int64 [shape=(8,)]
        `memory.BoxMemory.net_state`.
    audio : int64
        Counters by `AudioCounter`.
    """

    def __init__(self, ring: AudioRing, spec: StreamSpec, state: NDArray[np.int64], audio: NDArray[np.int64]) -> None:
        self._ring = ring
        self._packet_ns = spec.packet_ns
        self._state = state
        self._audio = audio
        self._offset: int | None = None

    def __call__(self, packet_number: int, arrival_ns: int, samples: NDArray[np.float32], recovered: bool, /) -> None:
        """See `net.wire.Sink`."""
        if self._offset is None:
            self._offset = self._first_number(packet_number, arrival_ns) - packet_number
        number = packet_number + self._offset
        if not self._ring.push(number, arrival_ns, RECOVERED if recovered else 0, samples):
            self._audio[AudioCounter.RECEIVE_DROPPED] += 1
        if number >= self._state.item(_NEXT_NUMBER):
            self._state[_NEXT_NUMBER] = number + 1
            self._state[_ARRIVAL_NS] = arrival_ns

    def _first_number(self, packet_number: int, arrival_ns: int) -> int:
        following = self._state.item(_NEXT_NUMBER)
        if not following:
            return packet_number
        silence = max(1, round((arrival_ns - self._state.item(_ARRIVAL_NS)) / self._packet_ns))
        return following - 1 + silence


class Sender:
    """Sends what the audio process captured.

    Parameters
    ----------
    ring : AudioRing
    spec : StreamSpec
    send
        `Endpoint.send`.
    """

    def __init__(self, ring: AudioRing, spec: StreamSpec, send: Callable[[int, NDArray[np.float32]], bool]) -> None:
        self._ring = ring
        self._send = send
        self._head = np.zeros(HEAD_WORDS, np.int64)
        self._samples = np.zeros((spec.packet_samples, spec.channels), np.float32)

    def work(self) -> None:
        """Send everything that waits."""
        while self._ring.pop(self._head, self._samples):
            self._send(self._head.item(NUMBER), self._samples)


def main(child: Child) -> None:
    """Talk to the peer until SIGTERM, then say goodbye."""
    memory, spec = child.memory, child.spec
    receiver = Receiver(memory.from_net, spec, memory.net_state, memory.audio)
    waker = child.waker("net")
    with Endpoint(child.config.net, spec, receiver, memory.net) as endpoint:
        endpoint.wait_also(waker.fileno())
        sender = Sender(memory.to_net, spec, endpoint.send)
        memory.to_net.skip()  # what waited while there was nobody to send it is too old
        be_real_time(max(0, child.config.audio.priority - _BELOW_AUDIO), -1)
        freeze_garbage(never=False)
        while not child.stopping:
            if endpoint.poll(_TICK_S):
                waker.drain()
            sender.work()
            memory.audio[AudioCounter.HEARTBEAT_NET] = time.monotonic_ns()


if __name__ == "__main__":
    run_child(main)
