"""Latency of a device by itself: clicks that leave through playback and come back in capture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from .duplex import Duplex, IoStatus

__all__ = ["LatencyReport", "measure_latency"]

_CLICKS = 5
_LEVEL = 0.5
_OVER_NOISE = 8.0
_LEAST_LEVEL = 0.002
"""-54 dB: a quieter peak is no click of ours."""
_SPREAD_SAMPLES_MAX = 3


@dataclass(frozen=True)
class LatencyReport:
    """What came back, and when."""

    round_trip_samples: int
    """From handing a click over to finding it in a captured period, both counted in turns of the loop: the device's
    periods, its converters and the way between. What is passed through period by period takes as long."""
    round_trip_ms: float
    device_samples: int
    """Of it, the periods that the device's buffer holds."""
    beyond_samples: int
    """The rest: converters, cable, air."""
    spread_samples: int
    """Between the earliest and the latest of the clicks."""
    level_db: float
    """Of the click that came back, against the one that left."""
    clicks: int


def measure_latency(duplex: Duplex, sample_rate_hz: int, channels: int, *, wait_ms: float = 300.0) -> LatencyReport:
    """Send clicks through a loop from output to input: a cable, or a loudspeaker before a microphone.

    The sign of a click may come back turned round, and it may come back blurred: the loudest sample counts.

    Parameters
    ----------
    duplex
        Nothing else may use it meanwhile.
    sample_rate_hz, channels
        What it was opened with.
    wait_ms
        For each click, and before the first to hear how loud it is without: the longest latency there is.

    Raises
    ------
    RunError
        When nothing comes back, or the clicks come back at different times: the text says what to do.
    """
    period = duplex.period_samples
    turns = -(-round(wait_ms * sample_rate_hz / 1e3) // period)
    heard, played = (np.zeros((period, channels), np.float32) for _ in range(2))
    recorded = np.zeros(((_CLICKS + 1) * turns * period, channels), np.float32)
    disturbed = False
    for turn in range(-turns, len(recorded) // period):
        played[0] = _LEVEL if turn >= turns and turn % turns == 0 else 0.0
        statuses = {duplex.capture_into(heard), duplex.play_from(played)}
        if turn >= 0:  # what was to be heard at first has passed by then
            disturbed |= statuses != {IoStatus.OK}
            recorded[turn * period : (turn + 1) * period] = heard
    if disturbed:
        raise RunError("the device ran over or under meanwhile: measure again, with larger audio.periods if need be")
    return _found(np.abs(recorded).max(axis=1).reshape(_CLICKS + 1, -1), duplex.latency_samples, sample_rate_hz)


def _found(rows: NDArray[np.float32], device_samples: int, sample_rate_hz: int) -> LatencyReport:
    """Of magnitudes [shape=(1 + clicks, samples)]: without a click, then from each click on."""
    threshold = max(_LEAST_LEVEL, _OVER_NOISE * float(rows[0].max()))
    places = [int(row.argmax()) for row in rows[1:] if row.max() > threshold]
    if len(places) < len(rows) - 1:
        raise RunError(
            f"{len(places)} of {len(rows) - 1} clicks came back: connect the output with the input, "
            "or set the levels higher"
        )
    spread = max(places) - min(places)
    if spread > _SPREAD_SAMPLES_MAX:
        raise RunError(
            f"clicks came back between {min(places)} and {max(places)} samples later: is something else to be heard, "
            "or are capture and playback two devices?"
        )
    median = sorted(places)[len(places) // 2]
    return LatencyReport(
        round_trip_samples=median,
        round_trip_ms=1e3 * median / sample_rate_hz,
        device_samples=device_samples,
        beyond_samples=median - device_samples,
        spread_samples=spread,
        level_db=float(20 * np.log10(rows[1:].max(axis=1).mean() / _LEVEL)),
        clicks=len(places),
    )
