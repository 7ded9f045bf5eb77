"""The generator as it is exported: batch norm folded, only the gap's columns decoded, numbers scaled for int8.

Every change is exact in real numbers, so the folded network is checked against the generator it was made of:

* batch norm goes into the weights and biases before it;
* the decoder computes the columns that reach the output: a transposed convolution of stride 2 needs half as many
  inputs and one more on the left, whose own left half is then cut off;
* the encoder sees the columns that reach those, where time is halved few enough times for that to be fewer than all:
  then the network needs no state from packet to packet, for what it sees of the past is all that counts;
* the last layer, whose few output channels no kernel computes well, becomes a convolution that gives a square of 2 x 2
  outputs as channels: it took more than half of int8's time, and whoever reads the output puts them in their place;
* `Folded.equalise` gives both tensors of a skip the same range, so that a concat may share one int8 scale;
* `Folded.scale_input` brings every input channel to -1 ... 1;
* `Folded.split_output` gives each output twice, coarse for the loud and fine for the rest.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..models.bin2bin.generator import Generator

__all__ = ["FINE", "Folded", "Taps", "seen_columns"]

FINE = 8
"""How much finer the fine outputs are than the coarse ones. Measured on music: 4 to 16 differ by 0.7 dB, 8 is best."""
LARGEST_CODE = 126.5 / 127
"""A fine output beyond this has saturated."""


class Taps(Protocol):
    """Looks at, or rounds, what passes through a `Folded` network."""

    def activation(self, name: str, x: Tensor) -> Tensor:
        """Tensor ``name``, as the next layer shall see it."""

    def weight(self, w: Tensor, channel_axis: int) -> Tensor:
        """A layer's weight, as it shall be used; ``channel_axis`` counts output channels."""


class _Untouched:
    def activation(self, name: str, x: Tensor) -> Tensor:
        del name
        return x

    def weight(self, w: Tensor, channel_axis: int) -> Tensor:
        del channel_axis
        return w


UNTOUCHED = _Untouched()


class Folded(nn.Module):
    """A `Generator` without batch norm and dropout [in: (batch, channels, bins, width); out: its last columns].

    Out come squares [shape=(batch, 4 x channels, bins / 2, columns / 2)], which `decode` lays out.

    Parameters
    ----------
    generator : Generator
    columns : int, of the output, counted from the right
    bins, width : size of the input: the generator's last ``width`` columns
    """

    input_scale: Tensor
    output_scale: Tensor

    def __init__(self, generator: Generator, columns: int, bins: int, width: int) -> None:
        super().__init__()
        blocks = [*generator.encoder, generator.bottleneck, *generator.decoder, nn.Sequential(generator.last)]
        folded = [_fold(block) for block in blocks]
        levels = len(generator.encoder)
        self.encoder = nn.ModuleList(folded[:levels])
        self.bottleneck = folded[levels]
        self.decoder = nn.ModuleList(folded[levels + 1 :])
        self.slope = float(generator.encoder[0][-1].negative_slope)  # type: ignore[union-attr,index]
        self.in_channels = int(folded[0].weight.shape[1])
        self.out_channels = int(folded[-1].weight.shape[1])
        self.decoder[-1] = _in_squares(folded[-1])
        self.bins, self.width, self.columns = bins, width, columns
        self.needed = self._needed_columns()
        self.narrowed_after, self.narrowed = self._narrowing()
        self.fine = 0
        self.register_buffer("input_scale", torch.ones(self.in_channels))
        self.register_buffer("output_scale", torch.ones(self.out_channels))

    def forward(self, x: Tensor, taps: Taps = UNTOUCHED) -> Tensor:
        """The network's own input and output: see `encode` and `decode` for what they stand for."""
        skips = []
        x = taps.activation("input", x)
        for level, layer in enumerate(self.encoder, 1):
            x = taps.activation(f"encoder{level}.sum", self._run(layer, x, taps))
            x = taps.activation(f"encoder{level}", functional.leaky_relu(x, self.slope))
            skips.append(x)
            if level == self.narrowed_after and self.narrowed < x.shape[-1]:
                x = x[..., -self.narrowed :]
        x = taps.activation("bottleneck", functional.relu(self._run(self.bottleneck, x, taps)))
        for level, (layer, needed) in enumerate(zip(self.decoder, self.needed, strict=True), 1):
            x = x[..., -needed:] if needed < x.shape[-1] else x
            if level > 1:
                skip = skips.pop()
                x = torch.cat((x, skip[..., -needed:] if needed < skip.shape[-1] else skip), dim=1)
            x = self._run(layer, x, taps)
            if level < len(self.decoder):
                x = taps.activation(f"decoder{level}", functional.relu(x))
        x = taps.activation("output", x)
        squares = -(-self.columns // 2)
        return x[..., -squares:] if squares < x.shape[-1] else x

    def encode(self, spectrogram: Tensor) -> Tensor:
        """The last columns of the generator's input, in the network's units."""
        return spectrogram[..., -self.width :] / self.input_scale.view(1, -1, 1, 1)

    def decode(self, out: Tensor) -> Tensor:
        """The generator's output from the network's: the fine value where it has not saturated."""
        scale = self.output_scale.view(1, -1, 1, 1)
        out = functional.pixel_shuffle(out, 2)[..., -self.columns :]
        if not self.fine:
            return out * scale
        coarse, fine = out[:, : self.out_channels], out[:, self.out_channels :]
        return torch.where(fine.abs() < LARGEST_CODE, fine / self.fine, coarse) * scale

    @property
    def joins(self) -> list[tuple[str, str]]:
        """Which tensors meet in a concat: (decoder's, encoder's)."""
        levels = len(self.encoder)
        return [(f"decoder{level}", f"encoder{levels + 1 - level}") for level in range(1, levels + 1)]

    @torch.no_grad()
    def equalise(self, loudest: Mapping[str, float]) -> None:
        """Scale each decoder block so that its output is as large as the skip it meets; the next layer undoes it.

        Exact, for a ReLU of a multiple is that multiple of the ReLU. ``loudest``: largest magnitudes by tensor.
        """
        for (ours, skip), layer, after in zip(self.joins, self.decoder, [*self.decoder][1:], strict=False):
            if loudest[ours] > 0 and loudest[skip] > 0:
                factor = loudest[skip] / loudest[ours]
                layer.weight *= factor
                layer.bias *= factor
                by_input = after.weight if isinstance(after, nn.ConvTranspose2d) else after.weight.transpose(0, 1)
                by_input[: layer.weight.shape[1]] /= factor

    @torch.no_grad()
    def scale_input(self, loudest: Tensor) -> None:
        """Take inputs divided by ``loudest`` [shape=(in_channels,)]."""
        self.encoder[0].weight *= (loudest / self.input_scale).view(1, -1, 1, 1)
        self.input_scale.copy_(loudest)

    @torch.no_grad()
    def split_output(self, loudest: Tensor) -> None:
        """Give outputs divided by ``loudest`` [shape=(out_channels,)], then the same again `FINE` times larger.

        In int8 the second set saturates early and resolves the quiet values that music mostly has. It costs little:
        kernels compute 8 output channels or more at a time.
        """
        if self.fine:
            raise ValueError("the output is split already")
        last = self.decoder[-1]
        factor = torch.cat((1 / loudest, FINE / loudest)).repeat_interleave(4)
        doubled = nn.Conv2d(last.in_channels, len(factor), last.kernel_size, padding=last.padding)  # type: ignore[arg-type]
        doubled.weight.copy_(torch.cat((last.weight, last.weight)) * factor.view(-1, 1, 1, 1))  # type: ignore[list-item]
        doubled.bias.copy_(torch.cat((last.bias, last.bias)) * factor)  # type: ignore[union-attr,list-item]
        self.decoder[-1] = doubled
        self.output_scale.copy_(loudest)
        self.fine = FINE

    @staticmethod
    def _run(layer: nn.Module, x: Tensor, taps: Taps) -> Tensor:
        transposed = isinstance(layer, nn.ConvTranspose2d)
        function = functional.conv_transpose2d if transposed else functional.conv2d
        weight = taps.weight(layer.weight, 1 if transposed else 0)  # type: ignore[arg-type]
        out: Tensor = function(x, weight, layer.bias, stride=layer.stride, padding=layer.padding)  # type: ignore[call-overload]
        if not _keeps_time(layer):
            return out
        return out[..., :-1] if transposed else out[..., 1:]  # padded by one column too many

    def _needed_columns(self) -> list[int]:
        """How many columns each decoder block must see, from the right."""
        return _needed([*self.encoder, self.bottleneck], self.width, self.columns)[::-1]

    def _narrowing(self) -> tuple[int, int]:
        """(level, columns): behind that encoder block, the last that mixes columns, so many are all that is needed."""
        layers = [*self.encoder, self.bottleneck]
        mixing = max((n for n, layer in enumerate(layers, 1) if layer.kernel_size[1] > 1), default=0)  # type: ignore[index]
        return (mixing, self.needed[0]) if mixing < len(layers) else (0, 0)


def seen_columns(generator: Generator, columns: int, width: int) -> int:
    """How many of the generator's ``width`` input columns reach the last ``columns`` of its output, from the right.

    Rounded up so that the columns of every block stay where they are.
    """
    layers = [block[0] for block in [*generator.encoder, generator.bottleneck]]  # type: ignore[index,union-attr]
    reached, grid = 0, 1
    for layer, needed in zip(reversed(layers), reversed(_needed(layers, width, columns)), strict=True):
        reached = max(reached, needed)
        if _halves_time(layer):  # a kernel of 4: one more on either side; the last column's lies outside
            reached, grid = 2 * reached + 1, 2 * grid
        elif _keeps_time(layer):
            reached += 1
    return min(width, -(-reached // grid) * grid)


def _needed(layers: Sequence[nn.Module], width: int, columns: int) -> list[int]:
    """How many columns of each encoder layer's output the decoder needs, from the right; the first layer's first."""
    needed = []
    for layer in layers:
        if _halves_time(layer):
            width, columns = width // 2, columns // 2 + 1
        elif _keeps_time(layer):
            columns += 2
        columns = min(columns, width)
        needed.append(columns)
    return needed


def _halves_time(layer: nn.Module) -> bool:
    return layer.stride[1] == 2  # type: ignore[index,no-any-return]


def _keeps_time(layer: nn.Module) -> bool:
    """Whether it is one of `generator.SameTime` and its counterpart."""
    return layer.kernel_size[1] == 4 and layer.stride[1] == 1  # type: ignore[index,no-any-return]


def _fold(block: nn.Module) -> nn.Module:
    """The convolution of ``block`` with the batch norm after it, if any, in double precision."""
    convolution, *rest = block.children()
    transposed = isinstance(convolution, nn.ConvTranspose2d)
    weight = convolution.weight.detach().double()  # type: ignore[union-attr,operator]
    channels = weight.shape[1 if transposed else 0]
    bias = torch.zeros(channels).double() if convolution.bias is None else convolution.bias.detach().double()  # type: ignore[operator]
    for norm in rest:
        if isinstance(norm, nn.BatchNorm2d):
            factor = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()  # type: ignore[union-attr]
            weight = weight * factor.view((1, -1, 1, 1) if transposed else (-1, 1, 1, 1))
            bias = (bias - norm.running_mean.double()) * factor + norm.bias.detach().double()  # type: ignore[union-attr]
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    sizes = weight.shape[:2] if transposed else weight.shape[1::-1]
    padding = (1, 2) if not transposed and _keeps_time(convolution) else convolution.padding
    folded = kind(*sizes, convolution.kernel_size, convolution.stride, padding)  # type: ignore[arg-type]
    folded.weight.data.copy_(weight)
    folded.bias.data.copy_(bias)  # type: ignore[union-attr]
    return folded


@torch.no_grad()
def _in_squares(layer: nn.Module) -> nn.Conv2d:
    """The convolution that gives what a transposed one of kernel 4 and stride 2 does: channel 4 c + 2 a + b of a pixel
    is channel c of the output in row a and column b of the square that the pixel becomes (as `pixel_shuffle` reads).
    """
    assert isinstance(layer, nn.ConvTranspose2d)
    assert layer.stride == (2, 2)  # the first level halves time, or there would be no need to
    taps = ((3, 1, None), (None, 2, 0))  # of the kernel, for the pixels before, at and after; a = 0 and 1
    squares = nn.Conv2d(layer.in_channels, 4 * layer.out_channels, 3, padding=1)
    squares.weight.zero_()
    for a, b, row, column in product((0, 1), (0, 1), range(3), range(3)):
        if (height := taps[a][row]) is not None and (width := taps[b][column]) is not None:
            squares.weight[2 * a + b :: 4, :, row, column] = layer.weight[:, :, height, width].T
    squares.bias.copy_(layer.bias.repeat_interleave(4))  # type: ignore[union-attr]
    return squares
