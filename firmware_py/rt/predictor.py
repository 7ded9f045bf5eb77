"""The seam of the ladder's first rung: what a predictor is."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .spec import StreamSpec

__all__ = ["Predictor"]


class Predictor(Protocol):
    """Extrapolates a waveform. One object serves one channel; `predict` allocates nothing."""

    context_samples: int
    """How much history `predict` reads."""

    def prepare(self, spec: StreamSpec, predict_samples: int) -> None:
        """Allocate every buffer and compile every kernel for this stream."""

    def predict(self, context: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Write the continuation of ``context`` [shape=(context_samples,), full scale 1] into ``out`` [shape=(n,)]."""
