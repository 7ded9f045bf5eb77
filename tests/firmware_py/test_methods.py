"""The methods by name, and how many threads their networks run on."""

import sys
from functools import partial

import pytest

from continuo.firmware_py.errors import InputError, MissingError
from continuo.firmware_py.methods import BOARD_METHODS, METHODS, NETWORKS, build_concealer, with_threads


def test_an_unknown_method_names_the_known_ones():
    with pytest.raises(InputError, match="lpc-paper, lpc, lite"):
        build_concealer("nonsense")


def test_threads_go_to_what_runs_on_the_board():
    refiner = with_threads(METHODS["lite-int8"], 3).refiner
    assert isinstance(refiner, partial)
    assert refiner.keywords == {"threads": 3}
    assert with_threads(METHODS["lpc"], 3) is METHODS["lpc"]


def test_the_boards_networks_are_there():
    for name in ("lite-float", "lite-int8"):
        assert (NETWORKS / f"{name}.tflite").is_file()


@pytest.mark.parametrize("name", ["lite-paper", "full"])
def test_what_needs_torch_says_so_and_stays_off_the_board(name, monkeypatch):
    assert name not in BOARD_METHODS
    monkeypatch.setitem(sys.modules, "continuo.models.bin2bin.runtime", None)  # as without the extra
    with pytest.raises(MissingError, match="pip install"):
        METHODS[name].refiner()


def test_the_board_may_use_all_others():
    assert set(METHODS) - set(BOARD_METHODS) == {"lite-paper", "full"}
