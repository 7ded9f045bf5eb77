"""Each step gives what the one before it gave, and the file holds only what the network means."""

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema

from continuo.convert import conversion
from continuo.convert.conversion import LEAST_DB, convert, fold, ratio_db
from continuo.convert.flatbuffer import FORMATS, Scale, read_operators, write_tflite
from continuo.convert.graph import Graph, Node
from continuo.convert.onnx_graph import graph_of
from continuo.convert.quantise import prepare
from continuo.firmware_py.errors import RunError
from continuo.models.bin2bin.refiner import Refiner

MEANT = {"CONV_2D", "TRANSPOSE_CONV", "LEAKY_RELU", "CONCATENATION", "SLICE"}


def converted(refiner, kind, seen, folder):
    network = fold(refiner)
    scales = prepare(network, seen) if kind == "int8" else None
    return convert(refiner, network, kind, scales, seen, folder / "network.onnx")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_keeps_what_the_step_before_gave(refiner: Refiner, kind, seen_by, tmp_path) -> None:
    done = converted(refiner, kind, seen_by(refiner, 4), tmp_path)
    assert {"onnx", kind} <= set(done.checks)
    assert all(ratio >= LEAST_DB[step] for step, ratio in done.checks.items())
    assert (tmp_path / "network.onnx").exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_the_file_holds_only_what_the_network_means(refiner: Refiner, kind, seen_by, tmp_path) -> None:
    """No transposes, no padding, no multiplies and adds of batch norm; one convolution per block of the generator.

    That of the last one is no transposed one.
    """
    operators = read_operators(converted(refiner, kind, seen_by(refiner, 4), tmp_path).contents)
    assert set(operators) <= MEANT
    levels = len(refiner.generator.encoder)
    assert operators.count("CONV_2D") == levels + 2
    assert operators.count("TRANSPOSE_CONV") == operators.count("CONCATENATION") == levels
    assert operators.count("LEAKY_RELU") == levels


def test_slices_take_the_last_columns_and_nothing_else(ours: Refiner, seen_by, tmp_path) -> None:
    contents = converted(ours, "float", seen_by(ours, 2), tmp_path).contents
    subgraph = schema.ModelT.InitFromPackedBuf(contents, 0).subgraphs[0]
    model = schema.ModelT.InitFromPackedBuf(contents, 0)
    shapes = [tuple(t.shape) for t in subgraph.tensors]
    slices = [o for o, name in zip(subgraph.operators, read_operators(contents), strict=True) if name == "SLICE"]
    assert slices
    for operator in slices:
        source, begin, _ = operator.inputs
        before, after = shapes[source], shapes[operator.outputs[0]]
        start = np.frombuffer(bytes(model.buffers[subgraph.tensors[begin].buffer].data), np.int32)
        assert start.tolist() == [0, 0, before[2] - after[2], 0]
        assert (before[0], before[1], before[3]) == (after[0], after[1], after[3])


def test_without_columns_to_leave_out_there_is_no_slice(ours: Refiner) -> None:
    network = conversion.Folded(ours.generator, 48, 256, 48)
    assert "SLICE" not in read_operators(write_tflite(graph_of(network), "float"))


def test_a_step_that_does_not_match_stops(ours: Refiner, seen_by, tmp_path, monkeypatch) -> None:
    """The ONNX exporter is made to write another bias."""
    export = conversion.export_onnx

    def lossy(network, path):
        bias = network.decoder[-1].bias.detach().clone()
        network.decoder[-1].bias.data += 1.0
        export(network, path)
        network.decoder[-1].bias.data.copy_(bias)

    monkeypatch.setattr(conversion, "export_onnx", lossy)
    with pytest.raises(RunError, match="the step 'onnx' is only"):
        converted(ours, "float", seen_by(ours, 2), tmp_path)


def test_equal_parameters_are_found_again(ours: Refiner, seen_by, tmp_path) -> None:
    """The exporter writes equal tensors once and refers to them."""
    with torch.no_grad():
        for name, value in ours.generator.state_dict().items():
            if value.is_floating_point() and value.dim() == 1 and "running_var" not in name:
                value.fill_(0.25)
    assert converted(ours, "float", seen_by(ours, 2), tmp_path).checks["float"] > 90


def test_multiply_accumulates_are_counted_by_hand(ours: Refiner) -> None:
    graph = graph_of(fold(ours))
    first, last = graph.nodes[0], next(n for n in graph.nodes if n.name == "output")
    assert first.macs == 128 * 16 * 8 * 3 * 16
    bins, columns = last.shape[1:3]
    assert last.macs == bins * columns * 4 * 16 * 9  # a square of 2 x 2 out, 16 in, 3 x 3 kernel
    assert graph.macs == sum(n.macs for n in graph.nodes)


def test_concats_in_int8_must_share_their_scale() -> None:
    shape = (1, 2, 2, 1)
    weight, bias = np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32)
    nodes = (
        Node("a", "conv", ("input",), shape, weight, bias),
        Node("b", "concat", ("input", "a"), (1, 2, 2, 2)),
    )
    scales = {"input": Scale(0.1, 0), "a": Scale(0.2, 0)}
    with pytest.raises(ValueError, match="share their scale"):
        write_tflite(Graph("input", shape, nodes), "int8", scales)
    same = dict.fromkeys(scales, Scale(0.1, 0))
    assert read_operators(write_tflite(Graph("input", shape, nodes), "int8", same)) == ["CONV_2D", "CONCATENATION"]


def test_unknown_operators_are_named(ours: Refiner, monkeypatch) -> None:
    network = fold(ours)
    network.slope = 0.2
    monkeypatch.setattr(type(network), "decode", lambda self, x: x)
    monkeypatch.setattr("continuo.convert.folded.functional.leaky_relu", lambda x, slope: torch.tanh(x))
    with pytest.raises(RunError, match="Tanh has no counterpart"):
        graph_of(network)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (-0.5, 2.0), (0.0, 6.0), (-3.0, 0.0), (0.0, 0.0)])
def test_scales_hold_zero_exactly_and_cover_their_range(low, high) -> None:
    numbers = Scale.of_range(low, high)
    assert -128 <= numbers.zero_point <= 127
    assert numbers.scale * (-128 - numbers.zero_point) <= low + numbers.scale
    assert numbers.scale * (127 - numbers.zero_point) >= high - numbers.scale


def test_ratio_is_bounded_and_signed() -> None:
    ones = torch.ones(4)
    assert ratio_db(ones, ones) == 200.0
    assert ratio_db(ones, 0.9 * ones) == pytest.approx(20.0, abs=1e-4)
    assert ratio_db(0 * ones, ones) == -200.0
