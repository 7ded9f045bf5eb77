"""How much int8 costs: layer by layer, on the network's output, and in what the listener hears."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..firmware_py import metrics
from ..firmware_py.audio_file import Audio, read_audio
from ..firmware_py.loss import GilbertElliott, fit_trace, read_trace
from ..firmware_py.methods import METHODS
from ..firmware_py.rt.concealer import Refiner as Seam
from ..firmware_py.rt.refiner_tflite import TfliteRefiner
from ..firmware_py.rt.timing import Rung
from ..firmware_py.simulate import SimulationResult, simulate
from ..models.bin2bin.refiner import Refiner
from ..models.bin2bin.runtime import TorchRefiner
from .conversion import ratio_db
from .flatbuffer import Scale
from .folded import Folded
from .quantise import FakeQuantised

__all__ = ["BARS", "Comparison", "Layer", "compare_clips", "compare_signals", "layers", "missed_bars"]

PACKET_SAMPLES = 512
SAMPLE_RATE_HZ = 44_100
SIGNAL_SECONDS = 3.0
COMPARED = ("nmse_gap_db", "mel_sc", "visqol")

BARS = {"output_db": 30.0, "nmse_gap_db": 0.05, "mel_sc": 0.01, "visqol": 0.01}
"""Output SQNR on the gap's columns at least; int8 worse than float by at most this much on the mean over clips: dB, a
share of the float figure, and points."""


@dataclass(frozen=True)
class Layer:
    """What rounding does to one tensor, and rounding it alone to the output."""

    name: str
    in_network_db: float
    """Signal-to-quantisation-noise ratio of the tensor in the int8 network."""
    alone_db: float
    """That of the output when nothing else is rounded: the lowest is the worst layer."""


@dataclass(frozen=True)
class Comparison:
    """One clip or signal through both networks."""

    name: str
    float_figures: dict[str, float]
    int8_figures: dict[str, float]
    """By metric."""
    difference_db: float
    """int8's waveform in the gaps against float's: how far below."""
    results: tuple[SimulationResult, SimulationResult]


class _Kept:
    """Keeps every tensor as the taps before it leave it."""

    def __init__(self, inner: FakeQuantised | None) -> None:
        self.inner, self.tensors = inner, {}  # type: ignore[var-annotated]

    def activation(self, name: str, x: Tensor) -> Tensor:
        self.tensors[name] = x if self.inner is None else self.inner.activation(name, x)
        return self.tensors[name]

    def weight(self, w: Tensor, channel_axis: int) -> Tensor:
        return w if self.inner is None else self.inner.weight(w, channel_axis)


@torch.no_grad()
def layers(network: Folded, scales: dict[str, Scale], examples: Tensor) -> list[Layer]:
    """Every tensor of ``network`` on generator inputs ``examples``, and ``weights`` for all of them together."""
    inputs = network.encode(examples)
    exact, rounded = _Kept(None), _Kept(FakeQuantised(scales))
    reference = network.decode(network(inputs, exact))
    network(inputs, rounded)
    result = []
    for name, tensor in exact.tensors.items():
        out = network.decode(network(inputs, FakeQuantised(scales, only={name}, weights=False)))
        pair = (tensor, rounded.tensors[name])
        if name == "output":  # its fine half saturates on purpose
            pair = (network.decode(pair[0]), network.decode(pair[1]))
        result.append(Layer(name, ratio_db(*pair), ratio_db(reference, out)))
    out = network.decode(network(inputs, FakeQuantised(scales, only=set())))
    return [*result, Layer("weights", ratio_db(reference, out), ratio_db(reference, out))]


def compare_clips(refiner: Refiner, int8: Path, method: str, pairs: Iterable[tuple[Path, Path]]) -> list[Comparison]:
    """Both networks over recordings with their traces."""
    wanted = [name for name in COMPARED if name in metrics.installed_metrics()]
    result = []
    for clip, trace in pairs:
        audio = read_audio(clip)
        lost = fit_trace(read_trace(trace), audio.frames // PACKET_SAMPLES)
        result.append(_compare(clip.stem, audio, lost, refiner, int8, method, wanted))
    return result


def compare_signals(refiner: Refiner, int8: Path, method: str) -> list[Comparison]:
    """Both networks on what music is not: silence, full scale, clicks, sines, noise, and a very long burst."""
    return [
        _compare(name, audio, lost, refiner, int8, method, COMPARED[:1])
        for name, audio, lost in _signals()
    ]  # fmt: skip


def missed_bars(output_db: float, clips: Sequence[Comparison]) -> list[str]:
    """What falls short of `BARS`, in words; empty when the conversion is good enough."""
    missed = []
    if output_db < BARS["output_db"]:
        missed.append(f"output SQNR is {output_db:.1f} dB, {BARS['output_db']:.0f} dB wanted")
    for metric in clips[0].float_figures if clips else ():
        before = float(np.mean([c.float_figures[metric] for c in clips]))
        after = float(np.mean([c.int8_figures[metric] for c in clips]))
        worse = {"nmse_gap_db": after - before, "mel_sc": after / before - 1, "visqol": before - after}[metric]
        if not worse <= BARS[metric]:  # not a number is no pass
            missed.append(f"{metric} goes from {before:.4f} to {after:.4f}, worse by more than {BARS[metric]}")
    return missed


def _compare(
    name: str,
    audio: Audio,
    lost: NDArray[np.bool_],
    refiner: Refiner,
    int8: Path,
    method: str,
    wanted: Sequence[str],
) -> Comparison:
    def played(make: Callable[[], Seam]) -> SimulationResult:
        return simulate(audio, lost, replace(METHODS[method], name="refined", refiner=make), PACKET_SAMPLES)

    exact = played(lambda: TorchRefiner(refiner, Rung.LITE))
    rounded = played(lambda: TfliteRefiner(int8))
    figures = []
    for result in (exact, rounded):
        measured = metrics.all_metrics(
            audio.samples, result.concealed, lost, PACKET_SAMPLES, audio.sample_rate_hz, names=wanted
        )
        figures.append({m: float("nan") if measured[m] is None else float(measured[m]) for m in wanted})
    a, b = (torch.from_numpy(r.concealed.copy()) for r in (exact, rounded))
    inside = torch.from_numpy(np.repeat(lost, PACKET_SAMPLES))[: len(a)]
    difference = ratio_db(a[: len(inside)][inside], b[: len(inside)][inside])
    return Comparison(name, figures[0], figures[1], difference, (exact, rounded))


def _signals() -> Iterator[tuple[str, Audio, NDArray[np.bool_]]]:
    frames = round(SIGNAL_SECONDS * SAMPLE_RATE_HZ)
    packets = frames // PACKET_SAMPLES
    t = np.arange(frames) / SAMPLE_RATE_HZ
    rng = np.random.default_rng(0)
    lost = GilbertElliott(p=0.06, r=0.5).generate(packets, seed=5)
    burst = np.zeros(packets, bool)
    burst[packets // 3 : packets // 3 + 24] = True
    chord = sum(np.sin(2 * np.pi * f * t) / k for k, f in enumerate((220.0, 277.2, 329.6, 440.0, 659.3), 1))
    clicks = np.zeros(frames)
    clicks[:: SAMPLE_RATE_HZ // 7] = 0.9
    waves = {
        "silence": np.zeros(frames),
        "full scale": np.sign(np.sin(2 * np.pi * 110 * t)),
        "clicks": clicks,
        "sine 1 kHz": 0.5 * np.sin(2 * np.pi * 1000 * t),
        "chord": 0.2 * chord,
        "noise": rng.normal(0, 0.1, frames),
        "very quiet chord": 2e-4 * chord,
    }
    for name, wave in waves.items():
        yield name, _audio(wave), lost
    yield "burst of 24 packets", _audio(0.2 * chord), burst


def _audio(wave: NDArray[np.float64]) -> Audio:
    return Audio(wave.astype(np.float32)[:, np.newaxis], SAMPLE_RATE_HZ, "FLOAT", "WAV")
