"""Rounding as the board rounds, ranges from data, and training through it."""

import numpy as np
import torch

from continuo.convert.conversion import fold, ratio_db
from continuo.convert.flatbuffer import quantised_weight, write_tflite
from continuo.convert.onnx_graph import graph_of
from continuo.convert.quantise import FakeQuantised, prepare, tune
from continuo.convert.run import run_tflite
from continuo.models.bin2bin.refiner import Refiner


@torch.no_grad()
def test_int8_file_rounds_as_torch_does(refiner: Refiner, seen_by) -> None:
    seen = seen_by(refiner, 4)
    network = fold(refiner)
    scales = prepare(network, seen)
    inputs = network.encode(seen)
    rounded = network.decode(network(inputs, FakeQuantised(scales)))
    played = network.decode(run_tflite(write_tflite(graph_of(network), "int8", scales), inputs))
    assert ratio_db(rounded, played) > 28


@torch.no_grad()
def test_what_meets_in_a_concat_shares_its_scale(ours: Refiner, seen_by) -> None:
    network = fold(ours)
    scales = prepare(network, seen_by(ours, 4))
    assert network.joins
    assert all(scales[decoder] == scales[encoder] for decoder, encoder in network.joins)
    assert scales["input"].zero_point == scales["output"].zero_point == 0


@torch.no_grad()
def test_int8_is_as_good_as_promised_on_other_inputs(ours: Refiner, seen_by) -> None:
    network = fold(ours)
    scales = prepare(network, seen_by(ours, 16))
    others = seen_by(ours, 8, seed=5)
    exact = ours.generator(others)[..., -network.columns :]
    assert ratio_db(exact, network.decode(network(network.encode(others), FakeQuantised(scales)))) > 20


def test_weights_are_symmetric_per_channel() -> None:
    weight = np.random.default_rng(0).normal(size=(3, 2, 2, 4)).astype(np.float32) * [[[[1]]], [[[10]]], [[[0]]]]
    codes, scale = quantised_weight(weight.astype(np.float32))
    assert np.abs(codes[:2]).max(axis=(1, 2, 3)).tolist() == [127, 127]
    assert not codes[2].any()
    assert np.abs(codes * scale[:, None, None, None] - weight).max(axis=(1, 2, 3))[1] <= scale[1] / 2 * 1.001


def test_only_the_named_tensor_is_rounded(ours: Refiner, seen_by) -> None:
    network = fold(ours)
    scales = prepare(network, seen_by(ours, 4))
    x = torch.rand(100)
    rounding = FakeQuantised(scales, only={"encoder1"}, weights=False)
    assert torch.equal(rounding.activation("encoder2", x), x)
    assert not torch.equal(rounding.activation("encoder1", x), x)
    assert torch.equal(rounding.weight(x, 0), x)


def test_tuning_brings_the_rounded_network_closer(ours: Refiner, seen_by) -> None:
    network = fold(ours)
    scales = prepare(network, seen_by(ours, 16))
    others = seen_by(ours, 16, seed=5)
    columns = network.columns

    @torch.no_grad()
    def teacher(seen: torch.Tensor) -> torch.Tensor:
        return ours.generator(seen)[..., -columns:]

    @torch.no_grad()
    def rounded_db() -> float:
        return ratio_db(teacher(others), network.decode(network(network.encode(others), FakeQuantised(scales))))

    before = rounded_db()
    steps = 60
    tune(network, teacher, scales, (seen_by(ours, 4, seed=100 + n) for n in range(steps)), steps)
    assert rounded_db() > before
