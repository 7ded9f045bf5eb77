"""What a refiner could gain at best, if it knew the truth: re-measures what docs/refiner.md says of its design.

``python -m continuo.bench.refiner_headroom --data DIR`` takes validation excerpts of DIR (audio to train on), loses
packets, and refines the prediction of ``lpc`` with gains computed from the true spectrum, limited in one way or
another: what no network can pass. One row per limit: means over the excerpts.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from ..firmware_py.audio_file import Audio
from ..firmware_py.methods import METHODS
from ..firmware_py.metrics import all_metrics
from ..firmware_py.rt.concealer import Concealer
from ..firmware_py.rt.refinement import PREDICT_SAMPLES
from ..firmware_py.rt.spec import StreamSpec
from ..firmware_py.rt.timing import Rung
from ..models.bin2bin.spectrum import Spectrum
from ..models.data.folder import split_files
from ..models.data.packets import PACKET_SAMPLES
from ..models.validate import LOSSES, excerpts

__all__ = ["LIMITS", "main"]

HOP, COLUMNS = 64, 48
METRICS = ("nmse_gap_db", "mel_sc", "lsd_gap_db", "visqol")
NOISE = 0.5
"""Share of the missing energy that is filled with noise."""
Limit = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Predicted and true spectrum and level [shape=(1, 257, columns)] to the refined spectrum."""


def _ratio(predicted: Tensor, truth: Tensor) -> Tensor:
    return truth.abs() / predicted.abs().clamp_min(1e-6)


def _bounded(least: float, most: float, predicted: Tensor, truth: Tensor, level: Tensor) -> Tensor:
    del level
    return predicted * _ratio(predicted, truth).clamp(least, most)


def _smooth(most: float, predicted: Tensor, truth: Tensor, level: Tensor) -> Tensor:
    del level
    energies = [functional.avg_pool2d(x.abs().square()[None], (3, 5), 1, (1, 2))[0] for x in (predicted, truth)]
    return predicted * (energies[1] / energies[0].clamp_min(1e-12)).sqrt().clamp(1 / most, most)


def _band(first: int, last: int, predicted: Tensor, truth: Tensor, level: Tensor) -> Tensor:
    refined = _bounded(0.5, 2.0, predicted, truth, level)
    bins = torch.arange(predicted.shape[1])[:, None]
    return torch.where((bins >= first) & (bins < last), refined, predicted)


def _noise(predicted: Tensor, truth: Tensor, level: Tensor) -> Tensor:
    """No oracle: noise where the prediction has less energy than the past had."""
    del truth
    spectrum = Spectrum(HOP, COLUMNS)
    samples = torch.randn(1, spectrum.chunk_samples, generator=torch.Generator().manual_seed(0))
    samples[:, : spectrum.past_samples] = 0
    unit = spectrum(samples)[..., -spectrum.touched :] / spectrum.window.square().sum().sqrt()
    missing = (level.square() - predicted.abs().square()).clamp_min(0).sqrt()
    return predicted + NOISE * missing * unit


LIMITS: dict[str, Limit | None] = {
    "lpc alone": None,
    "the true magnitude": partial(_bounded, 0.0, 1e9),
    "gain of 1/4 to 4": partial(_bounded, 0.25, 4.0),
    "gain of 1/2 to 2": partial(_bounded, 0.5, 2.0),
    "gain of 1/2 to 1": partial(_bounded, 0.5, 1.0),
    "gain of 1 to 2": partial(_bounded, 1.0, 2.0),
    "the same for 3 bins and 5 columns, 1/2 to 2": partial(_smooth, 2.0),
    "gain of 1/2 to 2, below 2 kHz": partial(_band, 0, 24),
    "gain of 1/2 to 2, 2 to 7 kHz": partial(_band, 24, 80),
    "gain of 1/2 to 2, above 7 kHz": partial(_band, 80, 257),
    "no oracle: half of the missing energy as noise": _noise,
}


class _Oracle:
    """A refiner that is told the truth: ``start`` says where in it the packet lies."""

    rung = Rung.LITE

    def __init__(self, limit: Limit, samples: NDArray[np.float32]) -> None:
        self._limit, self._samples = limit, torch.from_numpy(samples)
        self.start = 0
        self._spectrum = Spectrum(HOP, COLUMNS)
        self.context_samples = self._spectrum.past_samples
        self._fade_in = torch.ones(PREDICT_SAMPLES)
        self._fade_in[:32] = 0.5 - 0.5 * torch.cos(torch.pi * (torch.arange(32) + 0.5) / 32)

    def prepare(self, spec: StreamSpec, predict_samples: int) -> None:
        del spec, predict_samples

    def refine(
        self,
        context: NDArray[np.float32],
        concealed: NDArray[np.float32],
        prediction: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> bool:
        del concealed
        out[:] = prediction
        truth = self._samples[self.start : self.start + PREDICT_SAMPLES]
        if len(truth) == PREDICT_SAMPLES:
            past, ahead = torch.from_numpy(context.copy()), torch.from_numpy(prediction[:PREDICT_SAMPLES].copy())
            predicted = self._spectrum(torch.cat((past, ahead))[None])
            level = self._spectrum.level(predicted)
            true = self._spectrum(torch.cat((past, truth))[None])
            touched = self._spectrum.touched
            before = predicted[..., -touched:]
            after = self._limit(before, true[..., -touched:], level[..., -touched:])
            change = self._spectrum.inverse(after - before)[0]
            out[:PREDICT_SAMPLES] += (self._fade_in * change).numpy()
        return True


def _measure(clip: Audio, lost: NDArray[np.bool_]) -> list[dict[str, float | None]]:
    torch.set_num_threads(1)
    rows = []
    samples = clip.samples[: len(lost) * PACKET_SAMPLES]
    for limit in LIMITS.values():
        played = _conceal(samples, lost, limit, StreamSpec(clip.sample_rate_hz, PACKET_SAMPLES))
        rows.append(all_metrics(samples, played, lost, PACKET_SAMPLES, clip.sample_rate_hz, names=METRICS))
    return rows


def _conceal(
    samples: NDArray[np.float32], lost: NDArray[np.bool_], limit: Limit | None, spec: StreamSpec
) -> NDArray[np.float32]:
    oracle = None if limit is None else _Oracle(limit, samples[:, 0])
    concealer = Concealer(METHODS["lpc"] if oracle is None else replace(METHODS["lpc"], refiner=lambda: oracle))
    concealer.prepare(spec)
    played = np.empty_like(samples)
    for index, packet in enumerate(samples.reshape(-1, PACKET_SAMPLES, 1)):
        if oracle is not None:
            oracle.start = index * PACKET_SAMPLES
        played[index * PACKET_SAMPLES :][:PACKET_SAMPLES] = concealer.process(None if lost[index] else packet)
    return played


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of audio to train on")
    parser.add_argument("--clips", type=int, default=17, help="excerpts of 6 s (default 17)")
    options = parser.parse_args(arguments)
    _, files = split_files(options.data)
    clips = excerpts(files, options.clips, seconds=6.0)
    losses = [LOSSES.generate(clip.frames // PACKET_SAMPLES, seed=1000 + i) for i, clip in enumerate(clips)]
    with ProcessPoolExecutor() as pool:
        rows = list(pool.map(_measure, clips, losses))
    table = Table("limit", *METRICS, title=f"{len(clips)} excerpts, means")
    for index, name in enumerate(LIMITS):
        values = [[row[index][m] for row in rows if row[index][m] is not None] for m in METRICS]
        table.add_row(name, *(f"{np.mean(v):.4f}" if v else "-" for v in values))  # type: ignore[arg-type]
    Console().print(table)


if __name__ == "__main__":
    main()
