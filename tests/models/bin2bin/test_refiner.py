"""A residual refiner starts as the identity; every variant runs and has gradients."""

import pytest
import torch

from continuo.firmware_py.rt.refinement import PREDICT_SAMPLES
from continuo.models.bin2bin.refiner import Refiner, RefinerConfig

SMALL = (4, 4, 4, 4, 4, 4, 4)
COVERED = 576


@pytest.mark.parametrize("output", ["residual", "gain"])
def test_starts_as_the_identity(output: str) -> None:
    refiner = Refiner(RefinerConfig(SMALL, hop=64, columns=64, inputs="relative", output=output, dropout=0.0))
    chunk = 0.1 * torch.randn(2, refiner.spectrum.chunk_samples)
    refined = refiner(chunk, torch.zeros_like(chunk))
    prediction = chunk[:, -PREDICT_SAMPLES:]
    torch.testing.assert_close(refined[:, :COVERED], prediction[:, :COVERED], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("scale", ["linear", "sqrt", "log"])
@pytest.mark.parametrize("output", ["relu", "sigmoid", "gain", "residual"])
def test_every_variant_learns(scale: str, output: str) -> None:
    inputs = {"residual": "complex", "gain": "relative"}.get(output, "magnitude")
    refiner = Refiner(RefinerConfig(SMALL, hop=64, columns=64, scale=scale, inputs=inputs, output=output))
    chunk = 0.1 * torch.randn(4, refiner.spectrum.chunk_samples)
    refined = refiner(chunk, torch.zeros_like(chunk))
    assert torch.isfinite(refined).all()
    refined.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in refiner.parameters() if p.grad is not None)
    assert refiner.generator.last.weight.grad.abs().sum() > 0


def test_gain_of_the_input_comes_out_again() -> None:
    refiner = Refiner(RefinerConfig(SMALL, hop=64, columns=64, inputs="complex", output="residual")).eval()
    torch.nn.init.normal_(refiner.generator.last.weight, std=0.1)
    chunk = 0.1 * torch.randn(1, refiner.spectrum.chunk_samples)
    mask = torch.zeros_like(chunk)
    torch.testing.assert_close(refiner(chunk / 8, mask) * 8, refiner(chunk, mask), atol=1e-5, rtol=1e-3)


def test_silence_stays_silent() -> None:
    refiner = Refiner(RefinerConfig(SMALL, hop=64, columns=64, inputs="complex", output="residual")).eval()
    torch.nn.init.normal_(refiner.generator.last.weight, std=0.1)
    silence = torch.zeros(1, refiner.spectrum.chunk_samples)
    assert refiner(silence, silence).abs().max() < 1e-6


def test_unknown_variant_is_refused() -> None:
    with pytest.raises(ValueError, match="choose from"):
        Refiner(RefinerConfig(SMALL, hop=64, columns=64, scale="cubic"))
