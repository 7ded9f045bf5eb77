"""Training examples are what the box would have seen, and the same every time."""

import numpy as np
import pytest
import torch

from continuo.models.data.folder import AudioFolder
from continuo.models.data.packets import PACKET_SAMPLES, PacketLosses

PAST = 3520


@pytest.fixture(scope="module")
def losses() -> PacketLosses:
    time_s = np.arange(60_000) / 44_100
    chord = sum(np.sin(2 * np.pi * f * time_s) for f in (220, 330, 441.7)) / 4
    folder = AudioFolder(44_100, [chord.astype(np.float32)], np.ones(1))
    return PacketLosses(folder, "lpc", PAST, seed=3, augment=False)


def test_examples_are_reproducible_and_differ(losses: PacketLosses) -> None:
    for first, again, other in zip(losses.example(5), losses.example(5), losses.example(6), strict=True):
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other) or not first.any()


def test_a_batch_is_its_examples(losses: PacketLosses) -> None:
    streamed = list(losses.batches(batch=2, first_step=3, steps=5))
    assert len(streamed) == 2
    torch.testing.assert_close(streamed[0].chunk[1], torch.from_numpy(losses.example(7)[0]))


def test_the_gap_is_marked_and_predicted(losses: PacketLosses) -> None:
    chunk, concealed, truth = losses.example(0)
    assert len(chunk) == len(concealed) == PAST + len(truth)
    assert concealed[PAST:].all()
    assert np.linalg.norm(chunk[PAST:] - truth) < 0.1 * np.linalg.norm(truth)
    assert not np.array_equal(chunk[PAST:], truth)


def test_some_contexts_hold_concealed_packets(losses: PacketLosses) -> None:
    shares = [losses.example(i)[1][:PAST].mean() for i in range(60)]
    assert min(shares) == 0.0
    assert max(shares) >= PACKET_SAMPLES / PAST


def test_an_error_in_the_thread_reaches_the_consumer(losses: PacketLosses) -> None:
    broken = PacketLosses(AudioFolder(44_100, [np.zeros(10, np.float32)], np.ones(1)), "lpc-paper", PAST, seed=0)
    with pytest.raises(ValueError, match=r"low|high|broadcast"):
        next(broken.batches(1, 0, 1))
