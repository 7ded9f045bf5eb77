"""Folders of audio: a stable split, and nothing that is for evaluation."""

from pathlib import Path

import numpy as np
import pytest

from continuo.firmware_py.audio_file import write_audio
from continuo.firmware_py.errors import InputError
from continuo.models.data.folder import AudioFolder, split_files


def make_clips(folder: Path, names: list[str], samples: int = 4000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(0, 0.1, (samples, 2)).astype(np.float32)
    for name in names:
        write_audio(folder / name, noise, 44_100, "PCM_16")


def test_split_follows_from_the_name(tmp_path: Path) -> None:
    names = [f"clip{i}.flac" for i in range(40)]
    make_clips(tmp_path, names)
    training, validation = split_files(tmp_path)
    assert len(training) + len(validation) == 40
    assert 1 <= len(validation) <= 12
    (tmp_path / training[0].name).unlink()
    assert split_files(tmp_path)[1] == validation


@pytest.mark.parametrize("inside", ["test_public", "deep/test_public"])
def test_evaluation_clips_are_refused(tmp_path: Path, inside: str) -> None:
    make_clips(tmp_path / inside, ["a.flac", "b.flac"])
    with pytest.raises(InputError, match="evaluation"):
        split_files(tmp_path)
    with pytest.raises(InputError, match="evaluation"):
        split_files(tmp_path / inside)


def test_renderings_of_evaluation_scores_are_refused(tmp_path: Path) -> None:
    make_clips(tmp_path, ["a.flac", "b.flac"])
    (tmp_path / "manifest.csv").write_text("file,pool\na.flac,train\nb.flac,train\n")
    split_files(tmp_path)
    (tmp_path / "manifest.csv").write_text("file,pool\na.flac,train\nb.flac,test\n")
    with pytest.raises(InputError, match="evaluation"):
        split_files(tmp_path)


def test_too_little_audio(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        split_files(tmp_path / "none")
    make_clips(tmp_path, ["only.flac"])
    with pytest.raises(InputError, match="two at least"):
        split_files(tmp_path)
    make_clips(tmp_path, ["second.flac"])
    with pytest.raises(InputError, match="longer"):
        AudioFolder.load(sorted(tmp_path.iterdir()), 44_100, 5000)
    with pytest.raises(InputError, match="48000"):
        AudioFolder.load(sorted(tmp_path.iterdir()), 48_000, 100)


def test_stereo_is_mixed_down(tmp_path: Path) -> None:
    make_clips(tmp_path, ["a.flac", "b.flac"])
    folder = AudioFolder.load(sorted(tmp_path.iterdir()), 44_100, 1000)
    assert [c.shape for c in folder.clips] == [(4000,), (4000,)]
    assert folder.weights.sum() == pytest.approx(1)
