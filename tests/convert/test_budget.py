"""The arithmetic of the budget, and what it warns of."""

from itertools import pairwise

import numpy as np
import pytest

from continuo.convert.budget import BOARDS, EFFICIENCY, budget, parse_target
from continuo.convert.graph import Graph, Node
from continuo.firmware_py.errors import InputError
from continuo.firmware_py.rt.spec import StreamSpec

SPEC = StreamSpec(44_100, 512)


def graph(layers: int) -> Graph:
    """Each layer: 32 x 32 x 64 outputs of 3 x 3 x 64 weights, 37.7 million MAC."""
    shape = (1, 32, 32, 64)
    weight, bias = np.zeros((64, 3, 3, 64), np.float32), np.zeros(64, np.float32)
    names = ["input", *(f"layer{n}" for n in range(layers))]
    nodes = [Node(b, "conv", (a,), shape, weight, bias) for a, b in pairwise(names)]
    return Graph("input", shape, tuple(nodes))


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_time_and_bytes_by_hand(board) -> None:
    result = budget(graph(1), board, SPEC)
    macs = 32 * 32 * 64 * 9 * 64
    assert result.rows[0].macs == macs
    assert result.rows[0].bytes_read == 32 * 32 * 64 + 64 * 9 * 64 + 4 * 64
    assert result.one_thread_ms == pytest.approx(1e3 * macs / (board.gmacs_per_core * 1e9 * EFFICIENCY))
    assert result.four_threads_ms < result.one_thread_ms
    assert result.available_ms == pytest.approx(11.61, abs=0.01)


def test_warnings_follow_the_time() -> None:
    board = BOARDS["pi4"]
    words = ["".join(budget(graph(layers), board, SPEC).warnings) for layers in (0, 1, 20)]
    assert words[0] == ""
    assert "one thread is too few" in words[1]
    assert "too slow" in words[2]


def test_targets() -> None:
    assert parse_target("pi5") == ([BOARDS["pi5"]], SPEC)
    boards, spec = parse_target("128@48000")
    assert len(boards) == len(BOARDS)
    assert (spec.packet_samples, spec.sample_rate_hz) == (128, 48_000)


@pytest.mark.parametrize("text", ["pi6", "", "128", "@", "128@", "5@44100", "128@1"])
def test_bad_targets_are_one_line(text: str) -> None:
    with pytest.raises(InputError):
        parse_target(text)
