"""The ladder's first rung: predictors. One object serves one channel; `predict` neither allocates nor raises."""

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .burg import aligned_float32, aligned_float64, burg_fit, exponential_window
from .extrapolate import bounded_context, extrapolate
from .levinson import autocorrelation, levinson_durbin
from .spec import StreamSpec
from .timing import Rung

__all__ = ["BurgPredictor", "PaperPredictor", "Predictor", "RepeatPacket", "Silence"]

BOUND = np.float32(1.5)
"""A prediction may be this much louder than the loudest sample of its context (3.5 dB: a swelling note), no more."""


class Predictor(Protocol):
    """Extrapolates a waveform."""

    rung: Rung
    """What the timing log calls its output."""
    context_samples: int
    """How much history `predict` reads. Known after `prepare`."""

    def prepare(self, spec: StreamSpec, predict_samples: int) -> None:
        """Allocate every buffer and compile every kernel for outputs of ``predict_samples`` samples."""

    def predict(self, context: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Write the continuation of ``context`` [shape=(context_samples,), newest last] into ``out``.

        Any context is allowed, non-finite samples included; the output is finite and at most `BOUND` times as loud.
        """


class _LinearPredictor(ABC):
    """Buffers and the extrapolation that linear predictors share; a subclass fits the coefficients."""

    rung = Rung.LPC

    def __init__(self, order: int, context_samples: int) -> None:
        self.order = order
        self.context_samples = context_samples

    def prepare(self, spec: StreamSpec, predict_samples: int) -> None:
        del spec
        self._scaled = aligned_float32(self.context_samples)
        self._mirrored = aligned_float32(self.order + 1)
        self._line = aligned_float32(self.order + predict_samples)
        impulse = np.zeros(self.context_samples, np.float32)
        impulse[-1] = 1.0  # silence would skip the fit, and leave it to be compiled at the first loss
        self.predict(impulse, np.zeros(predict_samples, np.float32))

    def predict(self, context: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        peak = bounded_context(context, self._scaled)
        if peak > 0:
            self._fit()
            extrapolate(self._scaled, self._mirrored, BOUND, peak, self._line, out)
        else:
            out.fill(0)

    @abstractmethod
    def _fit(self) -> None:
        """Fit ``_mirrored`` to ``_scaled``."""


class PaperPredictor(_LinearPredictor):
    """Paper 000, section II: autocorrelation method, order 128, context of 7 packets of 512 samples.

    The diagonal load of 1e-3 is ours; the paper names none.
    """

    def __init__(self, order: int = 128, context_samples: int = 3584, load: float = 1e-3) -> None:
        super().__init__(order, context_samples)
        self._load = load

    def prepare(self, spec: StreamSpec, predict_samples: int) -> None:
        self._lags = np.zeros(self.order + 1)
        self._polynomial = np.zeros(self.order + 1)
        self._previous = np.zeros(self.order + 1)
        super().prepare(spec, predict_samples)

    def _fit(self) -> None:
        autocorrelation(self._scaled, self._lags)
        levinson_durbin(self._lags, self._load, self._polynomial, self._previous, self._mirrored)


ORDER_FOR_PACKET = ((2_000_000, 1280, 6144), (1_000_000, 1024, 4096), (500_000, 512, 2048), (0, 256, 1024))
"""(shortest packet in ns, order, context in samples): a short packet leaves less time, so it gets a smaller fit."""


NOISE = 1e-5
"""Peak of the noise in the fit: 100 dB under the context's peak. Real music has its own and predicts the same with or
without it; a clean synthetic chord predicts 12 dB better with it."""


class BurgPredictor(_LinearPredictor):
    """Our best causal predictor: Burg of high order, exponentially windowed (``docs/prediction.md``).

    Order and context default to what fits the packet's duration. The fit sees a little noise: without it, a few tones
    without any noise of their own leave the fit nothing but float32's rounding to explain.
    """

    def __init__(self, order: int = 0, context_samples: int = 0, decay: float = 2.0, noise: float = NOISE) -> None:
        super().__init__(order, context_samples)
        self._decay = decay
        self._noise_peak = noise

    def prepare(self, spec: StreamSpec, predict_samples: int) -> None:
        if self.order == 0:
            _, self.order, self.context_samples = next(row for row in ORDER_FOR_PACKET if spec.packet_ns >= row[0])
        self._window = exponential_window(self.context_samples, self._decay)
        self._forward = aligned_float32(self.context_samples)
        self._backward = aligned_float32(self.context_samples)
        self._reflection = aligned_float64(self.order)
        self._polynomial = aligned_float64(self.order + 1)
        self._reverse = aligned_float64(self.order + 1)
        self._noisy = aligned_float32(self.context_samples)
        raw = np.random.PCG64(0).random_raw(self.context_samples)  # the same in every version of numpy
        self._noise = (self._noise_peak * (2.0**-63 * raw - 1.0)).astype(np.float32)
        super().prepare(spec, predict_samples)

    def _fit(self) -> None:
        np.add(self._scaled, self._noise, out=self._noisy)
        burg_fit(
            self._noisy, self._window, self._forward, self._backward,
            self._reflection, self._polynomial, self._reverse, self._mirrored,
        )  # fmt: skip


class Silence:
    """What most systems do today: nothing."""

    rung = Rung.FADE
    context_samples = 1

    def prepare(self, spec: StreamSpec, predict_samples: int) -> None:
        """Nothing to prepare."""

    def predict(self, context: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        del context
        out.fill(0)


class RepeatPacket:
    """What the others do: the last packet again, and again."""

    rung = Rung.REPEAT

    def prepare(self, spec: StreamSpec, predict_samples: int) -> None:
        del predict_samples
        self.context_samples = spec.packet_samples
        self._scaled = np.zeros(self.context_samples, np.float32)

    def predict(self, context: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        peak = bounded_context(context, self._scaled)
        period = self.context_samples
        for start in range(0, out.shape[0], period):
            piece = out[start : start + period]
            np.multiply(self._scaled[: piece.shape[0]], peak, out=piece)
