"""The generator against the paper's counts and its own geometry."""

import pytest
import torch

from continuo.models.bin2bin.generator import Generator, strides

LITE = (16, 32, 64, 128, 128, 128, 128)


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("times", "expected"), [(1, 3_403_057), (4, 54_408_385)])
def test_parameter_counts_are_the_papers(times: int, expected: int) -> None:
    assert parameters(Generator(1, 1, 256, 256, [times * w for w in LITE])) == expected


@pytest.mark.parametrize("columns", [256, 128, 64])
def test_output_has_the_size_of_the_input(columns: int) -> None:
    generator = Generator(4, 2, 256, columns, LITE).eval()
    assert generator(torch.randn(1, 4, 256, columns)).shape == (1, 2, 256, columns)


def test_strides_stop_halving_time_at_one_column() -> None:
    assert strides(256, 64) == [(2, 2)] * 6 + [(2, 1)] * 2


def test_zero_last_starts_at_zero() -> None:
    generator = Generator(4, 2, 256, 64, LITE, zero_last=True)
    assert not generator(torch.randn(2, 4, 256, 64)).any()


def test_wrong_number_of_widths_is_refused() -> None:
    with pytest.raises(ValueError, match="7 encoder widths"):
        Generator(1, 1, 256, 256, LITE[:-1])
