"""Layers to a TFLite file, written as they are: nothing is added, fused or rearranged on the way.

TFLite's quantisation: https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec
(weights int8 symmetric per output channel, activations int8 with a zero point, biases int32).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from .graph import Graph, Node

__all__ = ["FORMATS", "Scale", "quantised_weight", "read_operators", "write_tflite"]

FORMATS = ("float", "dynamic", "int8")
"""``dynamic``: int8 weights, float activations."""
SMALLEST_SCALE = 1e-9

_KINDS = {
    "conv": (schema.BuiltinOperator.CONV_2D, 5, schema.BuiltinOptions.Conv2DOptions),
    "transposed_conv": (schema.BuiltinOperator.TRANSPOSE_CONV, 4, schema.BuiltinOptions.TransposeConvOptions),
    "leaky_relu": (schema.BuiltinOperator.LEAKY_RELU, 2, schema.BuiltinOptions.LeakyReluOptions),
    "concat": (schema.BuiltinOperator.CONCATENATION, 2, schema.BuiltinOptions.ConcatenationOptions),
    "slice": (schema.BuiltinOperator.SLICE, 2, schema.BuiltinOptions.SliceOptions),
}
"""(operator, its version, its options)"""


@dataclass(frozen=True)
class Scale:
    """An int8 tensor's numbers: real = scale (code - zero_point)."""

    scale: float
    zero_point: int

    @classmethod
    def of_range(cls, low: float, high: float) -> "Scale":
        """That covers ``low`` to ``high`` with 256 codes, zero exactly; -x to x gets zero point 0 and 255 codes."""
        low, high = min(low, 0.0), max(high, 0.0)
        if low == -high:
            return cls(max(high / 127, SMALLEST_SCALE), 0)
        scale = max((high - low) / 255, SMALLEST_SCALE)
        return cls(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


def quantised_weight(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes and scales per output channel of a ``weight`` [shape=(out channels, height, width, in channels)]."""
    scale = np.maximum(np.abs(weight).max(axis=(1, 2, 3)) / 127, SMALLEST_SCALE).astype(np.float32)
    return np.clip(np.round(weight / scale[:, None, None, None]), -127, 127).astype(np.int8), scale


def write_tflite(graph: Graph, kind: str, scales: Mapping[str, Scale] | None = None) -> bytes:
    """The file's contents. ``kind`` is one of `FORMATS`; int8 takes the ``scales`` of all activations.

    Concats and slices keep the scale of their inputs.
    """
    if kind not in FORMATS:
        raise ValueError(f"kind is '{kind}': choose from {', '.join(FORMATS)}")
    return _Writer(graph, kind, dict(scales or {})).contents()


def read_operators(contents: bytes) -> list[str]:
    """Names of a file's operators, in the order in which they run."""
    model = schema.ModelT.InitFromPackedBuf(contents, 0)
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    return [names[codes[operator.opcodeIndex]] for operator in model.subgraphs[0].operators]


class _Writer:
    def __init__(self, graph: Graph, kind: str, scales: dict[str, Scale]) -> None:
        self.graph, self.kind, self.scales = graph, kind, scales
        self.buffers = [_buffer(None)]
        self.tensors: list[Any] = []
        self.index: dict[str, int] = {}

    def contents(self) -> bytes:
        self._activation(self.graph.input, self.graph.input_shape)
        used = sorted({node.kind for node in self.graph.nodes})
        operators = [self._operator(node, used.index(node.kind)) for node in self.graph.nodes]
        subgraph = schema.SubGraphT()
        subgraph.name = "main"
        subgraph.tensors, subgraph.operators = self.tensors, operators
        subgraph.inputs, subgraph.outputs = [self.index[self.graph.input]], [self.index[self.graph.output]]
        model = schema.ModelT()
        model.version = 3
        model.description = "continuo convert"
        model.operatorCodes = [_operator_code(kind) for kind in used]
        model.subgraphs, model.buffers = [subgraph], self.buffers
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _operator(self, node: Node, code: int) -> Any:
        operator, options = schema.OperatorT(), getattr(schema, _options_name(node.kind))()
        operator.opcodeIndex, operator.builtinOptions = code, options
        operator.builtinOptionsType = _KINDS[node.kind][2]
        inputs = [self.index[name] for name in node.inputs]
        if node.kind in {"concat", "slice"} and self.kind == "int8":
            first, *others = (self.scales[name] for name in node.inputs)
            if any(other != first for other in others):
                raise ValueError(f"{node.name}: the inputs of a concat must share their scale")
            self.scales[node.name] = first
        if node.weight is not None and node.bias is not None:
            weight, bias = self._parameters(node)
            inputs = [*inputs, weight, bias]
            options.padding = schema.Padding.SAME
            options.strideH, options.strideW = node.stride
            if node.relu:
                options.fusedActivationFunction = schema.ActivationFunctionType.RELU
            if node.kind == "transposed_conv":
                size = self._constant(f"{node.name}.shape", np.array(node.shape, np.int32))
                inputs = [size, weight, inputs[0], bias]
            else:
                options.dilationHFactor = options.dilationWFactor = 1
        elif node.kind == "leaky_relu":
            options.alpha = node.slope
        elif node.kind == "concat":
            options.axis = 3
        elif node.kind == "slice":
            before = self.graph.shape(node.inputs[0])[2] - node.shape[2]
            inputs.append(self._constant(f"{node.name}.begin", np.array([0, 0, before, 0], np.int32)))
            inputs.append(self._constant(f"{node.name}.size", np.array(node.shape, np.int32)))
        self._activation(node.name, node.shape)
        operator.inputs, operator.outputs = inputs, [self.index[node.name]]
        return operator

    def _activation(self, name: str, shape: tuple[int, ...]) -> None:
        if self.kind == "int8":
            numbers = self.scales[name]
            quantisation = _quantisation([numbers.scale], [numbers.zero_point])
            self._tensor(name, shape, schema.TensorType.INT8, 0, quantisation)
        else:
            self._tensor(name, shape, schema.TensorType.FLOAT32, 0)

    def _parameters(self, node: Node) -> tuple[int, int]:
        """Indices of weight and bias."""
        assert node.weight is not None
        assert node.bias is not None
        if self.kind == "float":
            return self._constant(f"{node.name}.weight", node.weight), self._constant(f"{node.name}.bias", node.bias)
        codes, scale = quantised_weight(node.weight)
        weight = self._constant(f"{node.name}.weight", codes, _quantisation(scale, np.zeros(len(scale), np.int64)))
        if self.kind == "dynamic":
            return weight, self._constant(f"{node.name}.bias", node.bias)
        bias_scale = (scale.astype(np.float64) * self.scales[node.inputs[0]].scale).astype(np.float32)
        limit = 2**30  # half of int32: the rest is for the sum
        bias = np.clip(np.round(node.bias / bias_scale.astype(np.float64)), -limit, limit).astype(np.int32)
        quantisation = _quantisation(bias_scale, np.zeros(len(scale), np.int64))
        return weight, self._constant(f"{node.name}.bias", bias, quantisation)

    def _constant(self, name: str, values: NDArray[Any], quantisation: Any = None) -> int:
        types = {"float32": "FLOAT32", "int8": "INT8", "int32": "INT32"}
        self.buffers.append(_buffer(values))
        kind = getattr(schema.TensorType, types[values.dtype.name])
        return self._tensor(name, values.shape, kind, len(self.buffers) - 1, quantisation)

    def _tensor(self, name: str, shape: tuple[int, ...], kind: int, buffer: int, quantisation: Any = None) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
        tensor.quantization, tensor.hasRank = quantisation, True
        self.tensors.append(tensor)
        self.index[name] = len(self.tensors) - 1
        return self.index[name]


def _buffer(values: NDArray[Any] | None) -> Any:
    buffer = schema.BufferT()
    if values is not None:
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    return buffer


def _quantisation(scale: Any, zero_point: Any) -> Any:
    """Per tensor, or per output channel, which is axis 0 of every weight."""
    result = schema.QuantizationParametersT()
    result.scale, result.zeroPoint, result.quantizedDimension = list(scale), list(zero_point), 0
    return result


def _operator_code(kind: str) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode, code.version, _ = _KINDS[kind]
    code.deprecatedBuiltinCode = code.builtinCode  # all of ours are below 127, where old readers look
    return code


def _options_name(kind: str) -> str:
    number = _KINDS[kind][2]
    return next(name for name, value in vars(schema.BuiltinOptions).items() if value == number) + "T"
