"""Two packets into one: how the jitter buffer gets shallower without a click."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .spec import StreamSpec
from .splice import half_hann

__all__ = ["Merger", "merge_packets"]


class Merger:
    """Crossfades over a whole packet. `merge` allocates nothing."""

    def prepare(self, spec: StreamSpec) -> None:
        """Allocate and compile."""
        shape = (spec.packet_samples, spec.channels)
        self._rise = half_hann(spec.packet_samples)
        self._first, self._second, self._out = (np.zeros(shape, np.float32) for _ in range(3))
        self.merge(self._first, self._second)

    def merge(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what begins like ``first`` and ends like ``second`` [both shape=(packet_samples, channels)].

        It belongs to the merger and is overwritten by the next call.
        """
        np.copyto(self._first, first)  # the kernel is compiled for this layout: another would compile it anew
        np.copyto(self._second, second)
        merge_packets(self._first, self._second, self._rise, self._out)
        return self._out


@njit(cache=True, nogil=True)
def merge_packets(first, second, rise, out):  # type: ignore[no-untyped-def]
    """Crossfade from ``first`` to ``second``, keeping the level.

    The weights are scaled so that the power stays the same for signals as correlated as these two are, all channels
    alike: linear for two halves of the same tone, of constant power for noise (M. Fink, M. Holters and U. Zoelzer,
    "Signal-matched power-complementary cross-fading and dry-wet mixing", DAFx 2016).

    Parameters
    ----------
    first, second : float32 [shape=(samples, channels)], full scale 1
    rise : float32 [shape=(samples,)], weight of ``second``, from 0 to 1
    out : float32 [shape=(samples, channels)]
    """
    power_first = power_second = product = 0.0
    for j in range(out.shape[0]):
        for channel in range(out.shape[1]):
            a, b = float(first[j, channel]), float(second[j, channel])
            power_first += a * a
            power_second += b * b
            product += a * b
    # Signals in opposite phase would need weights without bound: they dip, as in any crossfade. So do damaged ones.
    scale = np.sqrt(power_first * power_second)
    correlation = min(max(product / scale, 0.0), 1.0) if 0.0 < scale < np.inf else 1.0
    for j in range(out.shape[0]):
        up = rise[j]
        down = np.float32(1.0) - up
        level = np.float32(1.0 / np.sqrt(up * up + down * down + 2.0 * correlation * up * down))
        for channel in range(out.shape[1]):
            out[j, channel] = level * (up * second[j, channel] + down * first[j, channel])
