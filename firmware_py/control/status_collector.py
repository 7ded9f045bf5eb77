"""Watches the shared counters and the timing rows, and says at any moment what the box is doing."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..net.counters import NetCounter
from ..rt.counters import CAUSE_COUNTERS_FROM, AudioCounter
from ..rt.timing import Cause
from .deadline import DEADLINE_EDGES, deadline_bins, deadline_shares
from .status import SessionFacts, StatusSnapshot, advice, dbfs, drop_counts, rung_counts, state_of

__all__ = ["StatusCollector"]

_SECOND_NS = 1_000_000_000
_HISTORY_S = 120
_RECENT_S = 10
_PEAK_HOLD_NS = 400_000_000
_PACKETS = {
    "played": AudioCounter.PLAYED, "lost": AudioCounter.LOST_NETWORK, "late": AudioCounter.LATE,
    "reordered": AudioCounter.REORDERED, "duplicated": AudioCounter.DUPLICATED, "concealed": AudioCounter.CONCEALED,
    "inserted": AudioCounter.INSERTED, "merged": AudioCounter.DROPPED,
}  # fmt: skip
_MACHINE = (
    AudioCounter.DEADLINE_MISSES, AudioCounter.PERIODS_OVERRUN, AudioCounter.XRUNS_CAPTURE,
    AudioCounter.XRUNS_PLAYBACK, AudioCounter.DEVICE_LOST, AudioCounter.DEVICE_REOPENED, AudioCounter.CAPTURE_DROPPED,
    AudioCounter.RECEIVE_DROPPED, AudioCounter.DAMAGED_SAMPLES, AudioCounter.RESTARTS_NET,
    AudioCounter.RESTARTS_CONCEAL, AudioCounter.RESTARTS_CONTROL, AudioCounter.LOG_DROPPED, AudioCounter.REFINED_SLOWLY,
)  # fmt: skip
_VALUES_FROM = AudioCounter.DEPTH_PACKETS_NOW
_NET_VALUES_FROM = NetCounter.PEER_STATE
_SENT = (NetCounter.SENT, NetCounter.RECEIVED, NetCounter.SEND_DROPPED, NetCounter.SEND_FAILED)


class StatusCollector:
    """Makes snapshots of a running box; a `row_pump.RowSink`. Any thread may call any of its methods.

    Parameters
    ----------
    session
        What does not change.
    audio, net
        The shared counters, `AudioCounter` and `NetCounter`; read, and written by `set_tightness` and `take` alone.
    notes
        Asked for each snapshot for something to add to its advice; "": nothing.
    clock_ns
        CLOCK_MONOTONIC in nanoseconds, as the processes' heartbeats have it.
    """

    def __init__(
        self,
        session: SessionFacts,
        audio: NDArray[np.int64],
        net: NDArray[np.int64],
        *,
        notes: Sequence[Callable[[], str]] = (),
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._session = session
        self._audio = audio
        self._net = net
        self._notes = tuple(notes)
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._peaks: deque[tuple[int, int, int]] = deque()
        self._marks: deque[tuple[int, NDArray[np.int64], NDArray[np.int64]]] = deque(maxlen=_RECENT_S + 1)
        self._seconds: deque[tuple[int, int, int, float]] = deque(maxlen=_HISTORY_S)
        self._deadline = np.zeros(len(DEADLINE_EDGES) + 1, np.int64)
        self._deadline_used = 0.0
        self._has_rows = False
        self.sample()

    def take(self, rows: NDArray[np.void], dropped_rows: int) -> None:
        """Count the causes and the shares of the deadline in rows [shape=(n,)]."""
        del dropped_rows
        if not len(rows):
            return
        bins = np.bincount(deadline_bins(rows), minlength=len(DEADLINE_EDGES) + 1)
        shares = deadline_shares(rows)
        known = rows["cause"][rows["cause"] < len(Cause)] if "cause" in (rows.dtype.names or ()) else rows["lost"][:0]
        with self._lock:
            self._has_rows = True
            self._deadline += bins
            self._deadline_used += float(shares[np.isfinite(shares)].sum())
            counts = np.bincount(known, minlength=len(Cause))[1:]
            first = CAUSE_COUNTERS_FROM + 1  # in shared memory: whoever looks from outside sees them too
            self._audio[first : first + len(counts)] += counts

    def sample(self) -> None:
        """Look at levels and counters; call it some ten times a second or more, or peaks between are not seen."""
        with self._lock:
            self._sample(self._clock_ns())

    def set_tightness(self, tightness: float) -> None:
        """Let the playout wait longer (towards 0) or less long (towards 1), at once and until the box ends.

        InputError when it is not from 0 to 1, or the buffer is fixed.
        """
        if self._session.tightness is None:
            raise InputError("the buffer is fixed: set playout.fixed_packets = -1 to let it follow the network")
        if not 0 <= tightness <= 1:
            raise InputError(f"tightness is {tightness}: choose from 0 to 1")
        self._audio[AudioCounter.TIGHTNESS_MILLIONTHS] = round(1e6 * tightness)

    def snapshot(self) -> StatusSnapshot:
        """What the box is doing now."""
        notes = [note for ask in self._notes if (note := ask())]
        with self._lock:
            now_ns = self._clock_ns()
            self._sample(now_ns)
            return self._snapshot(now_ns, notes)

    def _sample(self, now_ns: int) -> None:
        capture, playback = (
            int(self._audio[which]) for which in (AudioCounter.CAPTURE_PEAK, AudioCounter.PLAYBACK_PEAK)
        )
        self._peaks.append((now_ns, capture, playback))
        while self._peaks[0][0] < now_ns - _PEAK_HOLD_NS:
            self._peaks.popleft()
        if self._marks and now_ns - self._marks[-1][0] < _SECOND_NS:
            return
        audio, net = self._audio.copy(), self._net.copy()
        if self._marks:
            counted = np.maximum(audio - self._marks[-1][1], 0)
            missed = counted[AudioCounter.DEADLINE_MISSES] + counted[AudioCounter.PERIODS_OVERRUN]
            lost, late = int(counted[AudioCounter.LOST_NETWORK]), int(counted[AudioCounter.LATE])
            self._seconds.append((lost, late, int(missed), self._in_ms(audio[AudioCounter.DEPTH_SAMPLES_NOW])))
        self._marks.append((now_ns, audio, net))

    def _snapshot(self, now_ns: int, notes: list[str]) -> StatusSnapshot:
        audio, net = self._audio.copy(), self._net.copy()
        since_ns, audio_before, net_before = self._marks[0]
        lately, lately_net = np.maximum(audio - audio_before, 0), np.maximum(net - net_before, 0)
        lately[_VALUES_FROM:], lately_net[_NET_VALUES_FROM:] = audio[_VALUES_FROM:], net[_NET_VALUES_FROM:]
        played = int(lately[AudioCounter.PLAYED])
        recent = {
            name: round(int(lately[_PACKETS[name]]) / played, 6) if played else None
            for name in ("lost", "late", "concealed")
        }
        started_ns, peer_reports = int(audio[AudioCounter.STARTED_NS]), int(net[NetCounter.RTCP_RECEIVED]) > 0
        click, network_click = (
            int(audio[which]) for which in (AudioCounter.ROUND_TRIP_CLICK_SAMPLES, AudioCounter.NETWORK_CLICK_SAMPLES)
        )
        return StatusSnapshot(
            session=self._session,
            state=state_of(audio, net, now_ns),
            playing_s=round((now_ns - started_ns) / 1e9, 1) if started_ns else None,
            packets={name: int(audio[which]) for name, which in _PACKETS.items()}
            | {"received": int(audio[AudioCounter.RECEIVED]), "recovered": int(net[NetCounter.RECOVERED])},
            rungs=rung_counts(audio),
            recent_s=round((now_ns - since_ns) / 1e9, 1),
            recent=recent,
            causes={
                cause.name.lower(): int(audio[CAUSE_COUNTERS_FROM + cause]) for cause in Cause if cause != Cause.NONE
            },
            deadline=tuple(self._deadline.tolist()) if self._has_rows else None,
            deadline_used=self._deadline_used,
            levels_dbfs={
                "capture": dbfs(max(peak[1] for peak in self._peaks)),
                "playback": dbfs(max(peak[2] for peak in self._peaks)),
            },
            depth_ms=self._in_ms(audio[AudioCounter.DEPTH_SAMPLES_NOW]),
            tolerance_ms=self._in_ms(audio[AudioCounter.TOLERANCE_SAMPLES]),
            tightness=self._tightness(int(audio[AudioCounter.TIGHTNESS_MILLIONTHS])),
            drift_ppm=round(int(audio[AudioCounter.DRIFT_PPB]) / 1000, 3),
            round_trip_ms=_known_ms(net[NetCounter.ROUND_TRIP_NS]),
            latency_ms=self._in_ms(click) if click else None,
            network_latency_ms=self._in_ms(network_click) if network_click else None,
            peer_jitter_ms=_known_ms(net[NetCounter.PEER_JITTER_NS]),
            lost_by_peer=int(net[NetCounter.LOST_BY_PEER]) if peer_reports else None,
            machine={which.name.lower(): int(audio[which]) for which in _MACHINE},
            datagrams={which.name.lower(): int(net[which]) for which in _SENT} | drop_counts(net),
            history=self._history(),
            advice=(*advice(self._session, lately, lately_net, recent), *notes),
        )

    def _tightness(self, set_millionths: int) -> float | None:
        configured = self._session.tightness
        return configured if configured is None or set_millionths < 0 else set_millionths / 1e6

    def _history(self) -> dict[str, list[float]]:
        columns = zip(*self._seconds, strict=True) if self._seconds else ([] for _ in range(4))
        return {
            name: list(column) for name, column in zip(("lost", "late", "missed", "depth_ms"), columns, strict=True)
        }

    def _in_ms(self, samples: int | np.int64) -> float:
        return round(int(samples) * 1000 / self._session.sample_rate_hz, 3)


def _known_ms(nanoseconds: np.int64) -> float | None:
    return round(int(nanoseconds) / 1e6, 3) if nanoseconds > 0 else None
