"""Transform geometry: nothing padded, everything that should be covered is restored."""

import numpy as np
import pytest
import torch

from continuo.firmware_py.rt.refinement import FFT_SAMPLES, PREDICT_SAMPLES
from continuo.models.bin2bin.spectrum import Spectrum


@pytest.mark.parametrize(("hop", "columns"), [(16, 256), (32, 128), (64, 64)])
def test_inverse_restores_what_every_window_covers(hop: int, columns: int) -> None:
    spectrum = Spectrum(hop, columns)
    chunk = torch.randn(2, spectrum.chunk_samples)
    restored = spectrum.inverse(spectrum(chunk)[..., -spectrum.touched :])
    covered = PREDICT_SAMPLES - FFT_SAMPLES + hop
    torch.testing.assert_close(restored[:, :covered], chunk[:, -PREDICT_SAMPLES:][:, :covered], atol=1e-5, rtol=1e-5)


def test_columns_are_plain_windowed_transforms() -> None:
    spectrum = Spectrum(64, 64)
    chunk = torch.randn(1, spectrum.chunk_samples)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_SAMPLES) / FFT_SAMPLES)
    for column in (0, 17, 63):
        expected = np.fft.rfft(chunk[0, 64 * column : 64 * column + FFT_SAMPLES].numpy() * window)
        np.testing.assert_allclose(spectrum(chunk)[0, :, column].numpy(), expected, atol=1e-3)


@pytest.mark.parametrize(("hop", "columns"), [(16, 256), (64, 64)])
def test_only_the_touched_columns_see_the_prediction(hop: int, columns: int) -> None:
    spectrum = Spectrum(hop, columns)
    chunk = torch.randn(1, spectrum.chunk_samples)
    other = chunk.clone()
    other[:, -PREDICT_SAMPLES:] = 0
    changed = (spectrum(chunk) - spectrum(other)).abs().amax(dim=(0, 1)) > 0
    assert changed.sum() == spectrum.touched
    assert changed[-spectrum.touched :].all()


def test_level_of_a_column_depends_on_the_past_alone() -> None:
    spectrum = Spectrum(64, 64)
    bins = spectrum(torch.randn(1, spectrum.chunk_samples))[:, :256]
    later = bins.clone()
    later[..., 40:] *= 7
    torch.testing.assert_close(spectrum.level(bins)[..., :40], spectrum.level(later)[..., :40])


def test_impossible_geometry_is_refused() -> None:
    with pytest.raises(ValueError, match="hop"):
        Spectrum(200, 64)
    with pytest.raises(ValueError, match="past"):
        Spectrum(16, 16)
