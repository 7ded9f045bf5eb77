"""The sound device as the period loop sees it: capture a period, play a period, and a status instead of exceptions.

capture  |--P--|--P--|--P--|          wake when a period is captured, work, hand over the next period to play:
               v     v     v          what was captured at t is heard, passed through, at t + periods * P
playback |0|0| |--P--|--P--|          (begins with `periods` periods of silence)
"""

import errno
import select
import time
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..control.config import AudioConfig
from ..errors import ContinuoError
from ..rt.counters import AudioCounter, new_audio_counters
from ..rt.spec import StreamSpec
from .alsa import Direction, Pcm, alsa_error, release
from .devices import find_device
from .negotiation import PeriodSettings, open_exactly
from .pcm_format import PcmCodec

__all__ = ["TWO_CLOCKS", "Duplex", "DuplexInfo", "IoStatus"]

TWO_CLOCKS = (
    "capture and playback are two cards with two clocks: their drift costs an xrun, heard as a click, every few "
    "seconds to minutes: use one card for both"
)

_OVERRUN = -errno.EPIPE
_PATIENCE_MS = 500
"""A device silent for this long is gone, or for ten periods where that is longer."""
_REOPEN_NS = 500_000_000
_STANDS_STILL = "the device stands still: it moves no samples"
_RESTARTS_MAX = 4
"""A device that fails so often within one period is gone."""
_EARLY_WAKES = 4
"""After so many wakes without a period, we sleep in between: some plugins' descriptors are always ready."""
_NAPS_PER_PERIOD = 8
_SOUND_STATES = (2, 3)
"""Prepared and running (``snd_pcm_state_t``)."""


class IoStatus(IntEnum):
    """What became of one period."""

    OK = 0
    XRUN = 1
    """The device ran over or under and was started anew. A captured period comes from after the gap; one to be played
    is played after silence, no later than others."""
    ABSENT = 2
    """There is no device: silence was captured, in the time that a period takes; what was to be played is gone."""
    BACK = 3
    """Captured: the device is there again, and this is its first period."""


@dataclass(frozen=True)
class DuplexInfo:
    """What was opened."""

    capture_device: str
    playback_device: str
    capture_format: str
    playback_format: str
    sample_rate_hz: int
    channels: int
    period_samples: int
    periods: int

    @property
    def two_clocks(self) -> bool:
        """Whether the directions are of different cards, whose clocks drift apart."""
        names = self.capture_device, self.playback_device  # such as hw:CARD=USB,DEV=0, or plughw:1,0 for hw:1,1
        capture, playback = (name.partition(",")[0].rpartition(":")[2] for name in names)
        return capture != playback


class Duplex:
    """A device, or two, open for both directions. One thread only.

    `capture_into` and `play_from` are called in turn, once per period each. They raise nothing, and allocate nothing
    but the bytes of one captured period, which pyalsaaudio's ``read`` returns and which go again at once. Any xrun
    starts both directions anew, so that the delay from capture to playback is the same after it.

    When the device goes away, `capture_into` goes on in the device's time with silence and tries to open it again every
    half second; only that allocates.

    Two devices with clocks of their own drift apart: an xrun now and then sets them right, so that the delay stays
    within the device's buffer.

    Parameters
    ----------
    config
        Which device, and how to serve it.
    spec
        Rate, channels and, unless the configuration says otherwise, the size of a period.
    counters : int64, by `AudioCounter`, optional
        For example in shared memory. Counted: `XRUNS_CAPTURE`, `XRUNS_PLAYBACK`, `DEVICE_LOST`, `DEVICE_REOPENED`.

    Raises
    ------
    InputError
        When it has not what is asked for (the text says what it offers), or its name is ambiguous.
    MissingError
        When there is no such device, or no pyalsaaudio.
    RunError
        When another program uses it, or it may not be opened.
    """

    def __init__(self, config: AudioConfig, spec: StreamSpec, counters: NDArray[np.int64] | None = None) -> None:
        self.counters = new_audio_counters() if counters is None else counters
        self.period_samples = config.period_samples or spec.packet_samples
        self.periods = config.periods
        self.period_ns = round(1e9 * self.period_samples / spec.sample_rate_hz)
        self.trouble = ""
        """Why the device went away, then why it cannot be opened again; empty while it is there."""
        self.gap_samples = 0
        """Before the last captured period: samples per channel that passed unheard, by the clock; 0 unless the device
        was started anew since the one before, be it for an xrun in playing alone."""
        self._is_anew = False
        self._config = config
        self._spec = spec
        self._error = alsa_error()
        self._patience_ms = max(_PATIENCE_MS, 10 * self.period_ns // 1_000_000)
        self._nap_s = self.period_ns / _NAPS_PER_PERIOD / 1e9
        self._wakes_max = _EARLY_WAKES + round(self._patience_ms / 1e3 / self._nap_s)
        self._next_try_ns = self._due_ns = self._captured_ns = 0
        self._is_open = self._is_running = False
        self._open()

    def __enter__(self) -> "Duplex":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def info(self) -> DuplexInfo:
        """What is open, or was last."""
        return self._info

    @property
    def latency_samples(self) -> int:
        """From capture to playback, of what is passed through period by period: the device's buffer."""
        return self.periods * self.period_samples

    @property
    def is_present(self) -> bool:
        """Whether the device is open."""
        return self._is_open

    def capture_into(self, out: NDArray[np.float32]) -> IoStatus:
        """Wait for the next period and copy it. The first call starts the device.

        Parameters
        ----------
        out : [shape=(period_samples, channels)]
            float32, C order, written whole.
        """
        status = IoStatus.OK
        self.gap_samples = 0
        if not self._is_open:
            if not self._reopened():
                return self._silence(out)
            status = IoStatus.BACK
        try:
            if not self._is_running:
                self._start(self._quiet)
            for _ in range(_RESTARTS_MAX):
                count, data = self._read()
                if count == self.period_samples:
                    self._capture_codec.decode(data, out)
                    self._note_gap()
                    return status
                if count == 0:
                    break
                self.counters[AudioCounter.XRUNS_CAPTURE] += 1
                self._start(self._quiet)
                status = max(status, IoStatus.XRUN)
            self._lose(_STANDS_STILL)
        except self._error as error:
            self._lose(str(error))
        return self._silence(out)

    def play_from(self, period: NDArray[np.float32]) -> IoStatus:
        """Hand over the next period to play. Waits only for a device whose playback lags behind its capture.

        Parameters
        ----------
        period : [shape=(period_samples, channels)]
            float32, C order, full scale 1.
        """
        if not self._is_open:
            return IoStatus.ABSENT
        self._playback_codec.encode(period, self._next)
        try:
            count = self._write()
            if count == self.period_samples:
                return IoStatus.OK
            if count != 0:
                self.counters[AudioCounter.XRUNS_PLAYBACK] += 1
                self._start(self._quiet_then_next)
                return IoStatus.XRUN
            self._lose(_STANDS_STILL)
        except self._error as error:
            self._lose(str(error))
        return IoStatus.ABSENT

    def close(self) -> None:
        """Stop at once and close; what was handed over and not heard yet is gone. Does nothing the second time."""
        if self._is_open:
            self._is_open = self._is_running = False
            release(self._playback)
            release(self._capture)

    def _open(self) -> None:
        """Open both directions, or none."""
        config, settings = self._config, PeriodSettings(self.period_samples, self.periods)
        capture_name = find_device(config.capture_device or config.device, Direction.CAPTURE)
        playback_name = find_device(config.playback_device or config.device, Direction.PLAYBACK)
        self._capture, capture_format = open_exactly(capture_name, Direction.CAPTURE, self._spec, settings)
        try:
            self._playback, playback_format = open_exactly(playback_name, Direction.PLAYBACK, self._spec, settings)
        except ContinuoError:
            release(self._capture)
            raise
        shape = self.period_samples, self._spec.channels
        self._capture_codec = PcmCodec(capture_format, *shape)
        self._playback_codec = PcmCodec(playback_format, *shape)
        self._quiet = self._playback_codec.new_buffer(self.periods)
        self._quiet_then_next = self._playback_codec.new_buffer(self.periods)
        self._next = self._quiet_then_next[-self._playback_codec.period_bytes :]
        self._capture_waiter = _Waiter(self._capture)
        self._playback_waiter = _Waiter(self._playback)
        self._info = DuplexInfo(
            capture_name,
            playback_name,
            capture_format.name,
            playback_format.name,
            self._spec.sample_rate_hz,
            self._spec.channels,
            *(self.period_samples, self.periods),
        )
        self._is_open, self._is_running = True, False

    def _start(self, prefill: NDArray[np.uint8]) -> None:
        """Start both directions, running or not, with so much to play. Playback starts with the first write."""
        self._playback.drop()
        self._capture.drop()
        self._playback.write(prefill)
        self._capture.read()
        self._is_running = self._is_anew = True

    def _read(self) -> tuple[int, bytes]:
        """One period; a count of 0: none came in time; another: an overrun."""
        if self._is_ready(self._capture, self._capture_waiter):
            return self._capture.read()
        return 0, b""

    def _write(self) -> int:
        """Samples taken; 0: there was no room in time; a short count: an underrun."""
        if self._is_ready(self._playback, self._playback_waiter):
            return self._playback.write(self._next)
        return 0

    def _is_ready(self, pcm: Pcm, waiter: "_Waiter") -> bool:
        """Wait until a period can be moved, or there is trouble that moving one will name. False: neither."""
        for wakes in range(self._wakes_max):
            avail = pcm.avail()
            if avail >= self.period_samples or avail < 0:
                return True
            if not waiter.wait(self._patience_ms):
                return False
            if wakes >= _EARLY_WAKES:
                if pcm.state() not in _SOUND_STATES:  # converters do not pass their device's xrun on to avail()
                    return True
                time.sleep(self._nap_s)
        return False

    def _note_gap(self) -> None:
        now_ns = time.monotonic_ns()
        if self._is_anew and self._captured_ns:
            gap_ns = now_ns - self._captured_ns - self.period_ns
            self.gap_samples = max(0, gap_ns * self._spec.sample_rate_hz // 1_000_000_000)
        self._captured_ns, self._is_anew = now_ns, False

    def _lose(self, why: str) -> None:
        self.close()
        self.trouble = why
        self.counters[AudioCounter.DEVICE_LOST] += 1
        self._due_ns = self._next_try_ns = time.monotonic_ns()

    def _reopened(self) -> bool:
        now_ns = time.monotonic_ns()
        if now_ns < self._next_try_ns:
            return False
        self._next_try_ns = now_ns + _REOPEN_NS
        try:
            self._open()
        except ContinuoError as error:
            self.trouble = str(error)
            return False
        self.trouble = ""
        self.counters[AudioCounter.DEVICE_REOPENED] += 1
        return True

    def _silence(self, out: NDArray[np.float32]) -> IoStatus:
        """A period without a device, as long as one with it."""
        out[:] = 0
        now_ns = time.monotonic_ns()
        self._due_ns = max(self._due_ns, now_ns - self.period_ns) + self.period_ns
        if self._due_ns > now_ns:
            time.sleep((self._due_ns - now_ns) / 1e9)
        self._captured_ns = time.monotonic_ns()
        return IoStatus.ABSENT


class _Waiter:
    """Waits for a PCM without blocking in ALSA, so that a dead one is noticed."""

    def __init__(self, pcm: Pcm) -> None:
        self._pcm = pcm
        self._poll = select.poll()
        self._descriptors = [descriptor for descriptor, _ in pcm.polldescriptors()]
        for descriptor, events in pcm.polldescriptors():
            self._poll.register(descriptor, events)

    def wait(self, timeout_ms: int) -> bool:
        """Until it has something to say; False: it has not."""
        events = self._poll.poll(timeout_ms)
        if not events:
            return False
        if len(events) < len(self._descriptors):  # ALSA wants to hear of all of them
            ready = dict(events)
            events = [(descriptor, ready.get(descriptor, 0)) for descriptor in self._descriptors]
        self._pcm.polldescriptors_revents(events)
        return True
