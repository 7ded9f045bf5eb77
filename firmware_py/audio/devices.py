"""Sound devices: which there are, and which one a name means."""

from dataclasses import dataclass

from ..errors import ContinuoError, InputError, MissingError
from ..rt.hush import hushed_stderr
from .alsa import BusyError, Direction, Hint, hints, open_pcm, release
from .negotiation import Offer, probe

__all__ = ["Device", "find_device", "list_devices"]

_CONVERTERS = {
    *("null", "lavrate", "samplerate", "speexrate", "speex", "upmix", "vdownmix", "oss", "a52", "usbstream"),
}
"""What ALSA's configuration also lists: no devices, but ways to another one."""


@dataclass(frozen=True)
class Device:
    """One PCM and what it offers."""

    name: str
    description: str
    offers: dict[Direction, Offer]
    troubles: dict[Direction, str]
    """Why it does not say what it offers: in use, not there."""


def list_devices(*, everything: bool = False) -> list[Device]:
    """Open every device and see what it offers. Whatever else writes to standard error meanwhile is not heard.

    Parameters
    ----------
    everything
        Also converters, a card's views as surround sound and the like, and what cannot be opened for another reason
        than that it is in use.

    Raises
    ------
    MissingError
        When there is no ALSA or no pyalsaaudio.
    """
    devices = []
    for hint in hints():
        if not everything and not _is_device(hint.name):
            continue
        offers, troubles = {}, {}
        for direction in hint.directions:
            try:
                with hushed_stderr():  # libraries behind ALSA complain of servers that do not run
                    offers[direction] = probe(hint.name, direction)
            except ContinuoError as error:
                if everything or isinstance(error, BusyError):
                    troubles[direction] = str(error)
        if offers or troubles:
            devices.append(Device(hint.name, hint.description, offers, troubles))
    return devices


def find_device(wanted: str, direction: Direction) -> str:
    """The PCM that a name means: one that ALSA knows by it, or the only one whose name or description contains it.

    Of a card's many PCMs, the one without conversions (``hw:``) is meant.

    Raises
    ------
    MissingError
        When nothing is called like that (now).
    InputError
        When several are.
    """
    listed = [hint for hint in hints() if direction in hint.directions]
    if any(hint.name == wanted for hint in listed) or _can_be_opened(wanted, direction):
        return wanted
    words = wanted.casefold()
    found = [hint for hint in listed if words in f"{hint.name}\n{hint.description}".casefold()]
    chosen = [hint for hint in found if hint.name.startswith("hw:")] or [h for h in found if _is_device(h.name)]
    if not chosen:
        raise MissingError(
            f"no device to {_VERBS[direction]} is called {wanted!r}: connect it, or choose another audio.device: "
            "`continuo devices` lists those there are"
        )
    if len(chosen) > 1:
        raise InputError(f"{wanted!r} may be {_either(chosen)}: write more of the name in audio.device")
    return chosen[0].name


_VERBS = {Direction.PLAYBACK: "play on", Direction.CAPTURE: "capture from"}


def _can_be_opened(name: str, direction: Direction) -> bool:
    try:
        release(open_pcm(name, direction))
    except MissingError:
        return False
    except ContinuoError:  # it is there, and whoever opens it in earnest will hear what is wrong
        return True
    return True


def _is_device(name: str) -> bool:
    kind, colon, _ = name.partition(":")
    return kind == "hw" if colon else kind not in _CONVERTERS


def _either(found: list[Hint]) -> str:
    return " or ".join(hint.name for hint in found)
