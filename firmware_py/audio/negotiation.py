"""What a device offers, and opening it exactly as asked for: pyalsaaudio alone settles for something near."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..rt.spec import StreamSpec
from .alsa import Direction, Pcm, alsa_error, open_pcm, release
from .pcm_format import FORMATS, PcmFormat

__all__ = ["Offer", "PeriodSettings", "converting_name", "open_exactly", "probe"]

_HUGE_SAMPLES = 1 << 20
_CHANNELS_MAX = 64
"""Plugins claim thousands."""
_RATE_MAX_HZ = 768_000
_ANY_RATE = (1, 2**32 - 1)
_RATES_SHOWN = (22_050, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)


@dataclass(frozen=True)
class PeriodSettings:
    """How the device is served: the size of its periods, and how many its buffer holds."""

    period_samples: int
    periods: int


@dataclass(frozen=True)
class Offer:
    """What a device can do in one direction."""

    rates_hz: tuple[int, ...]
    """With `rates_are_range`: the least and the most; else each, as far as there are usual ones."""
    rates_are_range: bool
    channels: tuple[int, ...]
    formats: tuple[str, ...]
    """ALSA's names; every one, also those that the box does not speak."""
    least_period_samples: int
    most_period_samples: int

    @property
    def rates_text(self) -> str:
        """Such as ``44100, 48000`` or ``4000-192000``."""
        return ("-" if self.rates_are_range else ", ").join(map(str, self.rates_hz))

    @property
    def channels_text(self) -> str:
        """Such as ``1-8`` or ``2, 4``."""
        least, most = self.channels[0], self.channels[-1]
        if most > least and len(self.channels) == most - least + 1:
            return f"{least}-{most}"
        return ", ".join(map(str, self.channels))

    @property
    def formats_text(self) -> str:
        """Those that the box speaks, best first, or what there is instead."""
        spoken = [item.name for item in FORMATS if item.name in self.formats]
        return ", ".join(spoken or self.formats)

    @property
    def periods_text(self) -> str:
        """Such as ``16 to 8192 samples``."""
        least, most = self.least_period_samples, self.most_period_samples
        return f"{least} samples" if least == most else f"{least} to {most} samples"

    @property
    def usual_rates_hz(self) -> tuple[int, ...]:
        """Of the rates that a stream can have, those that it has."""
        if not self.rates_are_range:
            return self.rates_hz
        least, most = self.rates_hz
        return tuple(rate for rate in _RATES_SHOWN if least <= rate <= most)


def probe(name: str, direction: Direction, spec: StreamSpec | None = None) -> Offer:
    """Open a device, twice, to see what it offers.

    Parameters
    ----------
    spec
        The periods that it offers depend on rate and channels. None: 48 kHz and 2 channels, or near them.

    Raises
    ------
    InputError
        When it is no device.
    ContinuoError
        As of `alsa.open_pcm`: when it is not there, in use or not to be opened.
    """
    settings: dict[str, int] = {"alsa_format": FORMATS[0].alsa_format}
    if spec is not None:
        settings |= {"sample_rate_hz": spec.sample_rate_hz, "channels": spec.channels}
    pcm = open_pcm(name, direction, period_samples=1, **settings)
    try:
        least = int(pcm.info()["period_size"])
        rates = pcm.getrates()
        _refuse_no_clock(name, rates)
        channels = tuple(count for count in pcm.getchannels() if count <= _CHANNELS_MAX)
        formats = tuple(pcm.getformats())
    except alsa_error() as error:
        raise InputError(f"{name} does not tell what it offers: {error}") from None
    finally:
        release(pcm)
    pcm = open_pcm(name, direction, period_samples=_HUGE_SAMPLES, **settings)
    most = int(pcm.info()["period_size"])
    release(pcm)
    return Offer(
        rates_hz=(rates,) if isinstance(rates, int) else tuple(min(rate, _RATE_MAX_HZ) for rate in rates),
        rates_are_range=isinstance(rates, tuple),
        channels=channels,
        formats=formats,
        least_period_samples=least,
        most_period_samples=most,
    )


def open_exactly(name: str, direction: Direction, spec: StreamSpec, settings: PeriodSettings) -> tuple[Pcm, PcmFormat]:
    """Open a device with the stream's rate and channels, these periods, and the best sample format that it has.

    Raises
    ------
    InputError
        In one line: what it has not, what it offers instead, and what to change.
    ContinuoError
        As of `alsa.open_pcm`.
    """
    pcm = _open(name, direction, spec, settings, FORMATS[0])
    try:
        _refuse_no_clock(name, pcm.getrates())
    except InputError:
        release(pcm)
        raise
    offered = pcm.getformats()
    chosen = next((item for item in FORMATS if item.name in offered), FORMATS[0])
    if pcm.info()["format_name"] != chosen.name:
        release(pcm)
        pcm = _open(name, direction, spec, settings, chosen)
    got = pcm.info()
    trouble = _differences(name, spec, settings, chosen, got, offered)
    if trouble:
        release(pcm)
        offer = probe(name, direction, spec)
        raise InputError(
            f"{name} cannot {_VERBS[direction]} {'; '.join(trouble)}: it offers {offer.rates_text} Hz, "
            f"{offer.channels_text} channels, {offer.formats_text}, "
            f"periods of {offer.periods_text}"
        )
    return pcm, chosen


def converting_name(name: str) -> str:
    """The same device behind ALSA's own conversion of rates, channels and formats."""
    return f"plug{name}" if name.startswith("hw:") else f"plug:{name}"


def _refuse_no_clock(name: str, rates: object) -> None:
    """ALSA's null device is always ready: a real-time loop on it would never sleep."""
    if rates == _ANY_RATE:
        raise InputError(f"{name} is no sound device, it keeps no time: choose one that `continuo devices` lists")


_VERBS = {Direction.PLAYBACK: "play", Direction.CAPTURE: "capture"}


def _open(name: str, direction: Direction, spec: StreamSpec, settings: PeriodSettings, wanted: PcmFormat) -> Pcm:
    return open_pcm(
        name,
        direction,
        sample_rate_hz=spec.sample_rate_hz,
        channels=spec.channels,
        alsa_format=wanted.alsa_format,
        period_samples=settings.period_samples,
        periods=settings.periods,
    )


def _differences(
    name: str,
    spec: StreamSpec,
    settings: PeriodSettings,
    chosen: PcmFormat,
    got: dict[str, object],
    offered: Sequence[str] | dict[str, int],
) -> list[str]:
    """What to change, for each thing that was not had."""
    convert = f'audio.device = "{converting_name(name)}" to let ALSA convert'
    trouble = []
    if got["rate"] != spec.sample_rate_hz:
        trouble.append(f"{spec.sample_rate_hz} Hz (set stream.sample_rate_hz, at both ends)")
    if got["channels"] != spec.channels:
        trouble.append(f"{_count(spec.channels, 'channel')} (set stream.channels, or {convert})")
    if got["format_name"] != chosen.name or chosen.name not in offered:
        trouble.append(f"{', '.join(item.name for item in FORMATS)} (set {convert})")
    if got["period_size"] != settings.period_samples:
        trouble.append(
            f"periods of {settings.period_samples} samples, the nearest is {got['period_size']} "
            "(set audio.period_samples)"
        )
    elif got["buffer_size"] != settings.periods * settings.period_samples:
        trouble.append(f"{_count(settings.periods, 'period')}, the nearest is {got['periods']} (set audio.periods)")
    return trouble


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("s" if number != 1 else "")
