import contextlib
import os

import numpy as np
import pytest

from continuo.firmware_py.audio.duplex import Duplex
from continuo.firmware_py.control.config import AudioConfig
from continuo.firmware_py.rt.spec import StreamSpec


@pytest.fixture
def real_time():
    """Real-time priority for the test, where we may have it: the machine may be busy."""
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(40))
    yield
    os.sched_setscheduler(0, policy, parameter)


@pytest.fixture
def open_duplex(real_time):
    """Open devices; they are closed after the test. Buffers are long: what is tested is not how fast we are here."""
    opened = []

    def call(device, rate=48_000, packet=256, channels=1, periods=12, counters=None, **audio):
        spec = StreamSpec(rate, packet, channels)
        opened.append(Duplex(AudioConfig(device=device, periods=periods, **audio), spec, counters))
        return opened[-1]

    yield call
    for duplex in opened:
        duplex.close()


class Loop:
    """A period loop: keeps what was captured, plays what it is given or what it captured."""

    def __init__(self, duplex, channels=1):
        self.duplex = duplex
        self.captured = []
        self.statuses = []
        self._in = np.zeros((duplex.period_samples, channels), np.float32)

    def run(self, periods, play=None):
        """``play`` [shape=(n, channels)]: then silence. None: what was captured, at once."""
        samples = self.duplex.period_samples
        for number in range(periods):
            captured = self.duplex.capture_into(self._in)
            self.captured.append(self._in.copy())
            out = self._in
            if play is not None:
                out = np.zeros_like(self._in)
                part = play[number * samples : (number + 1) * samples]
                out[: len(part)] = part
            self.statuses.append((captured, self.duplex.play_from(out)))

    @property
    def heard(self):
        """Everything captured [shape=(n, channels)]."""
        return np.concatenate(self.captured)


@pytest.fixture
def loop_of():
    return Loop
