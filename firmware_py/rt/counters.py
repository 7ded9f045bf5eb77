"""What the box counts beside the network: one int64 array in shared memory, each place written by one process."""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["CAUSE_COUNTERS_FROM", "AudioCounter", "Command", "new_audio_counters"]


class Command(IntEnum):
    """What control asks of the audio process; the value of `AudioCounter.COMMAND`."""

    PLAY = 0
    STOP = 1
    """Fade out and leave."""
    MEASURE = 2
    """Click instead of music, and listen."""


class AudioCounter(IntEnum):
    """Index into the counters. All count upwards from 0, but for those that say that they are values."""

    # Written by the audio process.
    PERIODS = 0
    """Periods of the device."""
    PLAYED = 1
    """Packets played, replaced ones included; not the silence while there is no peer."""
    RECEIVED = 2
    """Packets that the audio process took from the network's ring."""
    LOST_NETWORK = 3
    """Replaced, and not there until now: lost on the way. One that comes later moves to `LATE`."""
    LATE = 4
    """Replaced, and arrived after their deadline."""
    REORDERED = 5
    DUPLICATED = 6
    CONCEALED = 7
    """Packets replaced, for whatever cause."""
    INSERTED = 8
    """Packets made up so that the jitter buffer grows; none was lost for it."""
    DROPPED = 9
    """Packets merged into the one before so that the jitter buffer shrinks."""
    RUNG_FADE = 10
    RUNG_REPEAT = 11
    RUNG_LPC = 12
    RUNG_LITE = 13
    RUNG_FULL = 14
    DEADLINE_MISSES = 15
    """Replaced packets for which the conceal process had no rung ready."""
    XRUNS_CAPTURE = 16
    XRUNS_PLAYBACK = 17
    DEVICE_LOST = 18
    """Times that the sound device went away."""
    DEVICE_REOPENED = 19
    CAPTURE_DROPPED = 20
    """Captured packets that the network process did not take in time."""
    DAMAGED_SAMPLES = 21
    PERIODS_OVERRUN = 22
    """Periods in which the audio thread's work took longer than the period."""

    # Written by control.
    RESTARTS_NET = 24
    RESTARTS_CONCEAL = 25
    RESTARTS_CONTROL = 26
    """Times that control came back and found the audio playing."""
    LOG_DROPPED = 27
    """Rows of the timing log that could not be written."""

    # Written by the conceal process.
    REFINED_SLOWLY = 29
    """Replacements whose refinement took so long that it made the next one late."""

    # Written by the network process.
    RECEIVE_DROPPED = 28
    """Packets received that the audio process did not take in time."""

    # Values, not counts.
    DEPTH_PACKETS_NOW = 32
    """Packets that wait to be played."""
    DEPTH_SAMPLES_NOW = 33
    TOLERANCE_SAMPLES = 34
    """Delay that the jitter buffer now allows a packet."""
    DRIFT_PPB = 35
    """Clock of the peer against ours, parts per 10^9, positive: it is faster."""
    CAPTURE_PEAK = 36
    """Loudest sample of the last captured packet, millionths of full scale."""
    PLAYBACK_PEAK = 37
    STARTED_NS = 38
    """When the audio process began to play, CLOCK_MONOTONIC."""
    HEARTBEAT_AUDIO = 39
    """CLOCK_MONOTONIC ns, the last time that the process was round its loop."""
    HEARTBEAT_CONCEAL = 40
    HEARTBEAT_NET = 41
    HEARTBEAT_CONTROL = 42
    COMMAND = 43
    """A `Command`; control writes, audio reads."""
    TIGHTNESS_MILLIONTHS = 44
    """Control writes it when it changes; audio reads. -1: as configured."""
    FADED_OUT = 45
    """1 once the audio process has done what `Command.STOP` asks."""
    ROUND_TRIP_CLICK_SAMPLES = 46
    """From our playback to our capture, by a cable or the air; measured by `--measure-latency`. 0: not known."""
    WORK_NS = 47
    """What the audio thread's last period took."""
    NETWORK_CLICK_SAMPLES = 48
    """From what we send to what we would play, through a peer that sends it back; as above."""
    MEASURED = 49
    """1 once `Command.MEASURE` is done."""
    UNREFINED = 50
    """1 while the conceal process does without its method's network: there is nothing here that runs it."""

    # Packets by `timing.Cause`, counted by control from the timing rows.
    CAUSE_NETWORK_LOST = 51
    CAUSE_NETWORK_LATE = 52
    CAUSE_CPU_DEADLINE = 53
    CAUSE_DEVICE_XRUN = 54
    CAUSE_PEER_STOPPED = 55
    CAUSE_INSERTED = 56


RUNG_COUNTERS_FROM = AudioCounter.RUNG_FADE - 1
"""Plus a `Rung` other than RECEIVED: its counter."""
CAUSE_COUNTERS_FROM = AudioCounter.CAUSE_NETWORK_LOST - 1
"""Plus a `Cause` other than NONE: its counter."""


def new_audio_counters(buffer: memoryview | bytearray | None = None) -> NDArray[np.int64]:
    """Counters [shape=(max(AudioCounter) + 1,)], int64.

    Parameters
    ----------
    buffer
        Writable memory of at least ``8 * (max(AudioCounter) + 1)`` bytes, zeros at first. None: own memory.
    """
    size = max(AudioCounter) + 1
    return np.zeros(size, np.int64) if buffer is None else np.frombuffer(buffer, np.int64, size)
