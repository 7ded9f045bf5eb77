"""Starts the processes of a box, keeps them running, and ends them; finds those again that play on without it."""

import contextlib
import hashlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..control.config import BoxConfig
from ..errors import ContinuoError
from ..methods import METHODS
from ..rt.counters import AudioCounter, Command
from .child import encode_config
from .memory import BoxMemory
from .place import Place, ProcessMark, is_running, mark_of

__all__ = ["ChildFailedError", "Supervisor"]

_MODULES = {
    "audio": "continuo.firmware_py.box.audio_process",
    "conceal": "continuo.firmware_py.box.conceal_process",
    "net": "continuo.firmware_py.box.net_process",
}
_HEARTBEATS = {
    "audio": AudioCounter.HEARTBEAT_AUDIO,
    "conceal": AudioCounter.HEARTBEAT_CONCEAL,
    "net": AudioCounter.HEARTBEAT_NET,
}
_RESTARTS = {"conceal": AudioCounter.RESTARTS_CONCEAL, "net": AudioCounter.RESTARTS_NET}
_START_S = 300.0
"""Compiling every kernel for the first time takes a small board minutes."""
_STUCK_S = 5.0
_FADE_S = 3.0
_GOODBYE_S = 2.0
_KILLED_S = 10.0
"""A machine that is out of memory or waits for a device may take a while even over SIGKILL."""
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0)
_FORGET_S = 60.0


class ChildFailedError(ContinuoError):
    """A child process that the box cannot do without has ended; it has said why."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class _Running:
    """A process that we look after: our child, or one that our predecessor left."""

    def __init__(self, mark: ProcessMark, child: subprocess.Popen[bytes] | None) -> None:
        self.mark = mark
        self._child = child
        self.since_s = time.monotonic()
        self.descriptor = os.pidfd_open(mark.pid)

    @property
    def ended(self) -> bool:
        """Whether it ended with all its threads; its remains may wait for its parent yet, if that is not us."""
        if self._child is not None and self._child.poll() is not None:
            return True
        return bool(select.select([self.descriptor], [], [], 0)[0])

    @property
    def how(self) -> int | None:
        """Exit code, or minus the signal's number; None: not known, somebody else's child."""
        return self._child.returncode if self._child is not None else None

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, number)

    def wait(self, timeout_s: float) -> bool:
        until_s = time.monotonic() + timeout_s
        while not self.ended and (left_s := until_s - time.monotonic()) > 0:
            with contextlib.suppress(InterruptedError):
                select.select([self.descriptor], [], [], left_s)
        return self.ended

    def end(self, timeout_s: float) -> None:
        """SIGTERM, and SIGKILL if it takes longer than that; returns when it is gone."""
        self.send(signal.SIGTERM)
        if not self.wait(timeout_s):
            self.send(signal.SIGKILL)
            self.wait(_KILLED_S)

    def close(self) -> None:
        os.close(self.descriptor)


def _adopt(mark: ProcessMark) -> _Running | None:
    """A process that our predecessor left; None when it has ended meanwhile."""
    try:
        process = _Running(mark, None)
    except ProcessLookupError:
        return None
    if is_running(mark):  # it is that one that we hold, and none that got its number since
        return process
    process.close()
    return None


class Supervisor:
    """Looks after the processes of one box.

    Attributes
    ----------
    memory : BoxMemory
    attached : bool
        Whether the audio was playing already when we came.
    """

    def __init__(self, place: Place, config: BoxConfig) -> None:
        self._place = place
        self._data = encode_config(config)
        self._fingerprint = hashlib.sha256(self._data + sys.executable.encode()).hexdigest()
        self._running: dict[str, _Running] = {}
        self._failures: dict[str, list[float]] = {name: [] for name in _RESTARTS}
        spec, method = config.stream.spec, METHODS[config.conceal.method]
        fingerprint, marks = place.read_marks()
        found = {name: process for name, mark in marks.items() if (process := _adopt(mark)) is not None}
        self.attached = fingerprint == self._fingerprint and "audio" in found
        if self.attached:
            self._running = {name: found.pop(name) for name in _MODULES if name in found}
        for process in found.values():  # of another configuration, or without audio
            process.end(_FADE_S)
            process.close()
        place.make_pipes(*_MODULES)
        self.memory = BoxMemory(place.memory, spec, method, create=not self.attached)
        if self.attached:
            self.memory.audio[AudioCounter.COMMAND] = Command.PLAY
            self.memory.audio[AudioCounter.RESTARTS_CONTROL] += 1

    @property
    def audio(self) -> NDArray[np.int64]:
        """The counters by `AudioCounter`."""
        return self.memory.audio

    def start(self, given_up: Callable[[], bool] = lambda: False) -> None:
        """Start every process that does not run, and wait until all are at work, or ``given_up`` says to leave.

        Raises
        ------
        ChildFailedError
            When one cannot begin: no such device, port taken. It has said so itself.
        """
        for name in _MODULES:
            if name not in self._running:
                self._start(name)
        self._note()
        until_s = time.monotonic() + _START_S
        while waiting := [name for name, counter in _HEARTBEATS.items() if not self.audio[counter]]:
            for name in waiting:
                if self._running[name].ended:
                    raise self._failed(name)
            if given_up():
                return
            if time.monotonic() > until_s:
                raise ChildFailedError(f"the {waiting[0]} process does not begin: see what it said above", 4)
            time.sleep(0.02)

    def tick(self) -> None:
        """Restart what died or is stuck; call it several times a second.

        Raises
        ------
        ChildFailedError
            When the audio process has ended.
        """
        now_s = time.monotonic()
        self.audio[AudioCounter.HEARTBEAT_CONTROL] = time.monotonic_ns()
        if "audio" not in self._running or self._running["audio"].ended:
            raise self._failed("audio")
        for name, counter in _RESTARTS.items():
            process = self._running.get(name)
            if process is not None and not process.ended and self._is_stuck(name, process):
                process.send(signal.SIGKILL)
                process.wait(_KILLED_S)
            if process is not None and process.ended:
                process.close()
                del self._running[name]
                self._failures[name] = [t for t in self._failures[name] if t > now_s - _FORGET_S] + [now_s]
                self.audio[counter] += 1
            if name not in self._running and now_s >= self._may_start_s(name):
                self._start(name)
                self._note()

    @property
    def audio_is_alive(self) -> bool:
        """Whether the audio process was round its loop lately."""
        return time.monotonic_ns() - self.audio.item(AudioCounter.HEARTBEAT_AUDIO) < _STUCK_S * 1e9

    def wait(self, timeout_s: float) -> None:
        """Sleep until a process ends, at most so long. Signals wake too."""
        with contextlib.suppress(InterruptedError):
            select.select([process.descriptor for process in self._running.values()], [], [], timeout_s)

    def end_processes(self) -> None:
        """Fade out, say goodbye, end; none is left running. Does nothing the second time."""
        if not self._running:
            return
        self.audio[AudioCounter.COMMAND] = Command.STOP
        if "audio" in self._running:
            self._running["audio"].wait(_FADE_S)
        for name in ("audio", "net", "conceal"):
            if name in self._running:
                process = self._running.pop(name)
                process.end(_GOODBYE_S)
                process.close()

    def _start(self, name: str) -> None:
        self.audio[_HEARTBEATS[name]] = 0
        child = subprocess.Popen(
            [sys.executable, "-m", _MODULES[name], str(self._place.folder)], stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us
        )  # fmt: skip
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(self._data)
            child.stdin.close()
        mark = mark_of(child.pid) or ProcessMark(child.pid, 0)
        self._running[name] = _Running(mark, child)

    def _note(self) -> None:
        self._place.write_marks(self._fingerprint, {name: process.mark for name, process in self._running.items()})

    def _is_stuck(self, name: str, process: _Running) -> bool:
        """Whether it was at work and is no longer; one that begins may take its time."""
        heartbeat_ns = self.audio.item(_HEARTBEATS[name])
        if not heartbeat_ns:
            return time.monotonic() > process.since_s + _START_S
        return time.monotonic_ns() - heartbeat_ns > _STUCK_S * 1e9

    def _may_start_s(self, name: str) -> float:
        failures = self._failures[name]
        if not failures:
            return 0.0
        return failures[-1] + _BACKOFF_S[min(len(failures), len(_BACKOFF_S)) - 1]

    def _failed(self, name: str) -> ChildFailedError:
        process = self._running.get(name)
        how = process.how if process is not None else None
        said = how is not None and how > 0
        reason = (
            f"signal {-how}" if how is not None and how < 0 else f"exit code {how}" if how is not None else "killed"
        )
        text = "" if said else f"the {name} process ended ({reason}): start the box again"
        return ChildFailedError(text, how if said and how in (2, 3, 4) else 4)
