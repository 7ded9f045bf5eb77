"""What a concealment method is: the rungs of its ladder, and how its output is joined to what comes next."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .predictor import Predictor
from .spec import StreamSpec
from .timing import Rung

__all__ = ["Method", "Refiner"]


class Refiner(Protocol):
    """Improves on a prediction. One object serves one channel."""

    rung: Rung
    context_samples: int

    def prepare(self, spec: StreamSpec, predict_samples: int) -> None:
        """Allocate every buffer and warm up."""

    def refine(
        self,
        context: NDArray[np.float32],
        concealed: NDArray[np.float32],
        prediction: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> bool:
        """Write a better continuation of ``context`` than ``prediction`` into ``out`` [both of one shape].

        ``concealed`` [shape of ``context``] is 1 where the context was not received but concealed, else 0. False: the
        prediction stands.
        """


@dataclass(frozen=True)
class Method:
    """What stands on the ladder, and how its output is joined to what comes next (why so: ``docs/prediction.md``)."""

    name: str
    predictor: Callable[[], Predictor]
    refiner: Callable[[], Refiner] | None = None
    crossfade_ms: float = 1.45
    """From the replacement into the first packet after a gap; at most one packet long."""
    fades: bool = True
    """Whether a long burst fades to silence."""
    hold_ms: float = 60.0
    """A burst plays at full level for this long: within it, predictions still carry information ..."""
    fade_ms: float = 240.0
    """... and then fades to silence over this long."""
    refit_samples: int = 256
    """Inside a burst the predictor is fitted again, to its own output, after this many samples; at least a packet."""
