"""Replacements on their way to the audio thread: published rung by rung, taken whole or not at all."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import InputError
from .fences import acquire, release

__all__ = ["LEVELS", "SLOTS", "ReplacementSlots"]

SLOTS = 8
"""Packets whose replacements are kept: one that is published late still serves the burst's next packets."""
LEVELS = 3
"""Rungs of one packet, worst first: prediction, refinement, the full model's. Each has a place and a writer of its
own: what is published stays takeable while a better one is written."""

_VERSION, _NUMBER, _RUNG, _WORK_NS, _READY_NS, _HEAD_WORDS = 0, 1, 2, 3, 4, 8


class ReplacementSlots:
    """Places for replacements [shape=(channels, samples)] of packets by number, in shared memory.

    One writer per level, one reader. A place carries a version that is odd while it is written (a sequence lock): the
    reader copies, and takes it only if the version was even and stayed the same. It never waits. A writer that died
    within a write leaves it odd, until its successor writes there.

    Parameters
    ----------
    channels, samples
        Of every replacement.
    buffer
        Writable memory of at least `bytes_needed` bytes, 8-byte aligned, zeros at first. None: own memory.

    Attributes
    ----------
    rung, work_ns, ready_ns : int
        Of the last successful `take`: its `Rung`, how long it took to make, and when it was published.
    """

    def __init__(self, channels: int, samples: int, buffer: NDArray[np.uint8] | None = None) -> None:
        needed = self.bytes_needed(channels, samples)
        memory = np.zeros(needed, np.uint8) if buffer is None else buffer
        if memory.size < needed or not memory.flags.writeable:
            raise InputError(f"the slots need {needed} writable bytes: their buffer has {memory.size}")
        head_bytes = 8 * LEVELS * SLOTS * _HEAD_WORDS
        shape = (LEVELS, SLOTS, channels, samples)
        self._heads: NDArray[np.int64] = memory[:head_bytes].view(np.int64).reshape(LEVELS, SLOTS, _HEAD_WORDS)
        self._samples: NDArray[np.float32] = memory[head_bytes:needed].view(np.float32)[: np.prod(shape)].reshape(shape)
        self._head = np.zeros(_HEAD_WORDS, np.int64)
        self._warm_up()

    @staticmethod
    def bytes_needed(channels: int, samples: int) -> int:
        """Bytes of memory, a multiple of 8."""
        return 8 * LEVELS * SLOTS * _HEAD_WORDS + (4 * LEVELS * SLOTS * channels * samples + 7) // 8 * 8

    def publish(
        self, number: int, level: int, rung: int, work_ns: int, ready_ns: int, samples: NDArray[np.float32]
    ) -> None:
        """Make a copy of ``samples`` takeable as packet ``number``'s replacement. One writer per level."""
        _publish(self._heads, self._samples, number, level, int(rung), work_ns, ready_ns, samples)

    def take(self, number: int, out: NDArray[np.float32], above: int = 0) -> int:
        """Copy packet ``number``'s best replacement into ``out``.

        Returns
        -------
        int
            Its level, if that is at least ``above``; -1: there is none, and ``out`` holds anything.
        """
        level = int(_take(self._heads, self._samples, number, above, self._head, out))
        self.rung = self._head.item(_RUNG)
        self.work_ns = self._head.item(_WORK_NS)
        self.ready_ns = self._head.item(_READY_NS)
        return level

    def _warm_up(self) -> None:
        """Load the kernels, on slots of our own: these may be in use."""
        heads, samples = np.zeros_like(self._heads), np.zeros_like(self._samples)
        _publish(heads, samples, 1, 0, 0, 0, 0, samples[0, 0].copy())
        _take(heads, samples, 1, 0, self._head, samples[0, 0].copy())
        self._head.fill(0)
        self.rung = self.work_ns = self.ready_ns = 0


@njit(cache=True, nogil=True)
def _publish(heads, samples, number, level, rung, work_ns, ready_ns, replacement):  # type: ignore[no-untyped-def]
    slot = number % SLOTS
    head = heads[level, slot]
    head[_VERSION] += 1 + (head[_VERSION] & 1)  # odd, and another one than before: it may be odd from a dead writer
    release()
    head[_NUMBER] = number
    head[_RUNG] = rung
    head[_WORK_NS] = work_ns
    head[_READY_NS] = ready_ns
    for channel in range(replacement.shape[0]):
        for j in range(replacement.shape[1]):
            samples[level, slot, channel, j] = replacement[channel, j]
    release()
    head[_VERSION] += 1


@njit(cache=True, nogil=True)
def _take(heads, samples, number, above, head_out, out):  # type: ignore[no-untyped-def]
    slot = number % SLOTS
    for level in range(heads.shape[0] - 1, above - 1, -1):
        head = heads[level, slot]
        version = head[_VERSION]
        acquire()
        if version & 1 or version == 0 or head[_NUMBER] != number:
            continue
        for word in range(head_out.shape[0]):
            head_out[word] = head[word]
        for channel in range(out.shape[0]):
            for j in range(out.shape[1]):
                out[channel, j] = samples[level, slot, channel, j]
        acquire()
        if head[_VERSION] == version:
            return level
    return -1
