"""What a simulation's ``report.json`` says."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from .control.timing_report import rung_counts, stage_percentiles
from .loss import find_bursts
from .metrics import METRICS, all_metrics
from .simulate import SimulationResult

__all__ = ["build_report"]


def build_report(
    result: SimulationResult, *, input_name: str, loss: str, metrics: Sequence[str] = METRICS
) -> dict[str, Any]:
    """Measure a simulation and gather what is known of it, ready for JSON.

    Parameters
    ----------
    result
        What `simulate` returned.
    input_name
        Name of the recording.
    loss
        Where the losses came from: the name of a trace file, or a model and its seed.
    metrics
        Which of `metrics.METRICS` to compute; the others are there as None. `metrics.installed_metrics` says which
        can be had.

    Returns
    -------
    report : dict
        Names and format; ``packets``, ``lost``, ``loss_rate``, ``longest_burst`` (packets); each of
        `metrics.METRICS` for the concealed signal, and below ``lossy`` for zero fill, None where there is no finite
        value; ``deadline_misses``, ``damaged_samples``, ``rungs``; and `stage_percentiles` in microseconds. Keys that
        ``continuo timing report --json`` also has mean the same there.

    Raises
    ------
    InputError
        When a metric is unknown.
    MissingError
        When a metric is asked for whose package is not installed.
    """
    spec = result.spec
    bursts = find_bursts(result.lost)
    lost, packets = int(np.count_nonzero(result.lost)), len(result.lost)

    def measured(estimate: NDArray[np.float32]) -> dict[str, float | None]:
        values = all_metrics(
            result.audio.samples, estimate, result.lost, spec.packet_samples, spec.sample_rate_hz, names=metrics
        )
        return {name: values.get(name) for name in METRICS}

    return {
        "version": __version__,
        "input": input_name,
        "loss": loss,
        "method": result.method,
        "sample_rate_hz": spec.sample_rate_hz,
        "packet_samples": spec.packet_samples,
        "channels": spec.channels,
        "duration_s": round(result.audio.duration_s, 6),
        "packets": packets,
        "lost": lost,
        "loss_rate": lost / packets,
        "longest_burst": int(np.diff(bursts).max(initial=0)),
        **measured(result.concealed),
        "lossy": measured(result.lossy),
        "damaged_samples": result.damaged_samples,
        "packet_us": round(spec.packet_ns / 1000, 3),
        "deadline_misses": int(np.count_nonzero(result.rows["deadline_missed"])),
        "rungs": rung_counts(result.rows),
        **stage_percentiles(result.rows),
    }
