"""Prediction in, better prediction out: scaling, generator and inverse transform around each other."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...firmware_py.rt.refinement import BINS, INPUTS, LIMIT, LOG_GAIN, OUTPUTS, PREDICT_SAMPLES, SCALES, SMALLEST
from .generator import Generator
from .spectrum import Spectrum

__all__ = ["Refiner", "RefinerConfig"]


@dataclass(frozen=True)
class RefinerConfig:
    """What distinguishes one bin2bin from another."""

    widths: tuple[int, ...] = (16, 32, 64, 128, 128, 128, 128)
    """Channels of the encoder (paper: lite)."""
    hop: int = 16
    columns: int = 256
    scale: str = "linear"
    """Of magnitudes, in and out: ``linear``, ``sqrt`` (square root / 3.5) or ``log``."""
    inputs: str = "magnitude"
    """``magnitude`` on that scale; ``relative``: its logarithm in units of each bin's recent level, the share of
    concealed samples, and the level; ``complex``: real and imaginary parts in those units as well."""
    output: str = "relu"
    """``relu`` or ``sigmoid``: the magnitude itself; ``gain``: a factor of 1/4 to 4 on the predictor's magnitude;
    ``residual``: the predictor's complex spectrum times a complex gain, plus a complex addition in units of each bin's
    recent level."""
    time_halvings: int = 8
    """How many blocks halve time (`generator.strides`)."""
    deep_columns: int = 1
    """Width of the kernels in the blocks that do not: 1, or 4 as in those that do."""
    separable: bool = False
    """Depthwise-separable convolutions."""
    dropout: float = 0.5
    fade_in_samples: int = 0
    """From the predictor into the refiner's output, at the start of the gap."""


class Refiner(nn.Module):
    """A bin2bin generator with the transforms around it."""

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        for key, known in (("scale", SCALES), ("inputs", tuple(INPUTS)), ("output", OUTPUTS)):
            if getattr(config, key) not in known:
                raise ValueError(f"{key} is '{getattr(config, key)}': choose from {', '.join(known)}")
        if config.output == "residual" and config.inputs == "magnitude":
            raise ValueError("output 'residual' is in units of each bin's level: choose inputs 'relative' or 'complex'")
        self.config = config
        self.residual = config.output == "residual"
        self.spectrum = Spectrum(config.hop, config.columns)
        self.generator = Generator(
            INPUTS[config.inputs],
            4 if self.residual else 1,
            BINS,
            config.columns,
            config.widths,
            config.dropout,
            config.time_halvings,
            config.deep_columns,
            config.separable,
            zero_last=config.output in {"residual", "gain"},
        )
        length = config.fade_in_samples
        fade = 0.5 - 0.5 * torch.cos(torch.pi * (torch.arange(length) + 0.5) / max(1, length))
        self.register_buffer("fade_in", torch.cat((fade, torch.ones(PREDICT_SAMPLES - length))), persistent=False)

    def forward(self, chunk: Tensor, concealed: Tensor) -> Tensor:
        """Refine the last 1024 samples of each chunk.

        Parameters
        ----------
        chunk : float32 [shape=(batch, chunk_samples)], past and prediction, full scale 1
        concealed : float32 [shape=(batch, chunk_samples)], 1 where a sample is no received one, else 0

        Returns
        -------
        float32 [shape=(batch, 1024)]
        """
        refined, _, peak = self.refine_spectrum(chunk, concealed, self.spectrum.touched)
        return self.waveform(chunk, refined, peak)

    def refine_spectrum(self, chunk: Tensor, concealed: Tensor, columns: int) -> tuple[Tensor, Tensor, Tensor]:
        """The last ``columns`` columns after and before refinement (complex, peak-normalised), and the peak."""
        seen, spectrum, level, peak = self.analyse(chunk, concealed)
        out = self.generator(seen)[..., -columns:].float()
        before = spectrum[..., -columns:]
        bins = self._residual(before, level, out) if self.residual else self._remagnify(before, out[:, 0])
        return torch.cat((bins, before[:, BINS:]), dim=1), before, peak

    def analyse(self, chunk: Tensor, concealed: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the generator sees (`network_input`) of chunks [shape as in `forward`], and what that was made of.

        Also: the complex spectrum of the peak-normalised chunk [shape=(batch, 257, columns)], the level of its bins
        [shape=(batch, 256, columns)] and the peak [shape=(batch, 1)].
        """
        peak = chunk.abs().amax(dim=-1, keepdim=True).clamp_min(1e-6)
        spectrum = self.spectrum(chunk / peak)
        level = self.spectrum.level(spectrum[:, :BINS])
        return self.network_input(spectrum, level, concealed), spectrum, level, peak

    def waveform(self, chunk: Tensor, refined: Tensor, peak: Tensor) -> Tensor:
        """Back to samples: the refined spectrum's last 1024, faded in from the prediction."""
        prediction = chunk[:, -PREDICT_SAMPLES:]
        samples = self.spectrum.inverse(refined[..., -self.spectrum.touched :]) * peak
        return prediction + self.fade_in * (samples - prediction)

    def network_input(self, spectrum: Tensor, level: Tensor, concealed: Tensor) -> Tensor:
        """What the generator sees of a complex ``spectrum`` [shape=(batch, 257, columns)] of peak-normalised samples.

        Magnitude [shape=(batch, 1, 256, columns)]; or ``relative`` [shape=(batch, 3, 256, columns)]: logarithm of the
        magnitude in units of the bin's level, the share of concealed samples in the column's window, the level from 0
        (100 dB below the loudest bin) to 1; or ``complex`` [shape=(batch, 5, 256, columns)]: real and imaginary part in
        units of the level, then the same three.
        """
        bins = spectrum[:, :BINS]
        if self.config.inputs == "magnitude":
            return self.scaled(bins.abs())[:, None]
        relative = bins / level
        mask = self.spectrum.column_mean(concealed)[:, None, :].expand_as(level)
        loudness = 1 + (level / level.amax(dim=-2, keepdim=True)).log10() / 5
        magnitude = (relative.abs().clamp_max(LIMIT) + 0.01).log10()
        if self.config.inputs == "relative":
            return torch.stack((magnitude, mask, loudness), dim=1)
        real, imaginary = relative.real.clamp(-LIMIT, LIMIT), relative.imag.clamp(-LIMIT, LIMIT)
        return torch.stack((real, imaginary, magnitude, mask, loudness), dim=1)

    def _residual(self, before: Tensor, level: Tensor, out: Tensor) -> Tensor:
        bins = before[:, :BINS]
        gain, added = torch.complex(out[:, 0], out[:, 1]), torch.complex(out[:, 2], out[:, 3])
        return bins + bins * gain + added * level[..., -out.shape[-1] :]

    def _remagnify(self, before: Tensor, out: Tensor) -> Tensor:
        magnitude = before[:, :BINS].abs().clamp_min(SMALLEST)
        return before[:, :BINS] / magnitude * self._magnitude(out, magnitude)

    def scaled(self, magnitude: Tensor) -> Tensor:
        """Magnitudes on the scale that the network works in."""
        if self.config.scale == "sqrt":
            return magnitude.clamp_min(SMALLEST**2).sqrt() / 3.5
        if self.config.scale == "log":
            return (magnitude.clamp_min(SMALLEST) / SMALLEST).log() / 14.0  # 0 to 1 for full scale
        return magnitude

    def _magnitude(self, out: Tensor, predicted: Tensor) -> Tensor:
        if self.config.output == "gain":
            return predicted * torch.exp(LOG_GAIN * torch.tanh(out))
        bounded = torch.sigmoid(out) if self.config.output == "sigmoid" else torch.relu(out)
        if self.config.scale == "sqrt":
            return (3.5 * bounded).square()
        if self.config.scale == "log":
            return SMALLEST * torch.exp((14.0 * bounded).clamp_max(20.0))
        return bounded
