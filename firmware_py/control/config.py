"""The box's configuration: a TOML file of frozen sections, and where each value came from."""

import ipaddress
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..net.config import NetConfig
from ..rt.spec import StreamSpec

__all__ = [
    "AudioConfig",
    "BoxConfig",
    "ConcealConfig",
    "LogConfig",
    "Origin",
    "PlayoutConfig",
    "RecordConfig",
    "StatusConfig",
    "StreamConfig",
    "effective_values",
    "is_secret",
    "load_box_config",
    "parse_overrides",
]

Origin = str
"""``default``, ``file`` or ``command line``."""

_KINDS: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_TOKEN_CHARACTERS = 16
_MAKE_TOKEN = "make one with `head -c 18 /dev/urandom | base64`"


@dataclass(frozen=True)
class StreamConfig:
    """Section ``[stream]``: the format of what is sent and received, the same at both ends."""

    sample_rate_hz: int = 48_000
    """22,050 to 96,000, and one that the sound device has: the box does not convert."""
    packet_samples: int = 128
    """Samples per channel in one packet, 32 to 1024."""
    channels: int = 1
    """1 to 8."""

    def __post_init__(self) -> None:
        _check_types("stream", self)
        try:
            _ = self.spec
        except InputError as error:
            raise InputError(f"stream.{error}") from None

    @property
    def spec(self) -> StreamSpec:
        """The same as every block is prepared for."""
        return StreamSpec(self.sample_rate_hz, self.packet_samples, self.channels)


@dataclass(frozen=True)
class AudioConfig:
    """Section ``[audio]``: the sound device, and the thread that serves it."""

    device: str = "default"
    """ALSA name such as ``hw:1,0``, or a part of what `continuo devices` shows."""
    capture_device: str = ""
    """Another device to capture from. Empty: `device`."""
    playback_device: str = ""
    """Another device to play on. Empty: `device`."""
    period_samples: int = 0
    """Samples per channel between two wake-ups of the device, 16 to 4096. 0: a packet's."""
    periods: int = 2
    """How many periods the device's buffer holds, 2 to 16."""
    priority: int = 60
    """SCHED_FIFO priority of the audio thread, 1 to 95. 0: none."""
    cpu: int = -1
    """CPU that the audio thread keeps to. -1: any."""

    def __post_init__(self) -> None:
        _check_types("audio", self)
        _check_limits("audio", self, {"periods": (2, 16), "priority": (0, 95), "cpu": (-1, 1023)})
        if self.period_samples:
            _check_limits("audio", self, {"period_samples": (16, 4096)}, " (or 0: a packet's)")
        if not self.device:
            raise InputError("audio.device is empty: write default, or a name that `continuo devices` shows")


@dataclass(frozen=True)
class PlayoutConfig:
    """Section ``[playout]``: how long packets wait for those that come later."""

    tightness: float = 0.5
    """0: safe, more latency and nothing late; 1: tight, least latency and now and then a late packet."""
    fixed_packets: int = -1
    """Packets that always wait, 0 to 64. -1: follow the network as `tightness` says."""
    drift: bool = True
    """Follow the peer's clock by resampling."""

    def __post_init__(self) -> None:
        _check_types("playout", self)
        _check_limits("playout", self, {"tightness": (0, 1), "fixed_packets": (-1, 64)})


@dataclass(frozen=True)
class ConcealConfig:
    """Section ``[conceal]``: what replaces a packet that is not there."""

    method: str = "lite-int8"
    """One of ``methods.BOARD_METHODS``."""
    cpu: int = -1
    """CPU that the concealment keeps to. -1: any."""
    priority: int = 50
    """SCHED_FIFO priority of the concealment, 1 to 95, below the audio thread's. 0: none."""
    threads: int = 1
    """On which the method's network runs, if it has one: 4 for ``lite-int8`` on a Raspberry Pi 4."""

    def __post_init__(self) -> None:
        _check_types("conceal", self)
        _check_limits("conceal", self, {"cpu": (-1, 1023), "priority": (0, 95), "threads": (1, 16)})
        from ..methods import BOARD_METHODS  # noqa: PLC0415 (compilers: slow to load, and no business of the network process)

        if self.method not in BOARD_METHODS:
            raise InputError(f"conceal.method is {self.method!r}: choose from {', '.join(BOARD_METHODS)}")


@dataclass(frozen=True)
class LogConfig:
    """Section ``[log]``: one row per packet, on disk."""

    folder: str = ""
    """Where the timing log goes. Empty: none."""
    max_mb: int = 64
    """Megabytes (10^6 bytes) on disk, at most, 1 to 1,000,000: the oldest segments make room."""

    def __post_init__(self) -> None:
        _check_types("log", self)
        _check_limits("log", self, {"max_mb": (1, 1_000_000)})


@dataclass(frozen=True)
class StatusConfig:
    """Section ``[status]``: the page and the metrics."""

    host: str = "127.0.0.1"
    """Address to serve on; ``0.0.0.0`` or ``::`` for everybody who knows the token. It is not encrypted."""
    port: int = 0
    """TCP port. 0: no page."""
    token: str = field(default="", repr=False, metadata={"secret": True})
    """Who knows it may look, 16 characters at least."""

    def __post_init__(self) -> None:
        _check_types("status", self)
        _check_limits("status", self, {"port": (0, 65_535)})
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            raise InputError(f"status.host is {self.host!r}: write an address, such as 127.0.0.1") from None
        if self.port and not self.token:
            raise InputError(f"status.token is missing: {_MAKE_TOKEN}, or set status.port = 0 to go without a page")
        if self.token and len(self.token) < _TOKEN_CHARACTERS:
            raise InputError(f"status.token has {len(self.token)} characters, not {_TOKEN_CHARACTERS}: {_MAKE_TOKEN}")
        if not self.token.isascii() or any(character.isspace() for character in self.token):
            raise InputError(f"status.token has a space or a letter beyond ASCII: {_MAKE_TOKEN}")


@dataclass(frozen=True)
class RecordConfig:
    """Section ``[record]``: what was received and played, as audio files."""

    enabled: bool = False
    folder: str = ""
    """Where recordings go."""
    max_mb: int = 2_000
    """Megabytes on disk, at most, 1 to 1,000,000: recording stops there, older ones are never deleted."""

    def __post_init__(self) -> None:
        _check_types("record", self)
        _check_limits("record", self, {"max_mb": (1, 1_000_000)})
        if self.enabled and not self.folder:
            raise InputError(
                "record.folder is missing: name a folder for the recordings, or set record.enabled = false"
            )


@dataclass(frozen=True)
class BoxConfig:
    """Everything that `continuo run` is told."""

    stream: StreamConfig
    audio: AudioConfig
    net: NetConfig
    playout: PlayoutConfig
    conceal: ConcealConfig
    log: LogConfig
    status: StatusConfig
    record: RecordConfig


_SECTIONS: dict[str, type[Any]] = {item.name: item.type for item in fields(BoxConfig) if isinstance(item.type, type)}


def load_box_config(
    path: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> tuple[BoxConfig, dict[str, Origin]]:
    """Read a configuration: defaults, what a file says instead, what the command line says instead of that.

    Parameters
    ----------
    path
        A TOML file. None: defaults alone.
    overrides
        Values by ``section.key``, of the command line.

    Returns
    -------
    config, origins
        The configuration, and where each ``section.key`` came from.

    Raises
    ------
    InputError
        In one line: what is wrong, be it the file, a key or a value, and what to write instead.
    """
    values, origins = effective_values(path, overrides)
    return BoxConfig(**{name: kind(**values[name]) for name, kind in _SECTIONS.items()}), origins


def effective_values(
    path: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> tuple[dict[str, dict[str, Any]], dict[str, Origin]]:
    """Like `load_box_config`, but without a look at the values: also of a configuration that is not complete yet.

    Returns
    -------
    values, origins
        Values by section and key, in the order of the sections; where each ``section.key`` came from.

    Raises
    ------
    InputError
        When the file cannot be read, or holds a section or key that there is not.
    """
    values = {name: {item.name: item.default for item in fields(kind)} for name, kind in _SECTIONS.items()}
    origins = {f"{section}.{key}": "default" for section, table in values.items() for key in table}
    for section, table in ({} if path is None else _read_toml(Path(path))).items():
        if section not in values:
            raise InputError(f"{path}: [{section}] is unknown: choose from {', '.join(values)}")
        if not isinstance(table, dict):
            raise InputError(f"{path}: {section} is a value: write a section [{section}] with its keys")
        for key, value in table.items():
            _known(section, key, f"{path}: ")
            values[section][key] = value
            origins[f"{section}.{key}"] = "file"
    for name, value in (overrides or {}).items():
        section, _, key = name.partition(".")
        _known(section, key)
        values[section][key] = value
        origins[name] = "command line"
    return values, origins


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """Read ``section.key=value`` as given to ``--set``; the value as in TOML, text also without quotes.

    Raises
    ------
    InputError
        When there is no such key, or the value is none.
    """
    overrides: dict[str, Any] = {}
    for text in texts:
        name, equals, written = (part.strip() for part in text.partition("="))
        section, dot, key = name.partition(".")
        if not (equals and dot) or not text.isprintable():
            raise InputError(f"--set {text!r}: write section.key=value, such as playout.tightness=0.8")
        kind = _known(section, key)
        try:
            overrides[name] = tomllib.loads(f"value = {written}")["value"]
        except tomllib.TOMLDecodeError:
            if kind is not str:
                raise InputError(f"--set {name}={written}: write {_KINDS[kind]}") from None
            overrides[name] = written
        else:
            if kind is str and not isinstance(overrides[name], str):  # a device may be called 1
                overrides[name] = written
    return overrides


def is_secret(section: str, key: str) -> bool:
    """Whether a value must not be shown."""
    return any(item.name == key and item.metadata.get("secret") for item in fields(_SECTIONS[section]))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file: write one, or begin with `continuo config show`") from None
    except (OSError, ValueError) as error:  # ValueError: not TOML, not UTF-8, a NUL in the name
        reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as TOML: {reason}") from None


def _known(section: str, key: str, where: str = "") -> type:
    """The type of a key."""
    if section not in _SECTIONS:
        raise InputError(f"{where}[{section}] is unknown: choose from {', '.join(_SECTIONS)}")
    kinds = {item.name: item.type for item in fields(_SECTIONS[section])}
    kind = kinds.get(key)
    if not isinstance(kind, type):
        raise InputError(f"{where}{section}.{key} is unknown: choose from {', '.join(kinds)}")
    return kind


def _check_types(section: str, config: Any) -> None:
    for item in fields(config):
        value = getattr(config, item.name)
        if item.type is float and type(value) is int:
            object.__setattr__(config, item.name, float(value))
        elif type(value) is not item.type:
            raise InputError(f"{section}.{item.name} is {type(value).__name__}: write {_KINDS[item.type]}")


def _check_limits(section: str, config: Any, limits: Mapping[str, tuple[float, float]], hint: str = "") -> None:
    for name, (least, most) in limits.items():
        value = getattr(config, name)
        if not least <= value <= most:
            raise InputError(f"{section}.{name} is {value}: choose from {least} to {most}{hint}")
