"""Ranges from real music, rounding as the board rounds, and training through it."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from .flatbuffer import Scale
from .folded import Folded

__all__ = ["FakeQuantised", "Ranges", "prepare", "tune"]

SAMPLES_PER_TENSOR = 400_000
"""On which a range is chosen."""
EXAMPLES_AT_ONCE = 8
TUNE_LEARNING_RATE = 2e-6
"""At first; it falls to nearly nothing. On held-out training files, in 200 steps, 1e-6 to 4e-6 gain 1.2 to 1.5 dB of
output SQNR; a constant 5e-5 loses 4 to 9."""


class Ranges:
    """Collects what activations look like and chooses their int8 ranges."""

    def __init__(self) -> None:
        self._seen: dict[str, list[Tensor]] = {}
        self.loudest: dict[str, float] = {}

    def activation(self, name: str, x: Tensor) -> Tensor:
        """See `Taps`."""
        flat = x.detach().flatten()
        step = max(1, flat.numel() * 16 // SAMPLES_PER_TENSOR) | 1  # odd: meets every channel and column
        self._seen.setdefault(name, []).append(flat[::step].clone())
        self.loudest[name] = max(self.loudest.get(name, 0.0), float(flat.abs().max()))
        return x

    def weight(self, w: Tensor, channel_axis: int) -> Tensor:
        """See `Taps`."""
        del channel_axis
        return w

    def scales(self, network: Folded) -> dict[str, Scale]:
        """By tensor: the range with the least squared error, where rare outliers are cut off if that serves the rest.

        Input and output are scaled to -1 ... 1; tensors that meet in a concat share the wider range.
        """
        bounds = {
            name: _best_range(torch.cat(seen)[:SAMPLES_PER_TENSOR], network.slope if name.endswith(".sum") else 1.0)
            for name, seen in self._seen.items()
        }
        bounds["input"] = bounds["output"] = (-1.0, 1.0)
        for ours, skip in network.joins:
            shared = (min(bounds[ours][0], bounds[skip][0]), max(bounds[ours][1], bounds[skip][1]))
            bounds[ours] = bounds[skip] = shared
        return {name: Scale.of_range(*bound) for name, bound in bounds.items()}


class FakeQuantised:
    """Rounds weights and activations as int8 does, in floating point; gradients pass through."""

    def __init__(self, scales: Mapping[str, Scale], only: set[str] | None = None, weights: bool = True) -> None:
        self.scales, self.only, self.weights = scales, only, weights

    def activation(self, name: str, x: Tensor) -> Tensor:
        """See `Taps`."""
        if self.only is not None and name not in self.only:
            return x
        numbers = self.scales[name]
        return torch.fake_quantize_per_tensor_affine(x, numbers.scale, numbers.zero_point, -128, 127)

    def weight(self, w: Tensor, channel_axis: int) -> Tensor:
        """See `Taps`."""
        if not self.weights:
            return w
        axes = [axis for axis in range(4) if axis != channel_axis]
        scale = (w.detach().abs().amax(axes) / 127).clamp_min(1e-9)
        zeros = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(w, scale, zeros, channel_axis, -127, 127)


@torch.no_grad()
def prepare(network: Folded, spectrograms: Tensor) -> dict[str, Scale]:
    """Scale ``network`` for int8 on ``spectrograms`` [generator's inputs]; the scales of all its tensors.

    The network is the same function afterwards, up to rounding.
    """
    before = Ranges()
    out_loudest = torch.full((network.out_channels,), 1e-6)
    for piece in spectrograms.split(EXAMPLES_AT_ONCE):
        out = network.decode(network(network.encode(piece), before))
        out_loudest = torch.maximum(out_loudest, out.abs().amax(dim=(0, 2, 3)))
    network.equalise(before.loudest)
    network.scale_input(spectrograms.abs().amax(dim=(0, 2, 3)).clamp_min(1e-6))
    network.split_output(out_loudest)
    after = Ranges()
    for piece in spectrograms.split(EXAMPLES_AT_ONCE):
        network(network.encode(piece), after)
    return after.scales(network)


def tune(
    network: Folded,
    reference: Callable[[Tensor], Tensor],
    scales: Mapping[str, Scale],
    batches: Iterable[Tensor],
    steps: int,
) -> None:
    """Quantisation-aware training: weights that, once rounded, give what the float generator gives.

    The float generator is the teacher, so this needs no target and no discriminator, and serves every experiment. It
    changes ``network`` in place, over ``steps`` of ``batches`` [generator's inputs].
    """
    rounding = FakeQuantised(scales)
    optimizer = torch.optim.Adam(network.parameters(), TUNE_LEARNING_RATE)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)
    for spectrograms in batches:
        with torch.no_grad():
            target = reference(spectrograms)
        out = network.decode(network(network.encode(spectrograms), rounding))
        error = (out - target).square().sum(dim=(0, 2, 3)) / target.square().sum(dim=(0, 2, 3)).clamp_min(1e-9)
        loss = error.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()


def _best_range(values: Tensor, weight_below_zero: float) -> tuple[float, float]:
    """(low, high) of the least squared rounding error over 256 codes; errors below zero weigh ``weight_below_zero``."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    best, bounds = float("inf"), (low, high)
    for above in np.geomspace(1.0, 0.05, 28):
        for below in (1.0, 0.7, 0.5, 0.35, 0.25) if low < 0 else (1.0,):
            candidate = Scale.of_range(low * above * below, high * above)
            error = torch.fake_quantize_per_tensor_affine(values, candidate.scale, candidate.zero_point, -128, 127)
            error -= values
            weighed = torch.where(values < 0, error * weight_below_zero, error)
            total = float(weighed.square().mean())
            if total < best:
                best, bounds = total, (low * above * below, high * above)
    return bounds
