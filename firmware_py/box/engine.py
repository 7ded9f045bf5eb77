"""The audio thread's work, one period at a time; knows no device and no process.

In: a captured period, and what lies in the rings. Out: a period to play, and what goes into the rings. Nothing here
allocates samples, takes a lock, logs, or raises once it is made; `tests/firmware_py/box/test_engine.py` shows it.
"""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..net.counters import NetCounter, PeerState
from ..rt.counters import RUNG_COUNTERS_FROM, AudioCounter, Command
from ..rt.ladder import Ladder
from ..rt.merge import Merger
from ..rt.method import Method
from ..rt.playout import Action, Playout, Pull
from ..rt.rings import HEAD_WORDS, AudioRing
from ..rt.spec import StreamSpec
from ..rt.timing import Cause, Rung
from .blocks import Fade, SampleQueue, peak_millionths
from .engine_kernels import HIGHEST_NUMBER, NOT_KEPT, NOTES, count_period, hand_over, receive
from .memory import LOST, RESET, WANTED, BoxMemory
from .probe import LatencyProbe
from .rows import PacketRows
from .steering import Steering
from .store import PLACES, PacketStore
from .waker import Waker

__all__ = ["Engine"]

_FADE_S = 0.05
_UNTOLD_PACKETS = 8
"""Waking a process costs 20 us (x86, docs/box.md). Packets that arrived may wait so many for the conceal process to
hear of them: it takes 2 us for each when it is needed."""
# Plain numbers: numba looks up the type of an enum's member anew in each call, and allocates.
_CPU_DEADLINE, _INSERTED, _DEVICE_XRUN = int(Cause.CPU_DEADLINE), int(Cause.INSERTED), int(Cause.DEVICE_XRUN)
_LITE = int(Rung.LITE)


class Engine:
    """Captures, sends, receives, conceals and plays.

    Parameters
    ----------
    memory
        Of the box.
    spec, method
        Format of the stream; what conceals.
    period_samples
        What the device moves at once.
    playout
        Prepared.
    steering
        Resamples to the device's clock, or passes on.
    wake_net, wake_conceal
        Their pipes.
    clock_ns
        CLOCK_MONOTONIC, or a test's.
    """

    def __init__(
        self, memory: BoxMemory, spec: StreamSpec, method: Method, period_samples: int, playout: Playout,
        steering: Steering, wake_net: Waker, wake_conceal: Waker, clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:  # fmt: skip
        packet, channels = spec.packet_samples, spec.channels
        self._spec = spec
        self._clock_ns = clock_ns
        self._memory, self._counters, self._net = memory, memory.audio, memory.net
        self._playout, self._steering = playout, steering
        self._wake_net, self._wake_conceal = wake_net, wake_conceal
        self._packet_samples, self._packet_ns = packet, spec.packet_ns
        self._period_ns = round(1e9 * period_samples / spec.sample_rate_hz)
        self._ladder = Ladder(method)
        self._ladder.prepare(spec, memory.slots)
        self._merger = Merger()
        self._merger.prepare(spec)
        self._store = PacketStore(spec)
        self._rows = PacketRows(memory.timing, spec.packet_ns)
        self._captured = SampleQueue(channels, packet + period_samples)
        self._queue = SampleQueue(channels, period_samples + 2 * packet + 64)
        self._block, self._silence = (np.zeros((packet, channels), np.float32) for _ in range(2))
        self._damaged_before = 0
        self._capture_fade, self._playback_fade = (Fade(round(_FADE_S * spec.sample_rate_hz)) for _ in range(2))
        self._end_fade = Fade(packet)
        self._head, self._notes = np.zeros(HEAD_WORDS, np.int64), np.zeros(NOTES, np.int64)
        self._not_kept = np.zeros((NOT_KEPT, 3), np.int64)
        self._from_net, self._playout_arrays = memory.from_net.arrays, playout.arrays
        self._playout_state, self._tolerance_state = playout.arrays[0], playout.arrays[4]
        self._pulled, self._record_received, self._record_played = (
            ring.arrays for ring in (memory.pulled, memory.record_received, memory.record_played)
        )
        self._sent = self._gap_samples = self._untold = 0
        self._playing = self._has_played = False
        self._gone = False
        self._xrun = False
        self._pulled_ns = self._last_pulled_ns = 0
        self._tightness_millionths = self._counters.item(AudioCounter.TIGHTNESS_MILLIONTHS)
        self._warm_up()

        self.probe: LatencyProbe | None = None
        """Takes the place of the music while it is there."""

    def begin(self) -> None:
        """Forget what waited in the rings while nothing played: it is too old."""
        self._memory.from_net.skip()

    @property
    def faded_out(self) -> bool:
        """Whether `Command.STOP` was given and nothing is heard any more."""
        return self._playback_fade.done

    def period(self, captured: NDArray[np.float32], out: NDArray[np.float32], xrun: bool, gap_samples: int = 0) -> None:
        """Do one period's work.

        Parameters
        ----------
        captured : float32 [shape=(period_samples, channels)], full scale 1
            Faded in place while leaving.
        out : float32 [shape=(period_samples, channels)]
            Receives what to play.
        xrun
            Whether the device ran dry or over since the last period.
        gap_samples
            What it did not capture meanwhile: packets that were to hold it keep their numbers, and count as lost.
        """
        start_ns = self._clock_ns()
        counters = self._counters
        self._xrun |= xrun
        self._gap_samples += gap_samples
        leaving = counters.item(AudioCounter.COMMAND) == Command.STOP
        if leaving:
            self._capture_fade.apply(captured)
        if self.probe is None:
            self._send(captured, start_ns)
        self._follow_control(start_ns)
        self._receive()
        self._steering.period(start_ns, gap_samples)
        while self._queue.level_samples < len(out):
            self._play(start_ns)
        self._queue.get(out)
        if self.probe is not None:
            self.probe.period(captured, out)
            self._send(captured, start_ns)
        if leaving:
            self._playback_fade.apply(out)
        self._count(out)
        work_ns = self._clock_ns() - start_ns
        counters[AudioCounter.WORK_NS] = work_ns
        if work_ns > self._period_ns:
            counters[AudioCounter.PERIODS_OVERRUN] += 1

    def finish(self) -> None:
        """Hand over the timing rows that still wait."""
        self._rows.finish()

    def _send(self, captured: NDArray[np.float32], now_ns: int) -> None:
        queue = self._captured
        if queue.level_samples + len(captured) >= self._packet_samples:
            while self._gap_samples >= self._packet_samples:
                self._gap_samples -= self._packet_samples
                self._sent += 1
        if queue.level_samples == 0 and len(captured) == self._packet_samples:
            self._send_packet(captured, now_ns)
        else:
            queue.put(captured, len(captured))
            if queue.level_samples < self._packet_samples:
                return
            while queue.level_samples >= self._packet_samples:
                queue.get(self._block)
                self._send_packet(self._block, now_ns)
        self._wake_net.wake()

    def _send_packet(self, packet: NDArray[np.float32], now_ns: int) -> None:
        if not self._memory.to_net.push(self._sent, now_ns, 0, packet):
            self._counters[AudioCounter.CAPTURE_DROPPED] += 1
        self._sent += 1
        self._counters[AudioCounter.CAPTURE_PEAK] = peak_millionths(packet)

    def _follow_control(self, now_ns: int) -> None:
        tightness_millionths = self._counters.item(AudioCounter.TIGHTNESS_MILLIONTHS)
        if tightness_millionths != self._tightness_millionths:
            self._tightness_millionths = tightness_millionths
            self._playout.set_tightness(min(max(tightness_millionths, 0), 1_000_000) / 1_000_000)
        gone = self._net.item(NetCounter.PEER_STATE) == PeerState.GONE
        if gone and not self._gone:
            self._playout.stop(now_ns)
        self._gone = gone

    def _receive(self) -> None:
        """Take everything that has come."""
        again = True
        while again:
            count: int = receive(
                self._from_net, self._playout_arrays, self._store.arrays, self._head, self._notes, self._not_kept,
                self._counters,
            )  # fmt: skip
            for k in range(count):
                self._rows.late(self._not_kept.item(k, 0), self._not_kept.item(k, 1), self._not_kept.item(k, 2))
            again = count == NOT_KEPT
        self._rows.received(self._notes.item(HIGHEST_NUMBER))

    def _play(self, now_ns: int) -> None:
        """Pull one packet, and put what is to be heard of it into the queue."""
        pull = self._playout.pull(now_ns, self._queue.level_samples)
        action = pull.action
        if action == Action.STOPPED or action == Action.BUFFERING:  # noqa: PLR1714 (a set would be made anew)
            self._put(self._end_of_stream() if self._playing else self._silence)
            return
        pulled_ns = self._clock_ns()
        first = not self._playing
        if first:
            self._damaged_before += self._ladder.player.damaged_samples
            self._ladder.reset(from_silence=self._has_played)
            self._playing = self._has_played = True
        index, ladder = self._ladder.index, self._ladder
        if action == Action.PLAY:
            received = self._store.samples(pull.number)
            out = ladder.received(received)
        elif action == Action.MERGED:
            received = self._merger.merge(self._store.samples(pull.number), self._store.samples(pull.second))
            out = ladder.received(received)
        else:
            received = self._silence
            out = ladder.lost()
        flags = (0 if pull.present else LOST) | (WANTED if pull.prepare_next else 0) | (RESET if first else 0)
        hand_over(
            self._pulled, self._record_received, self._record_played, index, pull.number, pulled_ns, flags,
            received if pull.present else out, received, out,
        )  # fmt: skip
        self._untold += 1
        if flags or self._untold == _UNTOLD_PACKETS:
            self._untold = 0
            self._wake_conceal.wake()
        self._put(out)
        self._write_row(pull, pulled_ns, self._clock_ns())
        self._last_pulled_ns = pulled_ns

    def _end_of_stream(self) -> NDArray[np.float32]:
        """One packet more, faded: the music must not break off where the peer did."""
        self._playing = False
        np.copyto(self._block, self._ladder.lost())
        self._end_fade.restart()
        self._end_fade.apply(self._block)
        return self._block

    def _put(self, block: NDArray[np.float32]) -> None:
        resampled = self._steering.process(block)
        self._queue.put(resampled, self._steering.samples)

    def _write_row(self, pull: Pull, pulled_ns: int, done_ns: int) -> None:
        ladder, counters = self._ladder, self._counters
        number, rung, place = pull.number, int(ladder.rung), pull.number % PLACES
        total_ns = done_ns - pulled_ns
        margin_ns = self._packet_ns - total_ns
        cause = 0
        predict_ns = refine_ns = arrival_ns = inter_arrival_ns = 0
        if pull.present:
            arrival_ns = self._store.arrival_ns.item(place)
            inter_arrival_ns = self._store.inter_arrival_ns.item(place)
        else:
            counters[AudioCounter.CONCEALED] += 1
            if ladder.missed:
                counters[AudioCounter.DEADLINE_MISSES] += 1
                margin_ns, total_ns = 0, self._packet_ns
                cause = _CPU_DEADLINE
            elif ladder.ready_ns:
                margin_ns = pulled_ns - ladder.ready_ns
                total_ns = max(0, ladder.ready_ns - self._last_pulled_ns)
                if rung >= _LITE:
                    refine_ns = ladder.work_ns
                else:
                    predict_ns = ladder.work_ns
            if pull.action == Action.INSERTED:
                cause = _INSERTED
            counters[RUNG_COUNTERS_FROM + rung] += 1
        if self._xrun:
            cause = _DEVICE_XRUN
        self._rows.add(
            number, pulled_ns, not pull.present, rung, predict_ns, refine_ns, done_ns - pulled_ns, total_ns,
            margin_ns, ladder.missed and not pull.present, arrival_ns, inter_arrival_ns, pull.depth_samples,
            self._xrun, cause,
        )  # fmt: skip
        self._xrun = False
        counters[AudioCounter.PLAYED] += 1

    def _count(self, out: NDArray[np.float32]) -> None:
        count_period(
            self._counters, self._playout_state, self._tolerance_state, self._packet_samples,
            self._steering.drift_ppb, self._damaged_before + self._ladder.player.damaged_samples, out,
        )  # fmt: skip

    def _warm_up(self) -> None:
        """Load the kernels, on memory of our own: the box's may be in use."""
        peak_millionths(self._silence)
        ring = AudioRing(self._spec, 2)
        receive(
            ring.arrays, self._playout_arrays, self._store.arrays, self._head, self._notes, self._not_kept,
            self._counters,
        )  # fmt: skip
        hand_over(ring.arrays, ring.arrays, ring.arrays, 0, 0, 0, 0, *[self._silence] * 3)
        count_period(self._counters.copy(), self._playout_state, self._tolerance_state, 1, 0, 0, self._silence)
