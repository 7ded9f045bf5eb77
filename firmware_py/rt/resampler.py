"""Plays a stream at a rate a little off its own: a windowed sinc between the samples, its ratio moving smoothly.

Every output sample is a weighted sum of the 48 input samples around its place (J. O. Smith and P. Gossett, "A flexible
sampling-rate conversion method", ICASSP 1984). The weights come from a table of 512 phases, linearly interpolated: a
finer one gains nothing over the window's own -103 dB.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .spec import StreamSpec

__all__ = ["RATIO_LIMIT", "Resampler", "resample", "sinc_table"]

RATIO_LIMIT = 1e-3
"""The ratio stays within 1 -+ this."""
_WING = 24
_TAPS = 2 * _WING
_PHASES = 512
_KAISER_BETA = 9.0
_CUTOFF = 0.47
"""Cycles per sample, where the response is down by 6 dB: flat to 20 kHz at 48 kHz (-0.01 dB), images below -98 dB."""


class Resampler:
    """Takes blocks of the sender's samples, returns about as many of ours.

    Off, it passes blocks on bit by bit and adds no latency. After `prepare` nothing is allocated.

    Attributes
    ----------
    latency_samples : int
        How much later a sample leaves than it came in: 24, or 0 when off. The samples of one call add no delay of
        their own, but the last one of a block whose place falls between two blocks waits for the next.
    samples : int
        How many samples the last `process` returned.
    """

    def prepare(self, spec: StreamSpec, enabled: bool = True) -> None:
        """Allocate and compile, for blocks of up to a packet."""
        self.enabled = enabled
        self.latency_samples = _WING if enabled else 0
        packet, channels = spec.packet_samples, spec.channels
        self._block_samples = packet
        self._table = sinc_table()
        self._history = np.zeros((channels, _TAPS + packet), np.float32)
        self._position = np.zeros(2)
        self._in = np.zeros((packet, channels), np.float32)
        self._out = np.zeros((self.most_samples(packet), channels), np.float32)
        self.reset()
        self.process(self._in.copy(), 1.0)
        self.reset()

    @staticmethod
    def most_samples(samples: int) -> int:
        """How many samples a block of ``samples`` can make at most."""
        return int(samples / (1.0 - RATIO_LIMIT)) + 2

    def reset(self) -> None:
        """Forget the stream: the next sample is its first."""
        self._history.fill(0)
        self._position[:] = _WING, 1.0
        self.samples = 0

    def process(self, block: NDArray[np.float32], ratio: float) -> NDArray[np.float32]:
        """Resample one block.

        Parameters
        ----------
        block : float32 [shape=(n, channels)], full scale 1, finite
            n is what a packet has.
        ratio
            Samples of the sender per sample of ours, held within 1 -+ `RATIO_LIMIT`: over the block it moves there
            from the last call's. Above 1 when the sender's clock is faster. Ignored when off.

        Returns
        -------
        float32 [shape=(most_samples(n), channels)]
            The first `samples` of it are the output. Overwritten by the next call.
        """
        if not self.enabled:
            self.samples = block.shape[0]
            return block
        np.copyto(self._in, block)  # the kernel is compiled for this layout: another would compile it anew
        held = min(max(ratio, 1.0 - RATIO_LIMIT), 1.0 + RATIO_LIMIT)
        self.samples = resample(self._in, held, self._table, self._history, self._position, self._out)
        return self._out


def sinc_table() -> NDArray[np.float32]:
    """Weights [shape=(phases + 1, 2 * wing)] of the samples around a place, by its distance from the one before it."""
    fraction = np.arange(_PHASES + 1)[:, np.newaxis] / _PHASES
    distance = np.arange(_TAPS) - (_WING - 1) - fraction
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1.0 - (distance / _WING) ** 2, 0.0, 1.0))) / np.i0(_KAISER_BETA)
    table = 2.0 * _CUTOFF * np.sinc(2.0 * _CUTOFF * distance) * window
    weights: NDArray[np.float32] = (table / table.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def resample(block, ratio, table, history, position, out):  # type: ignore[no-untyped-def]
    """Write to ``out`` what ``block`` brings within reach; return how many samples.

    Parameters
    ----------
    block : float32 [shape=(n, channels)]
    ratio : float, at the end of the block
    table : float32 [shape=(phases + 1, 2 * wing)], `sinc_table`
    history : float32 [shape=(channels, 2 * wing + n)]: the 2 * wing samples before the block, then room for it
    position : float64 [shape=(2,)]: the next output's place in ``history``, and the ratio up to now
    out : float32 [shape=(m, channels)]
    """
    phases, taps, wing, samples = table.shape[0] - 1, _TAPS, _WING, block.shape[0]
    for channel in range(block.shape[1]):
        for j in range(samples):
            history[channel, taps + j] = block[j, channel]
    place, step = position[0], position[1]
    growth = (ratio - step) / samples
    count = 0
    while place < taps + samples - wing and count < out.shape[0]:
        whole = int(place)
        fraction = (place - whole) * phases
        phase = int(fraction)
        up = np.float32(fraction - phase)
        down = np.float32(1.0) - up
        before, after = table[phase], table[phase + 1]
        first = whole - wing + 1
        for channel in range(block.shape[1]):
            past = history[channel, first : first + taps]
            total = np.float32(0.0)
            for i in range(taps):  # of a number known beforehand, and from slices: three times as fast
                total += (down * before[i] + up * after[i]) * past[i]
            out[count, channel] = total
        count += 1
        place += step
        step += growth
    position[0] = place - samples
    position[1] = ratio
    for channel in range(block.shape[1]):
        for i in range(taps):
            history[channel, i] = history[channel, samples + i]
    return count
