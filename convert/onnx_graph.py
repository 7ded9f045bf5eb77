"""Torch to ONNX, and ONNX to the layers that TFLite gets."""

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from ..firmware_py.errors import RunError
from .folded import Folded
from .graph import Graph, Node, Shape

__all__ = ["export_onnx", "graph_of", "read_onnx"]

OPSET = 17


class _Named:
    """Collects the tensors of a run by name."""

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}

    def activation(self, name: str, x: torch.Tensor) -> torch.Tensor:
        self.tensors[name] = x
        return x

    def weight(self, w: torch.Tensor, channel_axis: int) -> torch.Tensor:
        del channel_axis
        return w


class _AllTensors(torch.nn.Module):
    """Gives every tensor of a network, so that each keeps its name in the file and can be checked."""

    def __init__(self, network: Folded) -> None:
        super().__init__()
        self.network = network

    def forward(self, spectrogram: torch.Tensor) -> tuple[torch.Tensor, ...]:
        named = _Named()
        refined = self.network(spectrogram, named)
        return (*(x for name, x in named.tensors.items() if name not in {"input", "output"}), refined)


def export_onnx(network: Folded, path: Path) -> None:
    """Write ``network`` to ``path``: input ``spectrogram``, output ``refined``, every activation an output as well."""
    example = torch.zeros(1, network.in_channels, network.bins, network.width)
    named = _Named()
    with torch.no_grad():
        network(example, named)
    names = [name for name in named.tensors if name not in {"input", "output"}]
    with warnings.catch_warnings():  # the exporter that follows torch.export brings two more packages and a worse graph
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _AllTensors(network).eval(), (example,), str(path), opset_version=OPSET, dynamo=False,
            input_names=["spectrogram"], output_names=[*names, "refined"],
        )  # fmt: skip


def read_onnx(path: Path) -> Graph:
    """The layers of ``path``.

    Raises
    ------
    RunError
        For an operator or a padding that has no counterpart.
    """
    graph = onnx.load(str(path)).graph
    constants: dict[str, NDArray[Any]] = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    value = graph.input[0]
    batch, channels, bins, columns = (d.dim_value for d in value.type.tensor_type.shape.dim)
    input_shape: Shape = (batch, bins, columns, channels)
    shapes = {"input": input_shape}
    nodes: list[Node] = []
    names = _readable_names(graph)
    for operator in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in operator.attribute}
        name = names.get(operator.output[0], operator.output[0])
        if operator.op_type == "Constant":
            constants[name] = numpy_helper.to_array(attributes["value"])
            continue
        if operator.op_type == "Identity" and operator.input[0] in constants:  # the exporter keeps equal ones once
            constants[name] = constants[operator.input[0]]
            continue
        inputs = tuple(names.get(i, i) for i in operator.input if names.get(i, i) in shapes)
        others = [constants[i] for i in operator.input if i in constants]
        if operator.op_type == "Slice" and nodes[-1].name == inputs[0] and _trims(nodes[-1], others):
            nodes[-1] = replace(nodes[-1], name=name)
        elif operator.op_type == "Relu":  # part of the layer before it
            if not nodes or nodes[-1].name != inputs[0] or nodes[-1].weight is None:
                raise RunError(f"{path}: the ReLU {name} follows no convolution")
            nodes[-1] = replace(nodes[-1], name=name, relu=True)
        else:
            nodes.append(_node(operator.op_type, name, inputs, [shapes[i] for i in inputs], others, attributes))
        shapes[name] = nodes[-1].shape
    return Graph("input", input_shape, tuple(nodes))


def graph_of(network: Folded) -> Graph:
    """The layers of ``network``, by way of an ONNX file that is not kept."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_onnx(network, path)
        return read_onnx(path)


def _readable_names(graph: Any) -> dict[str, str]:
    """For tensors that the exporter named: concat1, slice1, ..., and the network's ends."""
    names = {graph.input[0].name: "input"}
    for kind in ("Concat", "Slice"):
        found = [operator.output[0] for operator in graph.node if operator.op_type == kind]
        names |= {old: f"{kind.lower()}{number}" for number, old in enumerate(found, 1)}
    outputs = {value.name for value in graph.output}
    last = graph.node[-1]
    before = next(n for n in reversed(graph.node) if n.op_type == "Conv")
    names[before.output[0]] = "output"
    if last is not before:
        names[last.output[0]] = "refined"
    return {old: new for old, new in names.items() if old not in outputs - {last.output[0]}}


def _trims(node: Node, constants: list[NDArray[Any]]) -> bool:
    """Whether a slice by ``constants`` takes the column off ``node`` that TFLite's SAME does not have.

    That pads a kernel of 4 columns by 1 before and 2 after: a convolution padded by 2 has one too many at the start, a
    transposed one padded by 1 at the end.
    """
    if node.weight is None or node.weight.shape[2] - node.stride[1] != 3 or int(constants[2][0]) != 3:
        return False
    start, end = int(constants[0][0]), int(constants[1][0])
    return (start, end) == (0, -1) if node.kind == "transposed_conv" else start == 1 and end > node.shape[2]


def _node(
    kind: str,
    name: str,
    inputs: tuple[str, ...],
    shapes: list[Shape],
    constants: list[NDArray[Any]],
    attributes: dict[str, Any],
) -> Node:
    if not shapes:
        raise RunError(f"layer {name}: the operator {kind} works on constants alone")
    one, bins, columns, channels = shapes[0]
    if kind == "LeakyRelu":
        return Node(name, "leaky_relu", inputs, shapes[0], slope=attributes["alpha"])
    if kind == "Concat" and attributes["axis"] == 1:
        return Node(name, "concat", inputs, (one, bins, columns, sum(s[3] for s in shapes)))
    if kind == "Slice" and [int(c[0]) for c in constants[2:]] == [3, 1]:
        start, end = int(constants[0][0]), int(constants[1][0])
        if start < 0 and end >= columns:
            return Node(name, "slice", inputs, (one, bins, -start, channels))
    if kind in {"Conv", "ConvTranspose"}:
        weight, bias = constants
        height, width = attributes["kernel_shape"]
        stride = (attributes["strides"][0], attributes["strides"][1])
        pads = attributes["pads"]
        padded = (2 * pads[0], 2 * pads[1])
        if width - stride[1] == 3:  # one more column than TFLite's SAME, cut off next (`_trims`)
            padded = (padded[0], padded[1] - 1 if kind == "Conv" else padded[1] + 1)
        if pads[:2] != pads[2:] or (height - stride[0], width - stride[1]) != padded:
            raise RunError(f"layer {name}: padding {pads} is not what TFLite calls SAME")
        if kind == "Conv":
            shape = (one, bins // stride[0], columns // stride[1], weight.shape[0])
            return Node(name, "conv", inputs, shape, weight.transpose(0, 2, 3, 1).copy(), bias, stride)
        shape = (one, bins * stride[0], columns * stride[1], weight.shape[1])
        return Node(name, "transposed_conv", inputs, shape, weight.transpose(1, 2, 3, 0).copy(), bias, stride)
    raise RunError(f"layer {name}: the operator {kind} has no counterpart on the board")
