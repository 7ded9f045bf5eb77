"""Spectrograms as the box would meet them: real music, real losses, the real predictor."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..firmware_py.methods import METHODS
from ..models.bin2bin.refiner import BINS, Refiner
from ..models.data.folder import AudioFolder, split_files
from ..models.data.packets import PacketLosses

__all__ = ["Examples", "trained_behind"]

CALIBRATION_SEED, MEASURE_SEED, TUNE_SEED = 71, 72, 73
SAMPLE_RATE_HZ = 44_100


def trained_behind(path: Path) -> str:
    """Method whose predictor stood before the refiner in training, as its weights' card says."""
    with np.load(path, allow_pickle=False) as arrays:
        card = json.loads(str(arrays["config"])).get("card", {})
    method = str(card.get("experiment", {}).get("method", "lpc"))
    return method if method in METHODS else "lpc"


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
        self._training = PacketLosses(folders[0], method, past, CALIBRATION_SEED)
        self._held_out = PacketLosses(folders[1], method, past, MEASURE_SEED, augment=False)
        self._tuning = PacketLosses(folders[0], method, past, TUNE_SEED)

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

    def _inputs(self, source: PacketLosses, indices: range) -> Tensor:
        batch = source.batch(indices)
        return generator_inputs(self._refiner, batch.chunk, batch.concealed)


@torch.no_grad()
def generator_inputs(refiner: Refiner, chunk: Tensor, concealed: Tensor) -> Tensor:
    """What the generator sees of chunks [shape=(batch, samples)]; as `Refiner.refine_spectrum` makes it."""
    peak = chunk.abs().amax(dim=-1, keepdim=True).clamp_min(1e-6)
    spectrum = refiner.spectrum(chunk / peak)
    return refiner.network_input(spectrum, refiner.spectrum.level(spectrum[:, :BINS]), concealed)
