"""The conditional discriminator (paper 000, section II-A): is this gap real music, given what came before it?"""

from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["Discriminator"]


class Discriminator(nn.Module):
    """Convolution, blocks of convolution with reflection padding + batch norm + LeakyReLU, one fully connected layer.

    Parameters
    ----------
    channels : int, of the spectrogram judged; the condition has as many
    bins, columns : int
    widths : channels of the blocks; each halves both sizes as long as they can be halved
    """

    def __init__(self, channels: int, bins: int, columns: int, widths: tuple[int, ...] = (32, 64, 128, 128)) -> None:
        super().__init__()
        blocks: list[nn.Module] = [nn.Conv2d(2 * channels, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        bins, columns = bins // 2, columns // 2
        for before, after in pairwise(widths):
            blocks += [
                nn.Conv2d(before, after, 4, 2, 1, padding_mode="reflect", bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2),
            ]
            bins, columns = bins // 2, columns // 2
        self.body = nn.Sequential(*blocks)
        self.judge = nn.Linear(widths[-1] * bins * columns, 1)

    def forward(self, spectrogram: Tensor, condition: Tensor) -> Tensor:
        """Score [shape=(batch,)]: towards 1 for real, 0 for generated."""
        return self.judge(self.body(torch.cat((spectrogram, condition), dim=1)).flatten(1))[:, 0]
