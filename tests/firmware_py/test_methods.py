"""The methods by name, and how many threads their networks run on."""

from functools import partial

import pytest

from continuo.firmware_py.errors import InputError
from continuo.firmware_py.methods import METHODS, NETWORKS, build_concealer, with_threads


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
