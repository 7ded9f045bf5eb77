"""A folder of audio files, held in memory, split into training and validation by file."""

import csv
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...firmware_py.audio_file import read_audio
from ...firmware_py.errors import InputError

__all__ = ["AudioFolder", "split_files"]

SUFFIXES = {".flac", ".wav", ".aif", ".aiff", ".ogg", ".mp3"}
VALIDATION_SHARE = 0.1
EVALUATION = "test_public"
"""Recordings in a folder of this name decide how good a method is; nothing may be trained on them ..."""
EVALUATION_POOL = "test"
"""... nor on what was rendered of this pool's scores."""


def split_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Audio files below ``folder``: (training, validation). A file's name alone decides (CRC-32).

    Raises
    ------
    InputError
        When the folder holds fewer than two audio files, or those that are for evaluation.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give the folder that holds the audio to train on")
    if any(p.name == EVALUATION for p in (folder.resolve(), *folder.rglob(EVALUATION))):
        raise InputError(f"{folder} holds {EVALUATION}, which is for evaluation alone: give the folder to train on")
    for manifest in folder.rglob("manifest.csv"):  # of `continuo data render`
        with manifest.open(newline="", encoding="utf-8") as file:
            if any(row.get("pool") == EVALUATION_POOL for row in csv.DictReader(file)):
                raise InputError(
                    f"{manifest} names scores of the pool '{EVALUATION_POOL}', which is for evaluation alone"
                )
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if len(files) < 2:
        raise InputError(f"{folder} holds {len(files)} audio files: training needs two at least, one to validate on")
    validation = [p for p in files if zlib.crc32(p.name.encode()) % 1000 < 1000 * VALIDATION_SHARE] or files[:1]
    return [p for p in files if p not in validation], validation


@dataclass(frozen=True)
class AudioFolder:
    """Mono waveforms of one sample rate.

    ``clips`` : float32 each [shape=(samples,), full scale 1]; ``weights`` : how often each is drawn, square root of its
    duration, so that an hour of one violin does not drown a minute of every other instrument.
    """

    sample_rate_hz: int
    clips: Sequence[NDArray[np.float32]]
    weights: NDArray[np.float64]

    @classmethod
    def load(cls, files: Sequence[Path], sample_rate_hz: int, shortest_samples: int) -> "AudioFolder":
        """Read ``files``, mix to mono; clips shorter than ``shortest_samples`` are left out.

        Raises
        ------
        InputError
            For a file of another sample rate, or when no clip is long enough.
        """
        clips = []
        for path in files:
            audio = read_audio(path)
            if audio.sample_rate_hz != sample_rate_hz:
                raise InputError(
                    f"{path} is at {audio.sample_rate_hz} Hz, the experiment at {sample_rate_hz} Hz: resample it, "
                    "or set sample_rate_hz"
                )
            if audio.frames >= shortest_samples:
                clips.append(np.ascontiguousarray(audio.samples.mean(axis=1)))
        if not clips:
            raise InputError(f"no file is {shortest_samples / sample_rate_hz:.2f} s long: give longer recordings")
        weights = np.sqrt([len(c) for c in clips])
        return cls(sample_rate_hz, clips, weights / weights.sum())
