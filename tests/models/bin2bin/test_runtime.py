"""Weights come back from their file, in 16 bits or in 8."""

from pathlib import Path

import pytest
import torch

from continuo.firmware_py.errors import InputError
from continuo.models.bin2bin.refiner import Refiner, RefinerConfig
from continuo.models.bin2bin.runtime import load_card, load_weights, save_weights

CONFIG = RefinerConfig(
    (16,) * 7, hop=64, columns=48, inputs="relative", output="gain", time_halvings=3, deep_columns=4, dropout=0.0
)


@pytest.fixture
def refiner() -> Refiner:
    torch.manual_seed(0)
    refiner = Refiner(CONFIG).eval()
    torch.nn.init.normal_(refiner.generator.last.weight, std=0.1)
    return refiner


@pytest.mark.parametrize(("int8", "least_db"), [(False, 60.0), (True, 30.0)])
def test_round_trip(refiner: Refiner, int8: bool, least_db: float, tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    save_weights(refiner, path, {"steps": 7}, int8=int8)
    again = load_weights(path)
    assert again.config == CONFIG
    assert load_card(path) == {"steps": 7}
    for (name, one), two in zip(
        refiner.generator.state_dict().items(), again.generator.state_dict().values(), strict=True
    ):
        if one.dim() == 4:
            error_db = 20 * torch.log10((one - two).norm() / one.norm())
            assert error_db < -least_db, name
    assert not again.generator.training


def test_8_bits_take_half_the_room(refiner: Refiner, tmp_path: Path) -> None:
    for int8 in (False, True):
        save_weights(refiner, tmp_path / f"{int8}.npz", {}, int8=int8)
    assert (tmp_path / "True.npz").stat().st_size < 0.7 * (tmp_path / "False.npz").stat().st_size


def test_what_is_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.npz").write_text("nothing")
    for name in ("no.npz", "missing.npz"):
        with pytest.raises(InputError, match="continuo train"):
            load_weights(tmp_path / name)


def test_what_is_not_finite_is_refused(refiner: Refiner, tmp_path: Path) -> None:
    refiner.generator.last.weight.data[0, 0, 0, 0] = torch.nan
    save_weights(refiner, tmp_path / "weights.npz", {})
    with pytest.raises(InputError, match=r"last\.weight is not finite"):
        load_weights(tmp_path / "weights.npz")


@pytest.mark.parametrize("int8", [False, True])
def test_a_variance_too_large_for_16_bits_comes_back(refiner: Refiner, int8: bool, tmp_path: Path) -> None:
    name = next(name for name in refiner.generator.state_dict() if name.endswith("running_var"))
    refiner.generator.state_dict()[name].fill_(1e6)
    save_weights(refiner, tmp_path / "weights.npz", {}, int8=int8)
    assert (load_weights(tmp_path / "weights.npz").generator.state_dict()[name] == 1e6).all()
