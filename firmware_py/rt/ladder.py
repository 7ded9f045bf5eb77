"""The concealer on the audio thread, when its preparing half runs in another process: takes the best rung there is."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .burst import Burst, Step
from .method import Method
from .player import Player
from .slots import ReplacementSlots
from .spec import StreamSpec
from .timing import Rung

__all__ = ["Ladder"]

_NOTHING = -1


class Ladder:
    """Plays received packets, and for lost ones what a `Preparer` elsewhere has published by now.

    As long as each replacement is there when it is needed, what plays equals `Concealer.process` sample for sample.
    When one is not, the packet is a *miss*: the replacement before it goes on where it ended, or the last packet is
    played backwards (which at least begins where the music stopped); a replacement that is published late takes over
    at the next packet, crossfaded.

    Packets are numbered from 0 in the order that they play; the preparer numbers them alike. What `received` and
    `lost` return belongs to the ladder and is overwritten by the next call. After `prepare` nothing is allocated.

    Attributes
    ----------
    index : int
        Number of the next packet.
    rung : Rung
        Of the packet played last.
    missed : bool
        Whether the packet played last had no replacement of its own ready.
    work_ns, ready_ns : int
        Of the replacement that the packet played last took anew, else 0: what it took to make, and when it was ready.
    """

    def __init__(self, method: Method) -> None:
        self.method = method
        self.player = Player(method)
        self.rung: int = Rung.FADE
        self._taken_rung: int = Rung.FADE

    def prepare(self, spec: StreamSpec, slots: ReplacementSlots) -> None:
        """Allocate every buffer and compile every kernel for streams of ``spec``; take replacements from ``slots``."""
        self._packet_samples = spec.packet_samples
        self.player.prepare(spec)
        self._burst = Burst(self.method, spec)
        self._slots = slots
        shape = (spec.channels, self._burst.ahead_samples)
        self._playing, self._spare, self._mirrored, self._silence = (np.zeros(shape, np.float32) for _ in range(4))
        self._nothing = np.zeros((spec.packet_samples, spec.channels), np.float32)
        self._last = self._nothing
        self._blends = self.method.refiner is not None
        self._reach_samples = self._burst.ahead_samples - spec.packet_samples - len(self._burst.rise)
        self.index = 0
        self.reset()
        self._miss()
        self.reset()

    def reset(self, from_silence: bool = False) -> None:
        """The next packet is another stream's first, to be faded in if it comes ``from_silence``; numbers go on."""
        self.player.reset(from_silence)
        self._burst.reset()
        self._last = self._nothing
        self._forget()

    def received(self, packet: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what to play for ``packet`` [shape=(packet_samples, channels), full scale 1, any memory layout]."""
        out = self.player.received(packet)
        self._burst.reset()
        self._forget()
        self.rung = Rung.RECEIVED
        return self._played(out)

    def lost(self) -> NDArray[np.float32]:
        """Return what to play for a packet that is not there."""
        step = self._burst.step
        position = self._burst.lost()
        self.missed = False
        self.work_ns = self.ready_ns = 0
        if step == Step.SILENT:
            self.rung = Rung.FADE
            self._level = _NOTHING
            out = self.player.lost(self._silence, 0, self._blends)
        elif self._take(self.index - position // self._packet_samples, step):
            blend = self._blends if position == 0 else True
            out = self._play(self._playing, position, blend)
        elif step == Step.KEPT and self._level != _NOTHING:
            out = self._play(self._playing, position, blend=False)
        else:
            out = self._miss()
        return self._played(out)

    def _take(self, number: int, step: Step) -> bool:
        """Copy the packet's replacement, if there is one better than what plays; the copy stays as it is."""
        above = self._level + 1 if step == Step.KEPT else 0
        level = self._slots.take(number, self._spare, above)
        if level == _NOTHING:
            return False
        self._playing, self._spare = self._spare, self._playing
        self._level = level
        self._taken_rung = self._slots.rung
        self.work_ns, self.ready_ns = self._slots.work_ns, self._slots.ready_ns
        return True

    def _play(self, samples: NDArray[np.float32], position: int, blend: bool) -> NDArray[np.float32]:
        self.rung = self._taken_rung
        self._reading = samples
        self._next_position = position + self._packet_samples
        return self.player.lost(samples, position, blend)

    def _miss(self) -> NDArray[np.float32]:
        self.missed = True
        self._level = _NOTHING
        if self._next_position == 0 or self._next_position > self._reach_samples:
            _mirror(self._last, self._mirrored)
            self._next_position = 0
            self._reading = self._mirrored
            self._taken_rung = Rung.REPEAT
        return self._play(self._reading, self._next_position, blend=False)

    def _forget(self) -> None:
        self._reading = self._silence
        self._next_position = 0
        self._level = _NOTHING
        self._taken_rung = Rung.FADE
        self.rung = Rung.FADE
        self.missed = False
        self.work_ns = self.ready_ns = 0

    def _played(self, out: NDArray[np.float32]) -> NDArray[np.float32]:
        self._last = out  # the player's, until its next call
        self.index += 1
        return out


@njit(cache=True, nogil=True)
def _mirror(packet, out):  # type: ignore[no-untyped-def]
    """Continue ``packet`` [shape=(samples, channels)] backwards, then forwards again, into ``out`` [(channels, n)]."""
    last = packet.shape[0] - 1
    for channel in range(out.shape[0]):
        for j in range(out.shape[1]):
            there_and_back = (j + 1) % (2 * last)
            place = last - there_and_back if there_and_back <= last else there_and_back - last
            out[channel, j] = packet[place, channel]
