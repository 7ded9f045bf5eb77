"""Waveform to spectrogram columns and back, without padding, so that streaming and training see the same columns.

One chunk ends with the prediction; every column is a whole window of real samples:

        |<------------- past ------------->|<- predicted (1024) ->|
        |==FFT==|                                                     column 0
           |==FFT==|                                                  column 1, one hop later
                                                      |==FFT==|       last column, ends with the prediction

With FFT 512 and hop 64, 64 columns span 4544 samples, of which 3520 are past; the last 16 columns touch the prediction.
The paper (000, section II-C) has a chunk of 4096 samples, hop 16 and 256 x 256 of 257 x 257 bins and columns: the bin
above (22 kHz, the Nyquist bin) is passed on unrefined, and instead of a padded 257th column the chunk reaches a little
further into the past.
"""

import torch
from torch import Tensor, nn

from ...firmware_py.rt.refinement import FFT_SAMPLES, LEVEL_COLUMNS, PREDICT_SAMPLES, QUIETEST_BIN

__all__ = ["Spectrum"]


class Spectrum(nn.Module):
    """Short-time Fourier transform of one chunk.

    Parameters
    ----------
    hop : int, samples between columns; divides 512
    columns : int
    """

    window: Tensor

    def __init__(self, hop: int, columns: int) -> None:
        super().__init__()
        if FFT_SAMPLES % hop or hop > FFT_SAMPLES // 4:
            raise ValueError(f"hop {hop} must divide {FFT_SAMPLES} at least into four, for windows that add up")
        self.hop, self.columns = hop, columns
        self.chunk_samples = (columns - 1) * hop + FFT_SAMPLES
        self.past_samples = self.chunk_samples - PREDICT_SAMPLES
        self.touched = (PREDICT_SAMPLES - 1) // hop + 1
        """How many columns, at the end, contain predicted samples."""
        if self.past_samples < FFT_SAMPLES:
            raise ValueError(f"{columns} columns at hop {hop} hold too little past: take more columns or a longer hop")
        self.register_buffer("window", torch.hann_window(FFT_SAMPLES), persistent=False)
        self.full_scale = float(self.window.sum()) / 2
        """Magnitude of a full-scale sine."""

    def forward(self, chunk: Tensor) -> Tensor:
        """Columns of ``chunk`` [shape=(batch, chunk_samples)] as complex [shape=(batch, 257, columns)]."""
        frames = chunk.unfold(-1, FFT_SAMPLES, self.hop) * self.window
        return torch.fft.rfft(frames).transpose(-1, -2)

    def inverse(self, touched: Tensor) -> Tensor:
        """Predicted samples [shape=(batch, 1024)] from the last ``touched`` columns [shape=(batch, 257, touched)].

        Windowed overlap-add. The first 1024 - 512 + hop samples are covered by every window that they ought to be;
        after them the weight runs out with the columns, and what lies there comes out too low.
        """
        frames = torch.fft.irfft(touched.transpose(-1, -2), n=FFT_SAMPLES) * self.window
        span = (self.touched - 1) * self.hop + FFT_SAMPLES
        added = nn.functional.fold(frames.transpose(-1, -2), (1, span), (1, FFT_SAMPLES), stride=(1, self.hop))
        weight = float(self.window.square().sum()) / self.hop
        return added[:, 0, 0, -PREDICT_SAMPLES:] / weight

    def level(self, spectrum: Tensor) -> Tensor:
        """Root mean square of each bin over the last 16 columns up to and with each one [shape of ``spectrum``, real].

        It looks back only, so a column keeps its level as it moves into the past; the columns that touch the prediction
        have the level of the last one that does not. (The first 15 columns have fewer to look at.)
        """
        known = spectrum[..., : -self.touched].abs().square()
        added = nn.functional.pad(known.cumsum(-1), (LEVEL_COLUMNS, 0))
        counts = torch.arange(1, known.shape[-1] + 1, device=known.device).clamp_max(LEVEL_COLUMNS)
        mean = (added[..., LEVEL_COLUMNS:] - added[..., :-LEVEL_COLUMNS]).clamp_min(0) / counts
        level = torch.cat((mean, mean[..., -1:].expand(*mean.shape[:-1], self.touched)), dim=-1).sqrt()
        loudest = level.amax(dim=-2, keepdim=True).clamp_min(1e-6)
        return torch.maximum(level, QUIETEST_BIN * loudest)

    def column_mean(self, samples: Tensor) -> Tensor:
        """Mean of ``samples`` [shape=(batch, chunk_samples)] over each column's window [shape=(batch, columns)]."""
        return samples.unfold(-1, FFT_SAMPLES, self.hop).mean(-1)
