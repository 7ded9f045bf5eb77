"""What a network would take on a board that is not at hand: work, bytes, and a time with its reasons."""

import re
from dataclasses import dataclass

from ..firmware_py.errors import InputError
from ..firmware_py.rt.spec import StreamSpec
from .graph import Graph

__all__ = ["BOARDS", "EFFICIENCY", "Board", "Budget", "Row", "budget", "parse_target"]

EFFICIENCY = 0.45
"""Of the published networks' throughput that ours reaches: small layers, transposed convolutions, few output channels.
On x86 with one thread ours reaches 0.44 to 0.63 of what plain chains of convolutions do (``make bench``,
``docs/convert.md``); nobody measured it on a board yet."""
FOUR_THREADS_FASTER = 3.0
"""Than one: assumed, for small layers do not divide well."""
CONFIDENT_SHARE = 0.8
"""A prediction beyond this share of the time there is gets a warning."""


@dataclass(frozen=True)
class Board:
    """How fast one core multiplies int8, and how that is known."""

    name: str
    gmacs_per_core: float
    """10^9 per second; published on all four cores and divided by four, so one alone is no slower."""
    source: str


BOARDS = {
    "pi4": Board(
        "Raspberry Pi 4, Cortex-A72 1.5 GHz",
        569e6 / 24e-3 / 4 / 1e9,
        "int8 MobileNet v1 1.0 (569 million MAC), 24 ms multi-threaded on ARM64: README of google/XNNPACK, 8 Feb 2022",
    ),
    "pi5": Board(
        "Raspberry Pi 5, Cortex-A76 2.4 GHz",
        1.814e9 / 8.751e-3 / 4 / 1e9,
        "int8 ResNet-18 (1,814 million MAC), 8.751 ms with XNNPACK: model card Arm/resnet-18-int8-xnnpack-executorch; "
        "more than one core's 77 billion per second (two SDOT of 16 a cycle), hence taken as all four",
    ),
}


@dataclass(frozen=True)
class Row:
    """One layer."""

    name: str
    kind: str
    macs: int
    bytes_read: int
    """int8 weights and int32 biases, and the int8 inputs."""
    predicted_ms: float
    """One thread."""


@dataclass(frozen=True)
class Budget:
    """One network on one board."""

    board: Board
    rows: list[Row]
    one_thread_ms: float
    four_threads_ms: float
    available_ms: float

    @property
    def warnings(self) -> list[str]:
        """What a person should know before buying the board; empty when all is well."""
        limit = CONFIDENT_SHARE * self.available_ms
        wanted = f"{limit:.1f} ms wanted on {self.board.name}"
        if self.four_threads_ms > limit:
            return [f"too slow: {self.four_threads_ms:.1f} ms with four threads, {wanted}"]
        if self.one_thread_ms > limit:
            return [f"one thread is too few: {self.one_thread_ms:.1f} ms, {wanted}"]
        return []


def parse_target(text: str) -> tuple[list[Board], StreamSpec]:
    """``pi4``, ``pi5`` (512 samples at 44.1 kHz), or PACKET@RATE on both.

    Raises
    ------
    InputError
        For anything else.
    """
    if text in BOARDS:
        return [BOARDS[text]], StreamSpec(44_100, 512)
    if match := re.fullmatch(r"(\d+)@(\d+)", text):
        return list(BOARDS.values()), StreamSpec(int(match[2]), int(match[1]))
    raise InputError(f"--budget '{text}': choose from {', '.join(BOARDS)}, or give PACKET@RATE, such as 128@48000")


def budget(graph: Graph, board: Board, spec: StreamSpec) -> Budget:
    """Predict ``graph`` in int8 on ``board``; transforms and prediction are not part of it."""
    rate = 1e9 * board.gmacs_per_core * EFFICIENCY
    rows = []
    for node in graph.nodes:
        read = sum(_elements(graph.shape(name)) for name in node.inputs)
        if node.weight is not None and node.bias is not None:
            read += node.weight.size + 4 * node.bias.size
        rows.append(Row(node.name, node.kind, node.macs, read, 1e3 * node.macs / rate))
    one = sum(row.predicted_ms for row in rows)
    return Budget(board, rows, one, one / FOUR_THREADS_FASTER, spec.packet_ns / 1e6)


def _elements(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result
