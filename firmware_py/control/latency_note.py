"""What `continuo run --measure-latency` found, kept beside the timing log for the status of later runs."""

import contextlib
import json
from dataclasses import asdict
from pathlib import Path

from ..atomic import atomic_path
from ..errors import RunError
from .config import BoxConfig

__all__ = ["read_latency", "write_latency"]

_NAME = "latency.json"


def write_latency(config: BoxConfig, device_samples: int, network_samples: int) -> None:
    """Keep what was measured; 0: not heard. Does nothing without `log.folder`, or where it cannot be written."""
    if not config.log.folder:
        return
    path = Path(config.log.folder).expanduser() / _NAME
    found = {"settings": _settings(config), "device_samples": device_samples, "network_samples": network_samples}
    with contextlib.suppress(OSError, RunError), atomic_path(path) as temporary:
        temporary.write_text(json.dumps(found))


def read_latency(config: BoxConfig) -> tuple[int, int]:
    """What was measured with the same settings, samples through the device and through the peer; 0: not known."""
    try:
        found = json.loads((Path(config.log.folder).expanduser() / _NAME).read_text())
        if not config.log.folder or found["settings"] != _settings(config):
            return 0, 0
        return int(found["device_samples"]), int(found["network_samples"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0


def _settings(config: BoxConfig) -> dict[str, object]:
    """Whatever else the latency depends on is not measured any more when one of these changes."""
    audio = {key: value for key, value in asdict(config.audio).items() if key not in {"priority", "cpu"}}
    peer = f"{config.net.peer_host}:{config.net.peer_port}"
    return {"stream": asdict(config.stream), "audio": audio, "peer": peer}
