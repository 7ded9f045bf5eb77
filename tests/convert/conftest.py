"""Small networks with weights at random, and what they would see of music."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from continuo.models.bin2bin.refiner import Refiner, RefinerConfig
from continuo.models.bin2bin.runtime import save_weights

SeenBy = Callable[..., torch.Tensor]
GAIN = {"hop": 64, "columns": 48, "inputs": "relative", "output": "gain", "dropout": 0.0, "time_halvings": 3}
VARIANTS = {
    "ours": RefinerConfig((8,) * 7, **GAIN),
    "repetition": RefinerConfig((8,) * 7, **GAIN, repetition=True),
    "wide": RefinerConfig((8,) * 7, **GAIN, deep_columns=4),
    "complex": RefinerConfig((8,) * 7, hop=64, columns=64, inputs="complex", output="residual", dropout=0.0),
    "paper": RefinerConfig((8,) * 7, hop=16, columns=256, dropout=0.5),
}


def random_refiner(config: RefinerConfig) -> Refiner:
    """Nothing at its neutral value, batch norm included, so that whatever is left out shows."""
    torch.manual_seed(1)
    refiner = Refiner(config).eval()
    for name, value in refiner.generator.state_dict().items():
        if name.endswith("running_var") or (name.endswith("weight") and value.dim() == 1):
            value.uniform_(0.5, 2.0)
        elif value.is_floating_point() and value.dim() == 1:
            value.normal_(0, 0.1)
    torch.nn.init.normal_(refiner.generator.last.weight, std=0.1)
    return refiner


@pytest.fixture
def seen_by() -> SeenBy:
    return _seen_by


def _seen_by(refiner: Refiner, count: int, seed: int = 0) -> torch.Tensor:
    """Generator inputs of chords in noise [shape=(count, channels, 256, columns)]."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(refiner.spectrum.chunk_samples) / 44_100
    pitches_hz = 100 * 2 ** (4 * torch.rand(count, 5, 1, generator=generator))
    chunk = 0.1 * torch.sin(2 * torch.pi * pitches_hz * t).sum(1)
    chunk = chunk + 0.01 * torch.randn(chunk.shape, generator=generator)
    concealed = torch.zeros_like(chunk)
    concealed[:, -1024:] = 1.0
    with torch.no_grad():
        found = chunk + 0.02 * torch.randn(chunk.shape, generator=generator)
        return refiner.analyse(chunk, concealed, found, torch.full((count,), 0.9)).seen


@pytest.fixture(params=VARIANTS)
def refiner(request: pytest.FixtureRequest) -> Refiner:
    return random_refiner(VARIANTS[request.param])


@pytest.fixture
def ours() -> Refiner:
    return random_refiner(VARIANTS["ours"])


@pytest.fixture
def weights(ours: Refiner, tmp_path: Path) -> Path:
    path = tmp_path / "small.npz"
    save_weights(ours, path, {"experiment": {"method": "lpc"}, "steps": 0})
    return path
