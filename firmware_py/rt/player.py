"""The playing half of the concealer: splices packets and their replacements. It runs on the box's audio thread."""

import numpy as np
from numpy.typing import NDArray

from .burst import Burst
from .method import Method
from .spec import StreamSpec
from .splice import play_received, play_replacement

__all__ = ["Player"]


class Player:
    """Plays received packets and replacements one after the other, crossfaded and faded.

    What `received` and `lost` return belongs to the player and is overwritten by the next call. After `prepare`
    nothing is allocated. ``damaged_samples`` counts received samples that were not finite or absurdly loud and were
    played as zeros.
    """

    def __init__(self, method: Method) -> None:
        self.method = method

    def prepare(self, spec: StreamSpec) -> None:
        """Allocate every buffer and compile every kernel for streams of ``spec``."""
        burst = Burst(self.method, spec)
        self._rise, self._gain = burst.rise, burst.gain
        self._packet_samples = spec.packet_samples
        self._silence = np.zeros((spec.channels, burst.ahead_samples), np.float32)
        self._packet = np.zeros((spec.packet_samples, spec.channels), np.float32)
        self._out = np.zeros((spec.packet_samples, spec.channels), np.float32)
        self.reset()
        self.received(self._out.copy())
        self.lost(self._silence, 0, blend=False)
        self.received(self._out.copy())
        self.reset()

    def reset(self, from_silence: bool = False) -> None:
        """Forget the stream: the next packet is its first, to be crossfaded from silence if ``from_silence``."""
        self._playing = self._silence
        self._tail_samples = 0
        self._burst_samples = int(from_silence)
        self.damaged_samples = 0

    def received(self, packet: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what to play for ``packet`` [shape=(packet_samples, channels), full scale 1, any memory layout]."""
        np.copyto(self._packet, packet)  # the kernel is compiled for this layout: another would compile it anew
        self.damaged_samples += play_received(
            self._packet, self._playing, self._tail_samples, self._rise, self._gain, self._burst_samples, self._out
        )
        self._tail_samples = self._burst_samples = 0
        return self._out

    def lost(self, samples: NDArray[np.float32], position: int, blend: bool) -> NDArray[np.float32]:
        """Return what to play for a lost packet.

        Parameters
        ----------
        samples : float32 [shape=(channels, ahead_samples)]
            Its replacement. The next call reads on in it, where this packet ends: it must stay as it is until then.
        position
            Where in ``samples`` the packet begins.
        blend
            Whether to crossfade into it from where the packet before, if that was lost too, left off.
        """
        play_replacement(
            samples, position, self._playing, self._tail_samples if blend else 0,
            self._rise, self._gain, self._burst_samples, self._out,
        )  # fmt: skip
        self._playing = samples
        self._tail_samples = position + self._packet_samples
        self._burst_samples += self._packet_samples
        return self._out
