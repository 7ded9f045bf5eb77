"""``continuo run``: the control process of a box."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from ..control.config import BoxConfig
from ..control.latency_note import read_latency, write_latency
from ..net.counters import NetCounter, PeerState
from ..rt.counters import AudioCounter, Command
from .notify import Notifier
from .place import Place
from .session import control_session
from .supervisor import Supervisor

__all__ = ["run_box"]

_TICK_S = 0.1
_STATUS_S = 5.0
_CLICKS = (AudioCounter.ROUND_TRIP_CLICK_SAMPLES, AudioCounter.NETWORK_CLICK_SAMPLES)
_SETTLE_S, _PEER_S = 3.0, 8.0
"""How long a peer plays before its latency is measured, and how long we wait for one."""


class _Stop:
    """Hears SIGTERM and SIGINT; a second SIGINT interrupts as usual."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


def run_box(
    config_path: Path, config: BoxConfig, *, seconds: float | None = None, measure: Callable[[str], None] | None = None
) -> None:
    """Play until SIGTERM, SIGINT, or for ``seconds``; then fade out, say goodbye to the peer and write what is left.

    When this process was killed and comes back, it takes over what plays.

    Parameters
    ----------
    config_path
        Where the configuration came from: a box is known by it.
    seconds
        After which to leave.
    measure
        Measure the latency once a peer plays, tell it, and leave.

    Raises
    ------
    ContinuoError
        When the box cannot begin, or its audio process has ended.
    """
    stop, notifier = _Stop(), Notifier()
    place = Place(config_path)
    place.lock()
    supervisor = Supervisor(place, config)
    try:
        started = place.session_started(anew=not supervisor.attached)
        if not supervisor.attached and measure is None:
            supervisor.audio[list(_CLICKS)] = read_latency(config)
        with control_session(config, supervisor.memory, started) as session:
            try:
                supervisor.start(lambda: stop.asked)
                notifier.ready(session.line())
                begun_s = time.monotonic()
                until_s = float("inf") if seconds is None else begun_s + seconds
                status_at_s = alive_at_s = 0.0
                while not stop.asked and (now_s := time.monotonic()) < until_s:
                    supervisor.tick()
                    session.tick()
                    if measure is not None and _is_measured(supervisor, now_s - begun_s):
                        for line in _latency_lines(config, supervisor.audio):
                            measure(line)
                        write_latency(config, *(supervisor.audio.item(counter) for counter in _CLICKS))
                        break
                    if notifier.watchdog_s is not None and now_s >= alive_at_s and supervisor.audio_is_alive:
                        notifier.alive()
                        alive_at_s = now_s + notifier.watchdog_s
                    if now_s >= status_at_s:
                        notifier.status(session.line())
                        status_at_s = now_s + _STATUS_S
                    supervisor.wait(min(_TICK_S, until_s - now_s))
            finally:
                notifier.stopping()
                supervisor.end_processes()  # before the log is closed: audio pushes its last rows as it leaves
    finally:
        supervisor.end_processes()
        place.remove()


def _is_measured(supervisor: Supervisor, playing_s: float) -> bool:
    """Begins to measure when the peer is there, or after a while without one; whether it is done."""
    audio, net = supervisor.audio, supervisor.memory.net
    if audio[AudioCounter.MEASURED]:
        return True
    if audio[AudioCounter.COMMAND] == Command.PLAY:
        peer_plays = net[NetCounter.PEER_STATE] == PeerState.PLAYING
        if playing_s > (_SETTLE_S if peer_plays else _PEER_S):
            audio[AudioCounter.COMMAND] = Command.MEASURE
    return False


def _latency_lines(config: BoxConfig, audio: NDArray[np.int64]) -> list[str]:
    """What was measured, a line each."""
    ways = {
        AudioCounter.ROUND_TRIP_CLICK_SAMPLES: ("device, playback to capture", "lay a cable from output to input"),
        AudioCounter.NETWORK_CLICK_SAMPLES: ("peer and back", "the peer must send back what it plays"),
    }
    rate, lines = config.stream.sample_rate_hz, []
    for counter, (way, remedy) in ways.items():
        samples = audio.item(counter)
        found = f"{1000 * samples / rate:.2f} ms ({samples} samples)" if samples else f"not heard: {remedy}"
        lines.append(f"{way}: {found}")
    return lines
