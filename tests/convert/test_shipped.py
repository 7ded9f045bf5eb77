"""The network that ships: it is the weights that ship, its graph is clean, and int8 costs as little as promised."""

from pathlib import Path

import numpy as np
import pytest
import torch

from continuo.convert.accuracy import BARS, compare_clips, compare_signals, missed_bars
from continuo.convert.conversion import fold, gap_columns, ratio_db
from continuo.convert.examples import Examples
from continuo.convert.flatbuffer import read_operators
from continuo.convert.run import run_tflite
from continuo.firmware_py.methods import NETWORKS
from continuo.firmware_py.rt.refiner_tflite import TfliteRefiner
from continuo.models.bin2bin.refiner import Refiner
from continuo.models.bin2bin.runtime import WEIGHTS, load_card, load_weights
from continuo.models.command import BUNDLED

FLOAT, INT8 = NETWORKS / "lite-float.tflite", NETWORKS / "lite-int8.tflite"
MEANT = {"CONV_2D", "TRANSPOSE_CONV", "LEAKY_RELU", "CONCATENATION", "SLICE"}


@pytest.fixture(scope="module")
def refiner() -> Refiner:
    return load_weights(WEIGHTS / "lite.npz")


@pytest.fixture(scope="module")
def seen(refiner: Refiner) -> torch.Tensor:
    return Examples(refiner, BUNDLED, "lpc").held_out(16)


def test_the_float_file_is_the_weights(refiner: Refiner, seen: torch.Tensor) -> None:
    network = fold(refiner)
    out = run_tflite(FLOAT.read_bytes(), network.encode(seen))
    assert ratio_db(gap_columns(refiner, seen), network.decode(out)) > 90


def test_int8_keeps_its_output(refiner: Refiner, seen: torch.Tensor) -> None:
    """By the runtime's own scaling of inputs and outputs."""
    runtime = TfliteRefiner(INT8)
    settings = runtime.settings
    inputs = seen[..., -32:] / torch.tensor(settings["input_scale"]).view(1, -1, 1, 1)
    out = run_tflite(INT8.read_bytes(), inputs)
    coarse, fine = torch.nn.functional.pixel_shuffle(out, 2).chunk(2, dim=1)
    scale = torch.tensor(settings["output_scale"]).view(1, -1, 1, 1)
    decoded = torch.where(fine.abs() < 126.5 / 127, fine / settings["fine"], coarse) * scale
    assert ratio_db(gap_columns(refiner, seen), decoded) > BARS["output_db"]


@pytest.mark.parametrize("path", [FLOAT, INT8], ids=lambda path: path.stem)
def test_the_graph_holds_what_the_network_means(path: Path) -> None:
    assert set(read_operators(path.read_bytes())) == MEANT
    assert path.stat().st_size < {FLOAT: 4e6, INT8: 3.5e6}[path]


def test_int8_is_heard_as_float_is(refiner: Refiner) -> None:
    clip = BUNDLED / "sax_phrase.flac"
    assert missed_bars(99.0, compare_clips(refiner, INT8, "lpc", [(clip, clip.with_suffix(".txt"))])) == []


def test_int8_stays_close_on_what_music_is_not(refiner: Refiner) -> None:
    for compared in compare_signals(refiner, INT8, "lpc"):
        for result in compared.results:
            assert np.isfinite(result.concealed).all(), compared.name
        worse_db = compared.int8_figures["nmse_gap_db"] - compared.float_figures["nmse_gap_db"]
        assert compared.difference_db > 20 or worse_db < BARS["nmse_gap_db"], compared.name


def test_the_card_says_what_it_is() -> None:
    card = load_card(WEIGHTS / "lite.npz")
    assert card["experiment"]["method"] == "lpc"
    assert card["steps"] > 0
    assert "licence" in (WEIGHTS / "lite.md").read_text()
