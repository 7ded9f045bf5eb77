"""Writes what is received and what is played to disk, in a thread of the control process, from two rings of packets."""

import os
import threading
import time
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..box.memory import LOST, RESET
from ..rt.rings import ARRIVAL_NS, FLAGS, HEAD_WORDS, AudioRing
from ..rt.spec import StreamSpec
from .take import Take, repair_takes, take_paths, unfinished_takes

__all__ = ["Recorder"]

_PERIOD_S = 0.1
_RETRY_S = 5.0
_BLOCK_PACKETS = 64
_TAKE_S = 3600
_HOLE_NS = 500_000_000


class Recorder:
    """Records while the block runs; a context manager. A new take begins with every stream, after a hole, each hour.

    Raises nothing in operation, and audio never notices it: what cannot be recorded is counted. Recording stops when
    the takes in the folder would exceed ``max_bytes``, or the disk would have less than ``free_bytes`` left, and goes
    on once there is room; older takes are never deleted.

    Parameters
    ----------
    folder
        Where the takes go; it is made if need be. What a killed process left there is repaired.
    spec, method
        Format of the packets; what conceals.
    received, played
        Rings with one packet each per packet played, of the same time ``ARRIVAL_NS``, in the order of playing, with the
        flags `LOST` and `RESET` (the first of a stream). Nobody else may pop them.
    max_bytes
        What all takes in the folder may take together.
    free_bytes
        What is left to everybody else.
    """

    def __init__(
        self,
        folder: str | Path,
        spec: StreamSpec,
        method: str,
        received: AudioRing,
        played: AudioRing,
        *,
        max_bytes: int,
        free_bytes: int = 50_000_000,
    ) -> None:
        self.packets_recorded = 0
        self.packets_missed = 0
        """Played and not recorded: no room, or the disk was too slow."""
        self.problem = ""
        """Why nothing is being recorded right now; empty: it is."""
        self._folder = Path(folder)
        self._spec = spec
        self._method = method
        self._rings = (received, played)
        self._dropped = self._dropped_now()
        self._max_bytes = max_bytes
        self._second_bytes = 2 * 3 * spec.sample_rate_hz * spec.channels
        self._free_bytes = free_bytes
        shape = (_BLOCK_PACKETS, spec.packet_samples, spec.channels)
        self._received: NDArray[np.float32] = np.zeros(shape, np.float32)
        self._played: NDArray[np.float32] = np.zeros(shape, np.float32)
        self._lost = np.zeros(_BLOCK_PACKETS, np.bool_)
        self._heads = [np.zeros(HEAD_WORDS, np.int64) for _ in range(2)]
        self._count = 0
        self._last_ns = 0
        self._take: Take | None = None
        self._others_bytes = 0
        self._retry_at_s = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._stop.clear()
        self._thread = threading.Thread(target=self._record_until_stopped, name="recorder", daemon=True)
        left = unfinished_takes(self._folder)
        self._thread.start()
        repair = threading.Thread(target=repair_takes, args=(self._folder, left), name="recording-repair", daemon=True)
        repair.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def note(self) -> str:
        """What the status should say: why nothing is recorded, or ""."""
        return f"not recording: {self.problem}" if self.problem else ""

    def _record_until_stopped(self) -> None:
        last_time = False
        while not last_time:
            last_time = self._stop.wait(_PERIOD_S)
            while self._fill_block():
                self._write_block()
            self._write_block()
        self._finish()

    def _fill_block(self) -> bool:
        """Pop until the block is full or must be written first; False: the rings are empty."""
        while self._pair_is_there():
            head = self._heads[0]
            now_ns, flags = head.item(ARRIVAL_NS), head.item(FLAGS)
            if flags & RESET or now_ns - self._last_ns > _HOLE_NS:
                self._write_block()
                self._finish()
            self._last_ns = now_ns
            for ring, head, block in zip(self._rings, self._heads, (self._received, self._played), strict=True):
                ring.pop(head, block[self._count])
            self._lost[self._count] = flags & LOST != 0
            self._count += 1
            if self._count == _BLOCK_PACKETS:
                return True
        return False

    def _pair_is_there(self) -> bool:
        """Look at both rings' oldest packets; one whose companion found its ring full is dropped."""
        received, played = self._rings
        received_head, played_head = self._heads
        while received.peek(received_head) and played.peek(played_head):
            if received_head.item(ARRIVAL_NS) == played_head.item(ARRIVAL_NS):
                return True
            older = received if received_head.item(ARRIVAL_NS) < played_head.item(ARRIVAL_NS) else played
            older.discard()
        return False

    def _write_block(self) -> None:
        count, self._count = self._count, 0
        dropped = self._dropped_now()
        self.packets_missed += dropped - self._dropped
        self._dropped = dropped
        if not count:
            return
        if self._take is None:
            self._begin()
        if self._take is None:
            self.packets_missed += count
            return
        self._take.write(self._received[:count], self._played[:count], self._lost[:count])
        if self._take.failure is not None:
            reason = self._take.failure.strerror or type(self._take.failure).__name__
            self.packets_missed += count
            self._finish()
            self._refuse(reason)
            return
        self.packets_recorded += count
        if self._take.packets * self._spec.packet_samples >= _TAKE_S * self._spec.sample_rate_hz:
            self._finish()
        self._check_room()

    def _begin(self) -> None:
        if time.monotonic() < self._retry_at_s:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._others_bytes = sum(path.stat().st_size for path in take_paths(self._folder))
            if full := self._full(0):
                self._refuse(full)
                return
            self._take = Take(self._folder, self._spec, self._method, datetime.now().astimezone())
        except OSError as error:
            self._refuse(error.strerror or type(error).__name__)
        else:
            self.problem = ""

    def _check_room(self) -> None:
        if self._take is None:
            return
        try:
            full = self._full(self._take.bytes)
        except OSError as error:
            full = error.strerror or type(error).__name__
        if full:
            self._finish()
            self._refuse(full)

    def _full(self, take_bytes: int) -> str:
        if self._others_bytes + take_bytes + self._second_bytes > self._max_bytes:
            return f"the recordings take {self._max_bytes // 1_000_000} MB, as record.max_mb allows: move some away"
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < self._free_bytes:
            return "the disk is nearly full: free some space"
        return ""

    def _refuse(self, reason: str) -> None:
        self.problem = reason
        self._retry_at_s = time.monotonic() + _RETRY_S

    def _finish(self) -> None:
        take, self._take = self._take, None
        if take is None:
            return
        try:
            take.finish()
        except OSError as error:
            self._refuse(error.strerror or type(error).__name__)

    def _dropped_now(self) -> int:
        return max(ring.dropped_packets for ring in self._rings)
