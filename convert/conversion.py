"""Torch to ONNX to TFLite, each step checked against the one before."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..firmware_py.atomic import atomic_path
from ..firmware_py.errors import RunError
from ..firmware_py.rt.refinement import BINS
from ..models.bin2bin.generator import Generator
from ..models.bin2bin.refiner import Refiner
from .flatbuffer import Scale, write_tflite
from .folded import Folded, seen_columns
from .graph import Graph
from .onnx_graph import export_onnx, read_onnx
from .quantise import FakeQuantised
from .run import run_onnx, run_tflite

__all__ = ["Converted", "convert", "fold", "gap_columns", "ratio_db"]

LEAST_DB = {"folded": 90.0, "onnx": 90.0, "float": 90.0, "dynamic": 25.0, "int8": 28.0}
"""Signal-to-error ratio that each step must keep, against the one before. Steps in floating point differ by rounding.
int8 is held against the same rounding in torch, from which a code here and there differs by one."""


@dataclass
class Converted:
    """One network in one numeric format, with what the checks measured."""

    contents: bytes
    graph: Graph
    checks: dict[str, float] = field(default_factory=dict)
    """Signal-to-error ratio by step, dB."""


def fold(refiner: Refiner) -> Folded:
    """The refiner's generator for export: only what touches the prediction is decoded, from what that sees."""
    generator = refiner.generator
    assert isinstance(generator, Generator)
    touched = refiner.spectrum.touched
    return Folded(generator.eval(), touched, BINS, seen_columns(generator, touched, refiner.config.columns))


@torch.no_grad()
def gap_columns(refiner: Refiner, spectrograms: Tensor) -> Tensor:
    """What the float generator gives for its inputs [shape=(n, channels, bins, columns)], where that is played."""
    return refiner.generator(spectrograms)[..., -refiner.spectrum.touched :]  # type: ignore[no-any-return]


@torch.no_grad()
def convert(
    refiner: Refiner, network: Folded, kind: str, scales: dict[str, Scale] | None, examples: Tensor, onnx: Path
) -> Converted:
    """Write ``network`` in format ``kind`` (of `FORMATS`), by way of the file ``onnx``.

    Parameters
    ----------
    examples : generator inputs [shape=(n, channels, bins, columns)] that the checks run on
    scales : of `prepare`, for int8

    Raises
    ------
    RunError
        When a step does not give what the one before it gave.
    """
    inputs = network.encode(examples)
    expected = gap_columns(refiner, examples)
    folded = network(inputs)
    checks = {} if scales else {"folded": ratio_db(expected, network.decode(folded))}
    with atomic_path(onnx) as temporary:
        export_onnx(network, temporary)
    checks["onnx"] = ratio_db(folded, run_onnx(onnx, inputs)["refined"])
    graph = read_onnx(onnx)
    contents = write_tflite(graph, kind, scales)
    before = network(inputs, FakeQuantised(scales)) if kind == "int8" and scales else folded
    checks[kind] = ratio_db(network.decode(before), network.decode(run_tflite(contents, inputs)))
    for step, ratio in checks.items():
        if not ratio >= LEAST_DB[step]:
            raise RunError(
                f"conversion stopped: the step '{step}' is only {ratio:.1f} dB like the one before it, "
                f"{LEAST_DB[step]:.0f} dB wanted; {onnx} is left to look at"
            )
    return Converted(contents, graph, checks)


def ratio_db(reference: Tensor, estimate: Tensor) -> float:
    """Signal-to-error ratio in dB, within +-200; 200 for no error at all."""
    error = float((reference - estimate).double().square().sum())
    if error == 0:
        return 200.0
    signal = float(reference.double().square().sum())
    return 10 * math.log10(min(max(signal / error, 1e-20), 1e20))
