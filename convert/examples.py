"""Spectrograms as the box would meet them: real music, real losses, the real predictor."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ..models.bin2bin.refiner import Refiner
from ..models.data.folder import AudioFolder, split_files
from ..models.data.packets import PacketLosses

__all__ = ["Examples"]

CALIBRATION_SEED, MEASURE_SEED, TUNE_SEED = 71, 72, 73
SAMPLE_RATE_HZ = 44_100


class Examples:
    """Generator inputs for ``refiner`` from a folder of audio: to calibrate and tune on, and others to measure on.

    Never from recordings that are for evaluation: `split_files` refuses those.
    """

    def __init__(self, refiner: Refiner, data: Path, method: str) -> None:
        self._refiner = refiner
        past = refiner.spectrum.past_samples
        folders = [
            AudioFolder.load(files, SAMPLE_RATE_HZ, PacketLosses.shortest_clip(past)) for files in split_files(data)
        ]
        repeats = refiner.config.repetition
        self._training = PacketLosses(folders[0], method, past, CALIBRATION_SEED, repetition=repeats)
        self._held_out = PacketLosses(folders[1], method, past, MEASURE_SEED, augment=False, repetition=repeats)
        self._tuning = PacketLosses(folders[0], method, past, TUNE_SEED, repetition=repeats)

    def calibration(self, count: int) -> Tensor:
        """[shape=(count, channels, 256, columns)] from training files."""
        return self._inputs(self._training, range(count))

    def held_out(self, count: int) -> Tensor:
        """The same from validation files."""
        return self._inputs(self._held_out, range(count))

    def batches(self, steps: int, batch: int) -> Iterator[Tensor]:
        """For `tune`."""
        for step in range(steps):
            yield self._inputs(self._tuning, range(step * batch, (step + 1) * batch))

    @torch.no_grad()
    def _inputs(self, source: PacketLosses, indices: range) -> Tensor:
        batch = source.batch(indices)
        return self._refiner.analyse(batch.chunk, batch.concealed, batch.repetition, batch.match).seen
