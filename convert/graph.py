"""What a network means, and nothing else: the few layers between ONNX and TFLite, and what each costs.

Tensors are named and laid out as TFLite has them [shape=(1, bins, columns, channels)].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Graph", "Node", "Shape"]

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Node:
    """One layer; its output tensor has its name."""

    name: str
    kind: str
    """``conv``, ``transposed_conv``, ``leaky_relu``, ``concat`` (of channels) or ``slice`` (of the last columns)."""
    inputs: tuple[str, ...]
    shape: Shape
    """Of the output."""
    weight: NDArray[np.float32] | None = None
    """[shape=(out channels, height, width, in channels)]"""
    bias: NDArray[np.float32] | None = None
    stride: tuple[int, int] = (1, 1)
    relu: bool = False
    """Whether a ReLU is part of the layer."""
    slope: float = 0.0
    """Of a leaky ReLU, below zero."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates. A transposed convolution writes each output from kernel / stride inputs."""
        if self.weight is None:
            return 0
        _, bins, columns, _ = self.shape
        taps = self.weight.size // (self.stride[0] * self.stride[1] if self.kind == "transposed_conv" else 1)
        return bins * columns * taps


@dataclass(frozen=True)
class Graph:
    """Layers in the order in which they run."""

    input: str
    input_shape: Shape
    nodes: tuple[Node, ...]

    @property
    def output(self) -> str:
        """Name of the last layer's output."""
        return self.nodes[-1].name

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run."""
        return sum(node.macs for node in self.nodes)

    def shape(self, tensor: str) -> Shape:
        """Of the tensor of that name."""
        return self.input_shape if tensor == self.input else next(n.shape for n in self.nodes if n.name == tensor)
