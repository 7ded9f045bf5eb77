"""The folded network is the generator, whatever it was scaled for."""

import pytest
import torch

from continuo.convert.conversion import fold, ratio_db
from continuo.convert.folded import FINE, LARGEST_CODE, Folded, seen_columns
from continuo.firmware_py.rt.refinement import BINS
from continuo.models.bin2bin.refiner import Refiner


@torch.no_grad()
def expected(refiner: Refiner, seen: torch.Tensor, columns: int) -> torch.Tensor:
    return refiner.generator(seen)[..., -columns:]


@torch.no_grad()
def test_folding_changes_nothing(refiner: Refiner, seen_by) -> None:
    seen = seen_by(refiner, 3)
    network = fold(refiner)
    assert network.columns == refiner.spectrum.touched
    assert ratio_db(expected(refiner, seen, network.columns), network.decode(network(network.encode(seen)))) > 100


@torch.no_grad()
@pytest.mark.parametrize("columns", [1, 2, 7, 16, 33, 48])
def test_any_number_of_columns(ours: Refiner, columns: int, seen_by) -> None:
    seen = seen_by(ours, 2)
    network = Folded(ours.generator, columns, BINS, 48)
    assert ratio_db(expected(ours, seen, columns), network.decode(network(seen))) > 100


def test_the_gap_sees_few_columns_of_the_past(ours: Refiner) -> None:
    assert fold(ours).width == 32
    assert seen_columns(ours.generator, 1, 48) == 16
    assert seen_columns(ours.generator, 48, 48) == 48


@torch.no_grad()
def test_scaling_for_int8_changes_nothing(refiner: Refiner, seen_by) -> None:
    seen = seen_by(refiner, 3)
    network = fold(refiner)
    truth = expected(refiner, seen, network.columns)
    network.equalise({name: 0.3 + 0.2 * i for i, pair in enumerate(network.joins) for name in pair})
    network.scale_input(seen.abs().amax(dim=(0, 2, 3)))
    assert ratio_db(truth, network.decode(network(network.encode(seen)))) > 100
    assert network.encode(seen).abs().max() == pytest.approx(1.0)
    network.split_output(truth.abs().amax(dim=(0, 2, 3)))
    assert ratio_db(truth, network.decode(network(network.encode(seen)))) > 100
    with pytest.raises(ValueError, match="already"):
        network.split_output(torch.ones(network.out_channels))


@torch.no_grad()
def test_fine_outputs_count_until_they_saturate(ours: Refiner) -> None:
    network = fold(ours)
    network.split_output(torch.ones(network.out_channels))
    loud = torch.full((1, 4 * network.out_channels, 1, 1), 0.5)
    saturated = torch.cat((loud, torch.ones_like(loud)), dim=1)
    quiet = torch.cat((torch.zeros_like(loud), torch.full_like(loud, 0.8 * LARGEST_CODE)), dim=1)
    played = torch.ones(1, network.out_channels, 2, 2)
    assert torch.equal(network.decode(saturated), 0.5 * played)
    torch.testing.assert_close(network.decode(quiet), 0.8 * LARGEST_CODE / FINE * played)
