"""The audio process: a device, the engine, and nothing else that could be late."""

import sys
import time

import numpy as np

from ..audio.duplex import TWO_CLOCKS, Duplex, IoStatus
from ..rt.counters import AudioCounter, Command
from ..rt.playout import Playout
from .child import Child, run_child
from .engine import Engine
from .probe import LatencyProbe, Route
from .realtime import be_real_time, freeze_garbage
from .steering import Steering

__all__ = ["main"]


def main(child: Child) -> None:
    """Play until `Command.STOP` or SIGTERM; both fade out first."""
    config, spec, counters = child.config, child.spec, child.memory.audio
    with Duplex(config.audio, spec, counters) as device:
        engine = _engine(child, device.period_samples)
        probe = LatencyProbe(spec.sample_rate_hz)
        captured, out = (np.zeros((device.period_samples, spec.channels), np.float32) for _ in range(2))
        if device.info.two_clocks:
            print(f"continuo: {TWO_CLOCKS}", file=sys.stderr, flush=True)  # noqa: T201
        for line in be_real_time(config.audio.priority, config.audio.cpu):
            print(f"continuo: {line}", file=sys.stderr, flush=True)  # noqa: T201
        freeze_garbage()
        engine.begin()
        counters[AudioCounter.STARTED_NS] = time.monotonic_ns()
        played = IoStatus.OK
        while not engine.faded_out:
            heard = device.capture_into(captured)
            stood_still = heard == IoStatus.XRUN or heard == IoStatus.BACK or played == IoStatus.XRUN  # noqa: PLR1714
            engine.period(captured, out, stood_still, device.gap_samples)
            played = device.play_from(out)
            counters[AudioCounter.HEARTBEAT_AUDIO] = time.monotonic_ns()
            if child.stopping:
                counters[AudioCounter.COMMAND] = Command.STOP
            elif counters.item(AudioCounter.COMMAND) == Command.MEASURE and engine.probe is None:
                engine.probe = probe
            elif probe.done and not counters.item(AudioCounter.MEASURED):
                counters[AudioCounter.ROUND_TRIP_CLICK_SAMPLES] = probe.median_samples(Route.DEVICE)
                counters[AudioCounter.NETWORK_CLICK_SAMPLES] = probe.median_samples(Route.NETWORK)
                counters[AudioCounter.MEASURED] = 1
        for _ in range(device.periods):  # what was faded is still to be heard
            device.capture_into(captured)
            device.play_from(out)
    counters[AudioCounter.FADED_OUT] = 1
    engine.finish()


def _engine(child: Child, period_samples: int) -> Engine:
    spec, settings = child.spec, child.config.playout
    playout = Playout()
    playout.prepare(spec, settings.tightness, settings.fixed_packets, period_samples, settings.drift)
    steering = Steering(spec, playout, period_samples, enabled=settings.drift)
    return Engine(
        child.memory, spec, child.method, period_samples, playout, steering, child.waker("net"), child.waker("conceal")
    )


if __name__ == "__main__":
    run_child(main)
