"""Where a stream stands within a burst of losses: what its next lost packet would play.

The half that prepares and the half that plays run in two processes on the box. Each keeps a `Burst` of its own and
tells it the same packets: so they agree without a word on which packets need a fresh replacement.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from .method import Method
from .refinement import PREDICT_SAMPLES
from .spec import StreamSpec
from .splice import burst_gain, half_hann

__all__ = ["Burst", "Step"]


class Step(IntEnum):
    """What the next packet would play if it were lost."""

    FRESH = 0
    """A replacement of its own, from its first sample on."""
    KEPT = 1
    """What the lost packet before it played, from where that ended."""
    SILENT = 2
    """Zeros: the burst has faded out."""


class Burst:
    """Counts lost samples; knows when to fit anew, how far ahead that must reach, and how a burst fades.

    Attributes
    ----------
    position_samples : int
        Where in its replacement the next lost packet would begin; 0 outside bursts.
    lost_samples : int
        Length of the burst so far, 0 outside.
    ahead_samples : int
        How long a replacement must be: for each packet that plays from it, and the crossfade after that.
    rise : float32 [shape=(m,)]
        Weight of what comes after a replacement, over its first m samples.
    gain : float32 [shape=(g,)]
        Level of a replacement by its place in the burst; the last value holds for ever.
    """

    def __init__(self, method: Method, spec: StreamSpec) -> None:
        self.packet_samples = packet = spec.packet_samples
        crossfade = min(packet, round(method.crossfade_ms * 1e-3 * spec.sample_rate_hz))
        self._refit_after = max(method.refit_samples, packet)
        last_position = (self._refit_after - 1) // packet * packet
        self.ahead_samples = max(PREDICT_SAMPLES, last_position + packet + crossfade)
        self.rise: NDArray[np.float32] = half_hann(crossfade)
        samples_per_ms = 1e-3 * spec.sample_rate_hz
        faded = burst_gain(round(method.hold_ms * samples_per_ms), round(method.fade_ms * samples_per_ms))
        self.gain: NDArray[np.float32] = faded if method.fades else np.ones(1, np.float32)
        self._silent_after = len(self.gain) if self.gain[-1] == 0 else -1
        self.reset()

    def reset(self) -> None:
        """Outside bursts."""
        self.position_samples = 0
        self.lost_samples = 0

    @property
    def step(self) -> Step:
        """What the next packet would play if it were lost."""
        if 0 <= self._silent_after <= self.lost_samples:  # faded out: nobody would hear it
            return Step.SILENT
        return Step.KEPT if 0 < self.position_samples < self._refit_after else Step.FRESH

    def lost(self) -> int:
        """The next packet was lost; return where in its replacement it plays from."""
        position = self.position_samples if self.step == Step.KEPT else 0
        self.position_samples = position + self.packet_samples
        self.lost_samples += self.packet_samples
        return position
