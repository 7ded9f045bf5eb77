"""Reads what a box is doing from outside of it: from its page, or from the memory that its processes share."""

import contextlib
import http.client
import ipaddress
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError, RunError
from .config import BoxConfig

__all__ = ["StatusReader", "page_reader", "reader_of"]

StatusReader = Callable[[], dict[str, Any]]
"""Returns `StatusSnapshot.as_json` of this moment. RunError: the box does not run, or no longer."""

_PATIENCE_S = 5.0


def reader_of(config_path: Path, config: BoxConfig) -> StatusReader:
    """Of the box that runs from a configuration's file: its page if it has one (that knows more), else its memory.

    Raises
    ------
    RunError
        When it does not run.
    """
    status = config.status
    if not status.port:
        return _memory_reader(config_path, config)
    address = ipaddress.ip_address(status.host)
    if address.is_unspecified:  # it listens on all: ask where we are
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    host = f"[{address}]" if address.version == 6 else str(address)
    return page_reader(f"http://{host}:{status.port}", status.token)


def page_reader(url: str, token: str) -> StatusReader:
    """Of the box whose page is at ``url``."""
    where = url.rstrip("/")
    if not where.startswith(("http://", "https://")):
        raise InputError(f"--url {url}: write it with http:// in front")
    try:
        _ = urllib.parse.urlsplit(where).port
        request = urllib.request.Request(f"{where}/status.json", headers={"Authorization": f"Bearer {token}"})
    except ValueError:
        raise InputError(f"--url {url}: write it like http://box.local:8080") from None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a box is near: no proxy knows it

    def read() -> dict[str, Any]:
        try:
            with opener.open(request, timeout=_PATIENCE_S) as response:
                status = json.load(response)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 401:
                raise InputError(f"{where} wants another token: pass the one in its configuration") from None
            raise RunError(f"{where} answers {error.code}: is it a Continuo box?") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise RunError(f"no box answers at {where} ({reason}): start it with `continuo run`") from None
        if not isinstance(status, dict) or "state" not in status:
            raise RunError(f"{where} is something else than a Continuo box: check the address")
        return status

    return read


def _memory_reader(config_path: Path, config: BoxConfig) -> StatusReader:
    # compilers, slow to load: only where there is no page
    from ..box.memory import BoxMemory  # noqa: PLC0415
    from ..box.place import Place  # noqa: PLC0415
    from ..methods import METHODS  # noqa: PLC0415
    from .status import SessionFacts  # noqa: PLC0415
    from .status_collector import StatusCollector  # noqa: PLC0415

    place = Place(config_path)
    _, running = place.read_marks()
    if not running:
        with contextlib.suppress(OSError):  # not empty: a box died, and its successor will look after it
            place.folder.rmdir()
        raise RunError(f"no box runs from {config_path}: start it with `continuo run --config {config_path}`")
    memory = BoxMemory(place.memory, config.stream.spec, METHODS[config.conceal.method], create=False)
    collector = StatusCollector(SessionFacts.of(config), memory.audio, memory.net)

    def read() -> dict[str, Any]:
        if not place.memory.exists():
            raise RunError(f"the box that ran from {config_path} has left")
        return collector.snapshot().as_json()

    return read
