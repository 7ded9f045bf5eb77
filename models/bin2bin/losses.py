"""Losses: the paper's (000, equations 1-4) and those that watch the waveform and what the listener gets.

The spectral losses take magnitudes [shape=(batch, bins, columns)]; sums run per example, means over the batch, so
that a quiet passage counts as much as a loud one.
"""

import torch
from torch import Tensor

from ...firmware_py.metrics import mel_filters

__all__ = [
    "MelConvergence",
    "discriminator_loss",
    "generator_adversarial_loss",
    "log_magnitude_loss",
    "pooled_error",
    "spectral_convergence",
    "waveform_loss",
]

FLOOR = 1e-3
"""Added inside logarithms, in units of magnitude: -102 dB under a full-scale sine in a 512-sample Hann window."""


def discriminator_loss(real: Tensor, generated: Tensor) -> Tensor:
    """Equation 1: least squares, conditional. Scores [shape=(batch,)]."""
    return 0.5 * (real - 1).square().mean() + 0.5 * generated.square().mean()


def generator_adversarial_loss(generated: Tensor) -> Tensor:
    """Equation 2."""
    return 0.5 * (generated - 1).square().mean()


def spectral_convergence(target: Tensor, estimate: Tensor) -> Tensor:
    """Equation 3."""
    return _relative_error(target.flatten(1), estimate.flatten(1)).mean()


def log_magnitude_loss(target: Tensor, estimate: Tensor) -> Tensor:
    """Equation 4, natural logarithm."""
    return ((target + FLOOR).log() - (estimate + FLOOR).log()).abs().mean()


def waveform_loss(target: Tensor, estimate: Tensor) -> Tensor:
    """Root of the normalised squared error of waveforms [shape=(batch, samples)]: `nmse_gap_db` before the dB."""
    return _relative_error(target, estimate).mean()


def pooled_error(target: Tensor, estimate: Tensor, past: Tensor) -> Tensor:
    """Root of the batch's mean squared error, each example's [shape=(batch, n)] in units of the energy of its ``past``.

    The metrics pool a whole clip: a loud gap counts for more than a quiet one, an onset for more than what it begins
    in. The other losses count every example alike. A tenth of the target's own energy is added to the past's, so that
    a beginning after silence does not outweigh everything else.
    """
    error = (target - estimate).square().sum(-1)
    reference = past.square().sum(-1) + 0.1 * target.square().sum(-1) + 1e-6
    return (error / reference).mean().add(1e-6).sqrt()


class MelConvergence(torch.nn.Module):
    """Spectral convergence of mel magnitudes: the `mel_sc` that the project reports."""

    filters: Tensor

    def __init__(self, sample_rate_hz: int = 44_100) -> None:
        super().__init__()
        filters = torch.tensor(mel_filters(sample_rate_hz), dtype=torch.float32)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, target: Tensor, estimate: Tensor, past: Tensor | None = None) -> Tensor:
        target, estimate = self.filters @ target, self.filters @ estimate
        if past is None:
            return spectral_convergence(target, estimate)
        return pooled_error(target.flatten(1), estimate.flatten(1), (self.filters @ past).flatten(1))


def _relative_error(target: Tensor, estimate: Tensor) -> Tensor:
    error = (target - estimate).square().sum(-1)
    return (error / (target.square().sum(-1) + 1e-6) + 1e-6).sqrt().clamp_max(4.0)
