"""Stages of the concealer, as it runs: what every packet costs."""

import gc
from dataclasses import dataclass
from itertools import product

import numpy as np

from ..firmware_py.methods import METHODS
from ..firmware_py.rt.concealer import Concealer
from ..firmware_py.rt.spec import StreamSpec
from .measure import Times
from .predictors import music

__all__ = ["METHODS_TIMED", "Stages", "stages"]

METHODS_TIMED = ("lpc-paper", "lpc", "lite-int8")

LOST = 1
"""Step of the four at which a packet is lost."""
COLUMNS = (
    (LOST, "predict_ns"),
    (LOST, "refine_ns"),
    (LOST, "total_ns"),
    (LOST + 1, "crossfade_ns"),
    (LOST + 2, "total_ns"),
)
"""(step, column of the timing row) of each field of `Stages`."""


@dataclass(frozen=True)
class Stages:
    """Times of one method at one packet length and rate."""

    method: str
    packet_samples: int
    sample_rate_hz: int
    predict: Times
    """Fit and prediction, for a lost packet."""
    refine: Times
    """Transforms, search of the past and network; next to nothing without a refiner."""
    replaced: Times
    """A lost packet, all of it: predicted, refined, spliced."""
    crossfade: Times
    """Splice and bookkeeping of the first packet after a gap: copy, crossfade, history."""
    received: Times
    """A received packet, all of it."""


def stages(packets: tuple[int, ...], rates_hz: tuple[int, ...], repetitions: int) -> list[Stages]:
    """Time mono streams in which every fourth packet is lost; all streams take turns."""
    specs = [StreamSpec(rate, packet) for packet, rate in product(packets, rates_hz)]
    streams = [(name, Concealer(METHODS[name]), spec) for spec in specs for name in METHODS_TIMED]
    for _, concealer, spec in streams:
        concealer.prepare(spec)
    samples = music(1 << 16)
    taken = np.zeros((len(streams), len(COLUMNS), repetitions), np.int64)
    gc.collect()
    gc.disable()
    try:
        for repetition in range(-2, repetitions):
            for index, (_, concealer, spec) in enumerate(streams):
                for step in range(4):
                    start = (4 * repetition + step) * spec.packet_samples % (len(samples) - spec.packet_samples)
                    lost = step == LOST
                    concealer.process(None if lost else samples[start : start + spec.packet_samples, np.newaxis])
                    for place, (of_step, column) in enumerate(COLUMNS):
                        if repetition >= 0 and step == of_step:
                            taken[index, place, repetition] = concealer.row[column]
    finally:
        gc.enable()
    return [
        Stages(name, spec.packet_samples, spec.sample_rate_hz, *(Times.of(times) for times in taken[index]))
        for index, (name, _, spec) in enumerate(streams)
    ]
