"""The one place that loads pyalsaaudio, and what it lacks: descriptions of devices, and errors that say what to do."""

import contextlib
import ctypes
import errno
import functools
import importlib
import os
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from ..errors import ContinuoError, InputError, MissingError, RunError

__all__ = ["BusyError", "Direction", "Hint", "Pcm", "alsa_error", "hints", "load_alsa", "open_pcm", "release"]


class BusyError(RunError):
    """Another program uses the device."""


class Direction(IntEnum):
    """Of a PCM; the values are ALSA's (``snd_pcm_stream_t``)."""

    PLAYBACK = 0
    CAPTURE = 1


class Pcm(Protocol):
    """What we use of ``alsaaudio.PCM``. Anything but `avail` may raise `alsa_error`."""

    def avail(self) -> int:
        """Samples per channel that can be moved now, or a negative errno; plugins say -EPIPE for any trouble."""

    def state(self) -> int:
        """ALSA's ``snd_pcm_state_t``."""

    def read(self) -> tuple[int, bytes]:
        """One period; (-EPIPE, b"") after an overrun, and the PCM is prepared again; (0, b"") when nothing is there."""

    def write(self, data: Any) -> int:
        """Samples per channel taken; -EPIPE after an underrun, and the PCM is prepared again."""

    def drop(self) -> int:
        """Stop at once."""

    def close(self) -> None:
        """Drain, unless it was dropped, and close."""

    def info(self) -> dict[str, Any]:
        """What was negotiated."""

    def getformats(self) -> dict[str, int]:
        """Every format that it has."""

    def getrates(self) -> int | tuple[int, int] | list[int]:
        """The one rate, or the least and the most of a range, or some of many."""

    def getchannels(self) -> list[int]:
        """Every number of channels that it has."""

    def polldescriptors(self) -> list[tuple[int, int]]:
        """File descriptors and events to wait for."""

    def polldescriptors_revents(self, descriptors: list[tuple[int, int]]) -> int:
        """What the events of all of them mean to the PCM."""


@dataclass(frozen=True)
class Hint:
    """A PCM that ALSA's configuration lists."""

    name: str
    description: str
    directions: tuple[Direction, ...]


@functools.cache
def load_alsa() -> Any:
    """The module ``alsaaudio``, with ALSA's own messages on standard error silenced: ours say what to do.

    Raises
    ------
    MissingError
        When it is not installed.
    """
    try:
        module = importlib.import_module("alsaaudio")
    except ImportError as error:
        raise MissingError(
            f"the sound device needs pyalsaaudio ({error}): "
            "apt-get install gcc libasound2-dev, then pip install 'continuo-nmp[box]'"
        ) from None
    # The handler is variadic C and is called on the audio thread: any C function that ignores its arguments will do.
    _libasound().snd_lib_error_set_handler(ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p))
    return module


def alsa_error() -> type[Exception]:
    """What pyalsaaudio raises."""
    kind: type[Exception] = load_alsa().ALSAAudioError
    return kind


def hints() -> list[Hint]:
    """Every PCM that ALSA's configuration lists, cards that were plugged in since included.

    Raises
    ------
    MissingError
        When there is no ALSA.
    """
    load_alsa()
    library = _libasound()
    entries = ctypes.POINTER(ctypes.c_void_p)()
    if library.snd_device_name_hint(-1, b"pcm", ctypes.byref(entries)) < 0:
        return []
    found = []
    for entry in iter(_until_null(entries)):
        name, description, direction = (_hint_text(entry, key) for key in (b"NAME", b"DESC", b"IOID"))
        if name:
            directions = tuple(d for d, word in _DIRECTION_WORDS.items() if direction in ("", word))
            found.append(Hint(name, ", ".join(description.split("\n")), directions))
    library.snd_device_name_free_hint(entries)
    return found


def open_pcm(
    name: str,
    direction: Direction,
    *,
    sample_rate_hz: int = 48_000,
    channels: int = 2,
    alsa_format: int = 2,
    period_samples: int = 1024,
    periods: int = 2,
) -> Pcm:
    """Open a PCM that never blocks. ALSA settles for something near what is asked for: read `Pcm.info`.

    Raises
    ------
    MissingError
        When there is no such device (now).
    BusyError
        When it is in use.
    RunError
        When it may not be opened, or something else is wrong.
    InputError
        When it cannot be set to anything like that.
    """
    alsa = load_alsa()
    try:
        pcm: Pcm = alsa.PCM(
            type=direction,
            mode=alsa.PCM_NONBLOCK,
            device=name,
            rate=sample_rate_hz,
            channels=channels,
            format=alsa_format,
            periodsize=period_samples,
            periods=periods,
        )
    except alsa.ALSAAudioError as error:
        raise _explained(name, direction, str(error)) from None
    return pcm


def release(pcm: Pcm) -> None:
    """Stop at once and close, whatever state it is in."""
    for step in (pcm.drop, pcm.close):
        with contextlib.suppress(alsa_error()):
            step()


_DIRECTION_WORDS = {Direction.PLAYBACK: "Output", Direction.CAPTURE: "Input"}


def _explained(name: str, direction: Direction, text: str) -> ContinuoError:
    """pyalsaaudio's errors carry nothing but their text: ``REASON [DEVICE]``."""
    reason = text.removesuffix(f" [{name}]")
    what = f"{name} cannot be opened for {direction.name.lower()}"
    if reason in map(os.strerror, (errno.ENOENT, errno.ENODEV, errno.ENXIO)):
        return MissingError(f"{what}: there is no such sound device: `continuo devices` lists those there are")
    if reason == os.strerror(errno.EBUSY):
        return BusyError(f"{what}: another program uses it: stop that program, or choose another audio.device")
    if reason in map(os.strerror, (errno.EACCES, errno.EPERM)):
        return RunError(f"{what}: {reason}: add the user to the group audio")
    if reason == os.strerror(errno.EINVAL):
        return InputError(f"{what} in this format: see `continuo devices`")
    return RunError(f"{what}: {reason}: choose another audio.device")


@functools.cache
def _libasound() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libasound.so.2")
    except OSError as error:
        raise MissingError(f"there is no ALSA ({error}): apt-get install libasound2") from None
    library.snd_device_name_get_hint.restype = ctypes.c_void_p
    library.snd_device_name_get_hint.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


def _until_null(entries: Any) -> list[int]:
    found: list[int] = []
    while entries[len(found)]:
        found.append(entries[len(found)])
    return found


def _hint_text(entry: int, key: bytes) -> str:
    address = _libasound().snd_device_name_get_hint(entry, key)
    if not address:
        return ""
    text = ctypes.string_at(address).decode("utf-8", "replace")
    free = ctypes.CDLL(None).free
    free.argtypes = [ctypes.c_void_p]
    free(address)
    return text
