"""What the child processes of a box have in common: how they begin, how they are told to end, how they fail."""

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from ..control.config import (
    AudioConfig,
    BoxConfig,
    ConcealConfig,
    LogConfig,
    PlayoutConfig,
    RecordConfig,
    StatusConfig,
    StreamConfig,
)
from ..errors import ContinuoError
from ..methods import METHODS, with_threads
from ..net.config import NetConfig
from .memory import BoxMemory
from .waker import Waker

__all__ = ["Child", "decode_config", "encode_config", "run_child"]


def encode_config(config: BoxConfig) -> bytes:
    """A configuration for a child's standard input, where nobody else sees its key."""
    return json.dumps(asdict(config)).encode()


def decode_config(data: bytes) -> BoxConfig:
    """Back from `encode_config`."""
    tables: dict[str, dict[str, Any]] = json.loads(data)
    return BoxConfig(
        StreamConfig(**tables["stream"]),
        AudioConfig(**tables["audio"]),
        NetConfig(**tables["net"]),
        PlayoutConfig(**tables["playout"]),
        ConcealConfig(**tables["conceal"]),
        LogConfig(**tables["log"]),
        StatusConfig(**tables["status"]),
        RecordConfig(**tables["record"]),
    )


class Child:
    """A child process's view of its box.

    Attributes
    ----------
    config : BoxConfig
    memory : BoxMemory
    stopping : bool
        Whether SIGTERM came.
    """

    def __init__(self, folder: Path, config: BoxConfig) -> None:
        self.config = config
        self.spec = config.stream.spec
        self.method = with_threads(METHODS[config.conceal.method], config.conceal.threads)
        self.memory = BoxMemory(folder / "memory", self.spec, self.method, create=False)
        self.stopping = False
        self._folder = folder

    def waker(self, name: str) -> Waker:
        """The pipe of that name."""
        return Waker(self._folder / f"{name}.pipe")

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Handler of SIGTERM."""
        del number, frame
        self.stopping = True


def run_child(body: Callable[[Child], None]) -> None:
    """Run a child process: ``python -m MODULE FOLDER``, its configuration on standard input.

    Control ends it with SIGTERM; SIGINT and SIGHUP are control's business. What a user can cure leaves one line on
    standard error and its exit code.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        child = Child(Path(sys.argv[1]), decode_config(sys.stdin.buffer.read()))
        signal.signal(signal.SIGTERM, child.stop)
        body(child)
    except ContinuoError as error:
        print(f"continuo: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
