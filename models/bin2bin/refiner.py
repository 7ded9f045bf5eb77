"""Prediction in, better prediction out: scaling, generator and inverse transform around each other."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...firmware_py.rt.refinement import (
    BINS,
    INPUTS,
    LIMIT,
    LOG_GAIN,
    MIX_SLOPE,
    MIX_START,
    MIXED_BINS,
    OUTPUTS,
    PREDICT_SAMPLES,
    REPETITION_INPUTS,
    SCALES,
    SMALLEST,
)
from .generator import Generator
from .spectrum import Spectrum

__all__ = ["Analysis", "Refiner", "RefinerConfig"]


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
    repetition: bool = False
    """Whether the network also sees how the most similar past went on (`firmware_py.rt.repetition`), and mixes that in:
    for inputs ``relative`` and output ``gain``."""
    dropout: float = 0.5
    fade_in_samples: int = 0
    """From the predictor into the refiner's output, at the start of the gap."""


@dataclass(frozen=True)
class Analysis:
    """Chunks taken apart, peak-normalised."""

    seen: Tensor
    """What the generator sees (`Refiner.network_input`)."""
    spectrum: Tensor
    """Complex [shape=(batch, 257, columns)]."""
    level: Tensor
    """Of the bins [shape=(batch, 256, columns)]."""
    peak: Tensor
    """[shape=(batch, 1)]"""
    repetition: Tensor | None
    """Complex, as ``spectrum``."""


class Refiner(nn.Module):
    """A bin2bin generator with the transforms around it."""

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        for key, known in (("scale", SCALES), ("inputs", tuple(INPUTS)), ("output", OUTPUTS)):
            if getattr(config, key) not in known:
                raise ValueError(f"{key} is '{getattr(config, key)}': choose from {', '.join(known)}")
        if config.output == "residual" and config.inputs == "magnitude":
            raise ValueError("output 'residual' is in units of each bin's level: choose inputs 'relative' or 'complex'")
        if config.repetition and (config.inputs, config.output) != ("relative", "gain"):
            raise ValueError("a repetition is mixed in by a gain: choose inputs 'relative' and output 'gain'")
        self.config = config
        self.residual = config.output == "residual"
        self.spectrum = Spectrum(config.hop, config.columns)
        self.generator = Generator(
            INPUTS[config.inputs] + (REPETITION_INPUTS if config.repetition else 0),
            4 if self.residual else 2 if config.repetition else 1,
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

    def forward(
        self, chunk: Tensor, concealed: Tensor, repetition: Tensor | None = None, match: Tensor | None = None
    ) -> Tensor:
        """Refine the last 1024 samples of each chunk.

        Parameters
        ----------
        chunk : float32 [shape=(batch, chunk_samples)], past and prediction, full scale 1
        concealed : float32 [shape=(batch, chunk_samples)], 1 where a sample is no received one, else 0
        repetition, match : float32 [shape=(batch, chunk_samples)] and [shape=(batch,)], as `Repetition.find` gives
            them; for a configuration with ``repetition``

        Returns
        -------
        float32 [shape=(batch, 1024)]
        """
        refined, _, peak = self.refine_spectrum(chunk, concealed, repetition, match, self.spectrum.touched)
        return self.waveform(chunk, refined, peak)

    def refine_spectrum(
        self, chunk: Tensor, concealed: Tensor, repetition: Tensor | None, match: Tensor | None, columns: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The last ``columns`` columns after and before refinement (complex, peak-normalised), and the peak."""
        parts = self.analyse(chunk, concealed, repetition, match)
        out = self.generator(parts.seen)[..., -columns:].float()
        before = parts.spectrum[..., -columns:]
        if self.residual:
            bins = self._residual(before, parts.level, out)
        else:
            base = before
            if parts.repetition is not None:
                share = torch.sigmoid(MIX_SLOPE * out[:, 1, :MIXED_BINS] + MIX_START)
                change = share * (parts.repetition[..., -columns:] - before)[:, :MIXED_BINS]
                base = torch.cat((before[:, :MIXED_BINS] + change, before[:, MIXED_BINS:]), dim=1)
            bins = self._remagnify(base, out[:, 0])
        return torch.cat((bins, before[:, BINS:]), dim=1), before, parts.peak

    def analyse(
        self, chunk: Tensor, concealed: Tensor, repetition: Tensor | None = None, match: Tensor | None = None
    ) -> Analysis:
        """Take chunks apart [shapes as in `forward`]."""
        peak = chunk.abs().amax(dim=-1, keepdim=True).clamp_min(1e-6)
        spectrum = self.spectrum(chunk / peak)
        level = self.spectrum.level(spectrum[:, :BINS])
        if not self.config.repetition:
            return Analysis(self.network_input(spectrum, level, concealed), spectrum, level, peak, None)
        if repetition is None or match is None:
            raise ValueError("this refiner needs the repetition and how well it matches")
        other = self.spectrum(repetition / peak)
        seen = self.network_input(spectrum, level, concealed)
        more = self._repetition_input(spectrum[:, :BINS], other[:, :BINS], level, match)
        return Analysis(torch.cat((seen, more), dim=1), spectrum, level, peak, other)

    @staticmethod
    def _repetition_input(bins: Tensor, other: Tensor, level: Tensor, match: Tensor) -> Tensor:
        """Logarithm of the repetition's magnitude, cosine of its phase to the chunk's, match, each column, each bin."""
        a, b = bins / level, other / level
        magnitude = (b.abs().clamp_max(LIMIT) + 0.01).log10()
        cosine = (a.real * b.real + a.imag * b.imag) / (a.abs() * b.abs() + 1e-4)
        return torch.stack((magnitude, cosine, match[:, None, None].expand_as(level)), dim=1)

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
