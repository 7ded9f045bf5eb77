"""Stored examples are those of `PacketLosses`, in an order that is the same in every run."""

from pathlib import Path

import numpy as np
import pytest

from continuo.models.command import BUNDLED
from continuo.models.data.examples import PAST_SAMPLES, StoredExamples
from continuo.models.data.folder import AudioFolder, split_files
from continuo.models.data.packets import PacketLosses

PAST = 3520
COUNT = 5
SEED = 4


@pytest.fixture(scope="module")
def audio() -> tuple[list[Path], AudioFolder]:
    files, _ = split_files(BUNDLED)
    return files, AudioFolder.load(files, 44_100, PacketLosses.shortest_clip(PAST))


@pytest.fixture(scope="module")
def stored(audio: tuple[list[Path], AudioFolder], tmp_path_factory: pytest.TempPathFactory) -> StoredExamples:
    made: list[int] = []
    result = StoredExamples(tmp_path_factory.mktemp("store"), *audio, "lpc", SEED, COUNT, progress=made.append)
    assert sum(made) == COUNT
    return result


def test_once_through_gives_every_example_once(stored: StoredExamples, audio: tuple[list[Path], AudioFolder]) -> None:
    fresh = PacketLosses(audio[1], "lpc", PAST_SAMPLES, SEED)
    expected = {fresh.example(i).truth.tobytes(): fresh.example(i).chunk for i in range(COUNT)}
    batches = list(stored.batches(1, 0, COUNT, PAST))
    assert {b.truth[0].numpy().tobytes() for b in batches} == set(expected)
    for b in batches:
        chunk = expected[b.truth[0].numpy().tobytes()]
        np.testing.assert_array_equal(b.chunk[0].numpy(), chunk[PAST_SAMPLES - PAST :])


def test_resumed_in_the_middle_gives_the_same(stored: StoredExamples) -> None:
    whole = list(stored.batches(2, 0, 6, PAST))  # more than two times through
    for step, batch in zip(range(3, 6), stored.batches(2, 3, 6, PAST), strict=True):
        np.testing.assert_array_equal(whole[step].truth.numpy(), batch.truth.numpy())
        np.testing.assert_array_equal(whole[step].concealed.numpy(), batch.concealed.numpy())


def test_the_file_is_made_once(audio: tuple[list[Path], AudioFolder], tmp_path: Path) -> None:
    made: list[int] = []
    for _ in range(2):
        StoredExamples(tmp_path, *audio, "lpc-paper", SEED, COUNT, progress=made.append)
    assert sum(made) == COUNT
    assert len(list(tmp_path.iterdir())) == 1
