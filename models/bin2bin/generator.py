"""The bin2bin generator: one U-Net class; lite, full, magnitude and complex are data (paper 000, section II-A)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["Generator", "strides"]


def strides(bins: int, columns: int, time_halvings: int = 8) -> list[tuple[int, int]]:
    """Stride (frequency, time) of each encoder convolution, the bottleneck included.

    Frequency halves down to one bin; time halves as long as there is more than one column, ``time_halvings`` times at
    most:

        256 x 256: (2,2) x 8          256 x 64: (2,2) x 6, (2,1) x 2          256 x 64, 3 halvings: (2,2) x 3, (2,1) x 5
    """
    result = []
    while bins > 1:
        halves = columns > 1 and len(result) < time_halvings
        result.append((2, 2 if halves else 1))
        bins //= 2
        columns = columns // 2 if halves else columns
    return result


class SameTime(nn.Conv2d):
    """Convolution 4 x 4 that halves frequency and keeps time: a column sees one before it and two after it."""

    def __init__(self, before: int, after: int, bias: bool = True) -> None:
        super().__init__(before, after, (4, 4), (2, 1), (1, 0), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(x, (1, 2)))


class SameTimeTransposed(nn.ConvTranspose2d):
    """Its counterpart, which doubles frequency."""

    def __init__(self, before: int, after: int, bias: bool = True) -> None:
        super().__init__(before, after, (4, 4), (2, 1), (1, 1), bias=bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(x, output_size)[..., :-1]


class Separable(nn.Sequential):
    """Each channel by itself, then a convolution 1 x 1 across channels, in place of one across all."""

    def __init__(self, each: nn.Module, before: int, after: int, bias: bool = True) -> None:
        super().__init__(each, nn.Conv2d(before, after, 1, bias=bias))


@dataclass(frozen=True)
class _Blocks:
    """Makes the convolutions of one generator."""

    deep_columns: int
    separable: bool

    def down(self, before: int, after: int, stride: tuple[int, int], bias: bool = True) -> nn.Module:
        if stride[1] == 1 and self.deep_columns == 4:
            return SameTime(before, after, bias)
        kernel, padding = ((4, 4), (1, 1)) if stride[1] == 2 else ((4, 1), (1, 0))
        if self.separable:
            each = nn.Conv2d(before, before, kernel, stride, padding, groups=before, bias=False)
            return Separable(each, before, after, bias)
        return nn.Conv2d(before, after, kernel, stride, padding, bias=bias)

    def up(self, before: int, after: int, stride: tuple[int, int], bias: bool = True) -> nn.Module:
        if stride[1] == 1 and self.deep_columns == 4:
            return SameTimeTransposed(before, after, bias)
        kernel, padding = ((4, 4), (1, 1)) if stride[1] == 2 else ((4, 1), (1, 0))
        if self.separable:
            each = nn.ConvTranspose2d(before, before, kernel, stride, padding, groups=before, bias=False)
            return Separable(each, before, after, bias)
        return nn.ConvTranspose2d(before, after, kernel, stride, padding, bias=bias)


class Generator(nn.Module):
    """Spectrogram in, spectrogram out [shape=(batch, channels, bins, columns)].

    ``widths`` are the channels of the encoder's blocks, one for each halving but the last, the bottleneck:

        in - e1 - e2 - ... - e7 - bottleneck (1 bin)
              |    |          |     |
        out - d8 - d7 - ... - d2 - d1           (each decoder block also sees the encoder's output of its size)

    Parameters
    ----------
    in_channels, out_channels : int
    bins, columns : int, powers of two
    widths : sequence of int, paper: 16 32 64 128 128 128 128 (lite) or 64 128 256 512 512 512 512 (full)
    dropout : float, in the two innermost decoder blocks but one, as the paper says ("two dropout layers")
    time_halvings : int, see `strides`; with few of them the deep blocks' columns stay apart
    deep_columns : int, 4 or 1: width of the kernels, 4 x 4 or 4 x 1, where time is not halved
    separable : bool, depthwise-separable convolutions but for the last one
    zero_last : bool, start with an output of exactly zero, so that a residual generator starts as the identity
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        bins: int,
        columns: int,
        widths: Sequence[int],
        dropout: float = 0.5,
        time_halvings: int = 8,
        deep_columns: int = 1,
        separable: bool = False,
        zero_last: bool = False,
    ) -> None:
        super().__init__()
        steps = strides(bins, columns, time_halvings)
        if len(widths) != len(steps) - 1:
            raise ValueError(f"{bins} bins need {len(steps) - 1} encoder widths, not {len(widths)}")
        if deep_columns not in (1, 4):
            raise ValueError(f"deep_columns is {deep_columns}: choose 1 or 4")
        if deep_columns == 4 and separable:
            raise ValueError("deep_columns is 4 and the blocks are separable: choose one of them")
        make = _Blocks(deep_columns, separable)
        sizes = [in_channels, *widths]
        self.encoder = nn.ModuleList()
        for level, (before, after) in enumerate(pairwise(sizes)):
            block: list[nn.Module] = [make.down(before, after, steps[level], bias=level == 0)]
            if level > 0:
                block.append(nn.BatchNorm2d(after))
            self.encoder.append(nn.Sequential(*block, nn.LeakyReLU(0.2)))
        deepest = widths[-1]
        self.bottleneck = nn.Sequential(make.down(deepest, deepest, steps[-1]), nn.ReLU())
        self.decoder = nn.ModuleList()
        before = deepest
        for level in reversed(range(len(widths))):
            after = widths[level]
            block = [make.up(before, after, steps[level + 1], bias=False), nn.BatchNorm2d(after)]
            if dropout > 0 and level in {len(widths) - 2, len(widths) - 3}:
                block.append(nn.Dropout(dropout))
            self.decoder.append(nn.Sequential(*block, nn.ReLU()))
            before = 2 * after
        self.last = _Blocks(deep_columns, separable=False).up(before, out_channels, steps[0])
        if zero_last:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, spectrogram: Tensor) -> Tensor:
        skips = []
        x = spectrogram
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        x = self.bottleneck(x)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = torch.cat((block(x), skip), dim=1)
        return self.last(x)
