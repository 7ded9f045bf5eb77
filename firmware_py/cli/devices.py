"""``continuo devices``: the sound devices there are, and what they offer."""

import json
from typing import Annotated, Any

import typer

from ..audio.alsa import Direction
from ..audio.devices import Device, list_devices
from ..audio.negotiation import Offer
from ..errors import MissingError

__all__ = ["devices_command"]

_WORDS = {Direction.PLAYBACK: "playback", Direction.CAPTURE: "capture"}


def devices_command(
    everything: Annotated[
        bool,
        typer.Option("--all", help="Also converters, a card's views as surround sound, and what cannot be opened."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List sound devices with the rates, channels, formats and periods that they offer.

    Any of the names, or a part of a name or description, is a value for audio.device. Opens each device for a moment.
    """
    devices = list_devices(everything=everything)
    if as_json:
        typer.echo(json.dumps([_as_table(device) for device in devices], indent=2))
        return
    if not devices:
        raise MissingError("there is no sound device: connect one (`continuo devices --all` shows what ALSA knows)")
    for device in devices:
        typer.echo(f"{device.name}  {device.description}".rstrip())
        for direction, word in _WORDS.items():
            if direction in device.offers:
                typer.echo(f"  {word:<8}  {_as_line(device.offers[direction])}")
            elif direction in device.troubles:
                typer.echo(f"  {word:<8}  {device.troubles[direction]}")


def _as_line(offer: Offer) -> str:
    channels = f"{offer.channels_text} channel" + ("s" if offer.channels[-1] > 1 else "")
    return f"{offer.rates_text} Hz; {channels}; {offer.formats_text}; periods of {offer.periods_text}"


def _as_table(device: Device) -> dict[str, Any]:
    table: dict[str, Any] = {"name": device.name, "description": device.description}
    for direction, word in _WORDS.items():
        table[word] = None
        if direction in device.troubles:
            table[word] = {"trouble": device.troubles[direction]}
        elif direction in device.offers:
            offer = device.offers[direction]
            table[word] = {
                "rates_hz": offer.rates_hz,
                "rates_are_range": offer.rates_are_range,
                "channels": offer.channels,
                "formats": offer.formats,
                "period_samples": [offer.least_period_samples, offer.most_period_samples],
            }
    return table
