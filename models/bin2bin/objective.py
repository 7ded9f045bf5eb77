"""What generator and discriminator minimise: the losses put together for one batch."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...firmware_py.rt.refinement import BINS, FFT_SAMPLES, PREDICT_SAMPLES
from ..data.packets import PACKET_SAMPLES, Batch
from ..experiment import Experiment
from . import losses
from .discriminator import Discriminator
from .refiner import Refiner

__all__ = ["Objective", "Views"]

CROSSFADE_SAMPLES = 64
HOP = 64
"""Between the windows through which the listener's signal is judged."""
BEFORE = FFT_SAMPLES - HOP
"""Past samples before the gap that its first window sees."""


@dataclass(frozen=True)
class Views:
    """The refined batch as the losses see it; magnitudes [shape=(batch, bins, columns)]."""

    waveform: Tensor
    """[batch, 1024]"""
    magnitude: Tensor
    truth: Tensor
    condition: Tensor
    """The predictor's."""


class Objective(nn.Module):
    """Paper 000, section II-B, with the terms of ours, weighted by the experiment."""

    window: Tensor
    rise: Tensor

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        self.weights = experiment.losses
        self.gap = experiment.losses.columns == "gap"
        self.register_buffer("window", torch.hann_window(FFT_SAMPLES), persistent=False)
        rise = 0.5 - 0.5 * torch.cos(torch.pi * (torch.arange(CROSSFADE_SAMPLES) + 0.5) / CROSSFADE_SAMPLES)
        after = PREDICT_SAMPLES - PACKET_SAMPLES - CROSSFADE_SAMPLES
        rise = torch.cat((torch.zeros(PACKET_SAMPLES), rise, torch.ones(after)))
        self.register_buffer("rise", rise, persistent=False)
        self.mel = losses.MelConvergence(experiment.sample_rate_hz)

    def discriminator(self, refiner: Refiner) -> Discriminator:
        """A discriminator for the spectrograms that `views` makes."""
        columns = (BEFORE + PREDICT_SAMPLES - FFT_SAMPLES) // HOP + 1 if self.gap else refiner.spectrum.columns
        return Discriminator(1, BINS, columns)

    def views(self, refiner: Refiner, batch: Batch) -> Views:
        """Run the refiner on ``batch``."""
        columns = refiner.spectrum.touched if self.gap else refiner.spectrum.columns
        refined, before, peak = refiner.refine_spectrum(
            batch.chunk, batch.concealed, batch.repetition, batch.match, columns
        )
        waveform = refiner.waveform(batch.chunk, refined, peak)
        if self.gap:
            past = batch.chunk[:, -PREDICT_SAMPLES - BEFORE : -PREDICT_SAMPLES]
            magnitude, truth, condition = (
                self._magnitude(torch.cat((past, joined), dim=1) / peak)
                for joined in (
                    self._joined(waveform, batch.truth),
                    batch.truth,
                    self._joined(batch.chunk[:, -PREDICT_SAMPLES:], batch.truth),
                )
            )
            return Views(waveform, magnitude, truth, condition)
        true_chunk = torch.cat((batch.chunk[:, :-PREDICT_SAMPLES], batch.truth), dim=1)
        truth = refiner.spectrum(true_chunk / peak)
        return Views(waveform, *(s.abs()[:, :BINS] for s in (refined, truth, before)))

    def generator_loss(self, views: Views, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum to minimise without the adversarial term, and its terms."""
        terms = {
            "convergence": losses.spectral_convergence(views.truth, views.magnitude),
            "log_magnitude": losses.log_magnitude_loss(views.truth, views.magnitude),
        }
        total = self.weights.convergence * terms["convergence"] + self.weights.log_magnitude * terms["log_magnitude"]
        if self.weights.waveform:
            end = PACKET_SAMPLES + CROSSFADE_SAMPLES
            truth, refined = batch.truth[:, :end], views.waveform[:, :end]
            terms["waveform"] = (
                losses.pooled_error(truth, refined, batch.chunk[:, -PREDICT_SAMPLES - end : -PREDICT_SAMPLES])
                if self.weights.pooled
                else losses.waveform_loss(truth, refined)
            )
            total = total + self.weights.waveform * terms["waveform"]
        if self.weights.mel:
            terms["mel"] = self.mel(views.truth, views.magnitude, self._past(batch) if self.weights.pooled else None)
            total = total + self.weights.mel * terms["mel"]
        return total, terms

    @staticmethod
    def judged(refiner: Refiner, views: Views) -> tuple[Tensor, Tensor, Tensor]:
        """Generated, real and condition as the discriminator sees them [shape=(batch, 1, 256, columns)]."""
        generated, real, condition = (
            refiner.scaled(m[:, :BINS])[:, None] for m in (views.magnitude, views.truth, views.condition)
        )
        return generated, real, condition

    def _past(self, batch: Batch) -> Tensor:
        """Magnitudes of as much past as the views show of gap and after."""
        span = BEFORE + PREDICT_SAMPLES
        past = batch.chunk[:, -PREDICT_SAMPLES - span : -PREDICT_SAMPLES]
        return self._magnitude(past / batch.chunk.abs().amax(dim=-1, keepdim=True).clamp_min(1e-6))

    def _joined(self, waveform: Tensor, truth: Tensor) -> Tensor:
        """What the listener gets: the gap, the crossfade, the next packet."""
        return waveform + self.rise * (truth - waveform)

    def _magnitude(self, samples: Tensor) -> Tensor:
        frames = samples.unfold(-1, FFT_SAMPLES, HOP) * self.window
        spectrum = torch.fft.rfft(frames)
        return (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt().transpose(-1, -2)
