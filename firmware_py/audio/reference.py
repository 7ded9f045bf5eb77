"""The loop that does nothing: same device, same settings, no work. What it misses, the machine misses.

``python -m continuo.firmware_py.audio.reference`` with a JSON object of `audio`, `stream` and `seconds` on standard
input prints a `ReferenceReport` as JSON; `run_reference` does that in a process of its own.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..box.realtime import be_real_time, freeze_garbage
from ..control.config import AudioConfig, StreamConfig
from ..errors import ContinuoError, RunError
from ..rt.counters import AudioCounter
from .duplex import Duplex

__all__ = ["ReferenceReport", "main", "percentiles_us", "reference_loop", "run_reference"]

_PERCENTILES = {"p50": 50, "p99": 99, "p99.9": 99.9, "max": 100}
_START_S = 60.0


@dataclass(frozen=True)
class ReferenceReport:
    """What a loop without work met with."""

    periods: int
    period_us: float
    xruns_capture: int
    xruns_playback: int
    device_lost: int
    late_wakes: int
    """Times that more than two periods passed from one wake to the next."""
    overruns: int
    """Periods in which the turn took longer than the period, as `AudioCounter.PERIODS_OVERRUN` counts them."""
    wake_us: dict[str, float]
    """From one wake to the next: p50, p99, p99.9, max."""
    turn_us: dict[str, float]
    """From the wake until the next period was handed over."""
    refused: list[str]
    """What of real time the system refused."""


def reference_loop(duplex: Duplex, seconds: float, channels: int) -> ReferenceReport:
    """Pass captured periods on to playback, so long, in this thread as it is."""
    turns = max(2, round(seconds * 1e9 / duplex.period_ns))
    times = np.zeros((2, turns), np.int64)
    block = np.zeros((duplex.period_samples, channels), np.float32)
    before = duplex.counters.copy()
    for _ in range(duplex.periods + 1):
        duplex.capture_into(block)
        duplex.play_from(block)
    for turn in range(turns):
        duplex.capture_into(block)
        times[0, turn] = time.monotonic_ns()
        duplex.play_from(block)
        times[1, turn] = time.monotonic_ns()
    wakes, took = np.diff(times[0]), times[1] - times[0]
    counted = duplex.counters - before
    return ReferenceReport(
        periods=turns,
        period_us=duplex.period_ns / 1e3,
        xruns_capture=int(counted[AudioCounter.XRUNS_CAPTURE]),
        xruns_playback=int(counted[AudioCounter.XRUNS_PLAYBACK]),
        device_lost=int(counted[AudioCounter.DEVICE_LOST]),
        late_wakes=int((wakes > 2 * duplex.period_ns).sum()),
        overruns=int((took > duplex.period_ns).sum()),
        wake_us=percentiles_us(wakes),
        turn_us=percentiles_us(took),
        refused=[],
    )


def percentiles_us(times_ns: NDArray[np.int64]) -> dict[str, float]:
    """Of nanoseconds: microseconds, p50, p99, p99.9, max."""
    return {name: float(np.percentile(times_ns, of)) / 1e3 for name, of in _PERCENTILES.items()}


def run_reference(audio: AudioConfig, stream: StreamConfig, seconds: float) -> ReferenceReport:
    """Run the loop in a process of its own, in real time as ``audio`` says; wait for it.

    Raises
    ------
    RunError
        When it fails: with its own line.
    """
    order = json.dumps({"audio": asdict(audio), "stream": asdict(stream), "seconds": seconds})
    command, limit_s = [sys.executable, "-m", __name__], seconds + _START_S
    try:
        done = subprocess.run(command, input=order, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise RunError(f"the reference loop did not end after {limit_s:.0f} s") from None
    if done.returncode:
        raise RunError(f"the reference loop failed: {done.stderr.strip()}")
    return ReferenceReport(**json.loads(done.stdout))


def main() -> None:
    """See the module."""
    order: dict[str, Any] = json.load(sys.stdin)
    audio, stream = AudioConfig(**order["audio"]), StreamConfig(**order["stream"])
    try:
        with Duplex(audio, stream.spec) as duplex:
            refused = be_real_time(audio.priority, audio.cpu)
            freeze_garbage()
            report = asdict(reference_loop(duplex, order["seconds"], stream.channels))
    except ContinuoError as error:
        print(f"continuo: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    print(json.dumps(report | {"refused": refused}))  # noqa: T201


if __name__ == "__main__":
    main()
