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
    for first, again, other in zip(*(vars(losses.example(i)).values() for i in (5, 5, 6)), strict=True):
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other) or not np.any(first)


def test_a_batch_is_its_examples(losses: PacketLosses) -> None:
    streamed = list(losses.batches(batch=2, first_step=3, steps=5))
    assert len(streamed) == 2
    torch.testing.assert_close(streamed[0].chunk[1], torch.from_numpy(losses.example(7).chunk))


def test_the_gap_is_marked_and_predicted(losses: PacketLosses) -> None:
    example = losses.example(0)
    chunk, concealed, truth = example.chunk, example.concealed, example.truth
    assert len(chunk) == len(concealed) == PAST + len(truth)
    assert concealed[PAST:].all()
    assert np.linalg.norm(chunk[PAST:] - truth) < 0.1 * np.linalg.norm(truth)
    assert not np.array_equal(chunk[PAST:], truth)


def test_some_contexts_hold_concealed_packets(losses: PacketLosses) -> None:
    shares = [losses.example(i).concealed[:PAST].mean() for i in range(60)]
    assert min(shares) == 0.0
    assert max(shares) >= PACKET_SAMPLES / PAST


def test_an_error_in_the_thread_reaches_the_consumer(losses: PacketLosses) -> None:
    broken = PacketLosses(AudioFolder(44_100, [], np.ones(0)), "lpc-paper", PAST, seed=0)
    with pytest.raises(ValueError, match="positive integer"):
        next(broken.batches(1, 0, 1))


def test_repetitions_are_those_of_the_concealer() -> None:
    """A loop, lost again and again: what was played a period before is the truth."""
    loop = np.tile(np.random.default_rng(0).normal(0, 0.1, 30_000).astype(np.float32), 20)
    source = PacketLosses(AudioFolder(44_100, [loop], np.ones(1)), "lpc", PAST, seed=3, augment=False, repetition=True)
    examples = [source.example(i) for i in range(8)]
    assert max(example.match for example in examples) > 0.99
    best = max(examples, key=lambda example: example.match)
    np.testing.assert_allclose(best.repetition[PAST:], best.truth, atol=0.02)
    batch = source.batch(range(2))
    assert batch.repetition is not None
    assert batch.repetition.shape == batch.chunk.shape
    assert batch.match is not None
    assert batch.match.shape == (2,)
