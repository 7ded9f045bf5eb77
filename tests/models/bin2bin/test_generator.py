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


def test_wide_deep_kernels_keep_the_papers_count_where_time_is_kept() -> None:
    full = Generator(1, 1, 256, 48, [4 * w for w in LITE], time_halvings=3, deep_columns=4)
    assert parameters(full) == 54_408_385
    assert full(torch.randn(1, 1, 256, 48)).shape == (1, 1, 256, 48)


def test_separable_blocks_start_and_end_alike() -> None:
    separable = Generator(3, 1, 256, 48, LITE, time_halvings=3, separable=True).eval()
    assert separable(torch.randn(1, 3, 256, 48)).shape == (1, 1, 256, 48)
    assert parameters(separable) < parameters(Generator(3, 1, 256, 48, LITE, time_halvings=3)) / 3
    with pytest.raises(ValueError, match="choose one"):
        Generator(3, 1, 256, 48, LITE, time_halvings=3, separable=True, deep_columns=4)


@torch.no_grad()
def test_with_few_halvings_old_columns_do_not_reach_the_gap() -> None:
    generator = Generator(1, 1, 256, 48, LITE, time_halvings=3).eval()
    seen = torch.randn(1, 1, 256, 48)
    changed = seen.clone()
    changed[..., :16] += 1.0
    torch.testing.assert_close(generator(changed)[..., -16:], generator(seen)[..., -16:])
    changed[..., 24] += 1.0
    assert not torch.allclose(generator(changed)[..., -16:], generator(seen)[..., -16:])


@pytest.mark.parametrize("columns", [256, 128, 64])
def test_output_has_the_size_of_the_input(columns: int) -> None:
    generator = Generator(4, 2, 256, columns, LITE).eval()
    assert generator(torch.randn(1, 4, 256, columns)).shape == (1, 2, 256, columns)


def test_strides_stop_halving_time_at_one_column() -> None:
    assert strides(256, 64) == [(2, 2)] * 6 + [(2, 1)] * 2
    assert strides(256, 48, 3) == [(2, 2)] * 3 + [(2, 1)] * 5


def test_zero_last_starts_at_zero() -> None:
    generator = Generator(4, 2, 256, 64, LITE, zero_last=True)
    assert not generator(torch.randn(2, 4, 256, 64)).any()


def test_wrong_number_of_widths_is_refused() -> None:
    with pytest.raises(ValueError, match="7 encoder widths"):
        Generator(1, 1, 256, 256, LITE[:-1])
