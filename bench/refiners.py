"""The refiner's network on this machine: whole or for the gap's columns alone, by number format, one thread."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch

from ..convert.conversion import fold
from ..convert.flatbuffer import Scale, write_tflite
from ..convert.folded import Folded
from ..convert.graph import Graph, Node
from ..convert.onnx_graph import graph_of
from ..convert.quantise import prepare
from ..firmware_py.rt.interpreter import load_interpreter
from ..firmware_py.rt.refinement import BINS
from ..models.bin2bin.refiner import Refiner
from ..models.experiment import load_experiment
from .measure import Times, measure

__all__ = ["networks", "throughputs"]

EXAMPLES = 8
CHAIN_LAYERS = 4
CHAINS = ((1, 64, 4096), (1, 256, 1024), (3, 64, 1024), (3, 256, 256), (3, 512, 64))
"""(kernel, channels, pixels) of chains of convolutions, as large as those of networks that vendors publish times of."""


def networks(experiment: str, repetitions: int) -> dict[str, Times]:
    """Time one run of ``experiment``'s generator, weights at random: they do not matter for time."""
    network = _refiner(experiment)
    seen = torch.randn(EXAMPLES, network.generator.encoder[0][0].in_channels, BINS, network.config.columns)
    whole = Folded(network.generator, network.config.columns, BINS, network.config.columns)
    int8 = fold(network)
    scales, whole_scales = prepare(int8, seen), prepare(whole, seen)
    files = {
        "int8, every column": write_tflite(graph_of(whole), "int8", whole_scales),
        "int8, the gap's columns": write_tflite(graph_of(int8), "int8", scales),
        "float, the gap's columns": write_tflite(graph_of(fold(network)), "float"),
    }
    things: dict[str, Callable[[], object]] = {name: _runner(contents) for name, contents in files.items()}
    things["torch, every column"] = _torch_runner(network, seen[:1])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return measure(things, repetitions)
    finally:
        torch.set_num_threads(threads)


def throughputs(experiment: str, repetitions: int) -> dict[str, float]:
    """int8 multiply-accumulates per nanosecond (10^9 per second), at p50: ours, and plain chains of convolutions."""
    network = _refiner(experiment)
    seen = torch.randn(EXAMPLES, network.generator.encoder[0][0].in_channels, BINS, network.config.columns)
    int8 = fold(network)
    scales = prepare(int8, seen)
    graphs = {experiment: (graph_of(int8), scales)}
    for kernel, channels, pixels in CHAINS:
        name = f"{CHAIN_LAYERS} convolutions {kernel} x {kernel}, {channels} channels"
        graphs[name] = _chain(kernel, channels, pixels)
    times = measure(
        {name: _runner(write_tflite(graph, "int8", scales)) for name, (graph, scales) in graphs.items()}, repetitions
    )
    return {name: 1e-6 * graphs[name][0].macs / time.p50_ms for name, time in times.items()}


def _refiner(experiment: str) -> Refiner:
    torch.manual_seed(0)
    network = Refiner(load_experiment(experiment).refiner).eval()
    torch.nn.init.normal_(network.generator.last.weight, std=0.02)
    return network


def _chain(kernel: int, channels: int, pixels: int) -> tuple[Graph, dict[str, Scale]]:
    side = int(pixels**0.5)
    shape = (1, side, side, channels)
    rng = np.random.default_rng(0)
    names = ["input", *(f"layer{n}" for n in range(CHAIN_LAYERS))]
    nodes = []
    for before, name in pairwise(names):
        weight = rng.normal(size=(channels, kernel, kernel, channels)).astype(np.float32)
        nodes.append(Node(name, "conv", (before,), shape, weight, np.zeros(channels, np.float32)))
    return Graph("input", shape, tuple(nodes)), dict.fromkeys(names, Scale(0.1, 0))


def _runner(contents: bytes) -> Callable[[], object]:
    interpreter = load_interpreter(contents)
    (into,) = interpreter.get_input_details()
    noise = np.random.default_rng(0).integers(-100, 100, into["shape"]).astype(into["dtype"])
    interpreter.set_tensor(into["index"], noise)
    return interpreter.invoke  # type: ignore[no-any-return]


def _torch_runner(network: Refiner, seen: torch.Tensor) -> Callable[[], object]:
    def run() -> object:
        with torch.inference_mode():
            return network.generator(seen)

    return run
