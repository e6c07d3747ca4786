"""Small models of different shapes, with weights from a seed: what the faults are injected into."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """A model under construction: each call adds a node, and returns the name of its output."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(seed)

    def weight(self, *dims: int, shift: float = 0.0, scale: float = 0.0) -> str:
        fan = np.prod(dims[1:]) if len(dims) > 1 else 4
        array = shift + self.random.normal(0, scale or 1 / np.sqrt(fan), dims)
        return self.constant(array.astype(np.float32))

    def constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        number = len(self.nodes)
        names = [f"{op.lower()}_{number}" + (f"_{i}" if i else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, f"/{names[0]}", **attributes))
        return names[0]

    def conv(self, x: str, before: int, after: int, size: int = 3, stride: int = 1) -> str:
        pads = [size // 2] * 4
        weights = self.weight(after, before, size, size), self.weight(after, scale=0.1)
        return self.add("Conv", x, *weights, pads=pads, strides=[stride, stride])

    def norm(self, x: str, width: int) -> str:
        positive = self.constant(self.random.uniform(0.5, 1.5, width).astype(np.float32))
        scale, bias, mean = self.weight(width, shift=1.0), self.weight(width), self.weight(width)
        return self.add("BatchNormalization", x, scale, bias, mean, positive)

    def made(self, inputs: dict[str, Sequence[int]], outputs: Sequence[str]) -> onnx.ModelProto:
        kind = TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(name, kind, dims) for name, dims in inputs.items()],
            [helper.make_tensor_value_info(name, kind, None) for name in outputs],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def chain() -> onnx.ModelProto:
    net = Net(0)
    x = net.add("LeakyRelu", net.norm(net.conv("x", 3, 8, stride=2), 8), alpha=0.1)
    x = net.add("HardSwish", net.norm(net.conv(x, 8, 8), 8))
    x = net.add("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    x = net.add("Tanh", net.conv(x, 8, 12))
    x = net.add("LeakyRelu", net.norm(net.conv(x, 12, 12), 12), alpha=0.2)
    x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("Flatten", x)
    x = net.add("Gemm", x, net.weight(10, 48), net.weight(10), transB=1)
    return net.made({"x": [1, 3, 16, 16]}, [net.add("Softmax", x, axis=1)])


def residual() -> onnx.ModelProto:
    net = Net(1)
    x = net.add("LeakyRelu", net.conv("x", 3, 8), alpha=0.1)
    for _ in range(3):
        y = net.add("LeakyRelu", net.norm(net.conv(x, 8, 8), 8), alpha=0.1)
        y = net.norm(net.conv(y, 8, 8), 8)
        x = net.add("LeakyRelu", net.add("Add", y, x), alpha=0.1)
    scores = net.add("Sigmoid", net.conv(net.add("GlobalAveragePool", x), 8, 8, 1))
    x = net.add("Mul", x, scores)
    return net.made({"x": [1, 3, 12, 12]}, [net.conv(x, 8, 4, 1)])


def inception() -> onnx.ModelProto:
    net = Net(2)
    x = net.add("LeakyRelu", net.conv("x", 3, 8, stride=2), alpha=0.1)
    for _ in range(2):
        pooled = net.add("AveragePool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
        branches = [
            net.conv(x, 8, 2, 1),
            net.conv(net.add("Tanh", net.conv(x, 8, 4, 1)), 4, 2),
            net.conv(net.add("Elu", net.conv(net.conv(x, 8, 3, 1), 3, 3)), 3, 2),
            net.conv(pooled, 8, 2, 1),
        ]
        x = net.add("LeakyRelu", net.add("Concat", *branches, axis=1), alpha=0.1)
    return net.made({"x": [1, 3, 16, 16]}, [net.conv(x, 8, 3, 1)])


def u_net() -> onnx.ModelProto:
    net, skips, x = Net(3), [], "x"
    for before, after in ((3, 4), (4, 8), (8, 8)):
        x = net.add("LeakyRelu", net.norm(net.conv(x, before, after), after), alpha=0.1)
        skips.append((x, after))
        x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x, width = net.add("Tanh", net.conv(x, 8, 8)), 8
    twice = net.constant(np.array([1, 1, 2, 2], np.float32))
    for skip, beside in reversed(skips):
        x = net.add("Resize", x, "", twice, mode="linear")
        x = net.add("Concat", x, skip, axis=1)
        x, width = net.add("LeakyRelu", net.conv(x, width + beside, beside), alpha=0.1), beside
    return net.made({"x": [1, 3, 16, 16]}, [net.add("Sigmoid", net.conv(x, width, 2, 1))])


def transformer() -> onnx.ModelProto:
    net, length, width, heads = Net(4), 6, 16, 4

    def linear(x: str, before: int, after: int) -> str:
        return net.add("Add", net.add("MatMul", x, net.weight(before, after)), net.weight(after))

    def normed(x: str) -> str:
        weights = net.weight(width, shift=1.0), net.weight(width)
        return net.add("LayerNormalization", x, *weights, axis=-1)

    split = net.constant(np.array([1, length, heads, width // heads]))
    joined = net.constant(np.array([1, length, width]))

    def head(x: str, order: Sequence[int]) -> str:
        parts = net.add("Reshape", linear(x, width, width), split)
        return net.add("Transpose", parts, perm=order)

    x = linear("x", width, width)
    inner = normed(x)
    scores = net.add("MatMul", head(inner, [0, 2, 1, 3]), head(inner, [0, 2, 3, 1]))
    scaled = net.add("Mul", scores, net.constant(np.float32(0.5)))
    mixed = net.add("MatMul", net.add("Softmax", scaled, axis=-1), head(inner, [0, 2, 1, 3]))
    mixed = net.add("Reshape", net.add("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
    x = net.add("Add", x, linear(mixed, width, width))
    x = net.add("Add", x, linear(net.add("Gelu", linear(normed(x), width, 24)), 24, width))
    return net.made({"x": [1, length, width]}, [normed(x)])


def several_outputs() -> onnx.ModelProto:
    """Two inputs and three outputs, of which one is computed from another."""
    net = Net(5)
    x = net.add("LeakyRelu", net.conv("x", 3, 6, stride=2), alpha=0.1)
    y = net.add("Tanh", net.conv("y", 2, 6))
    both = net.add("Concat", x, y, axis=1)
    low = net.add("LeakyRelu", net.conv(both, 12, 6), alpha=0.1)
    high = net.add("LeakyRelu", net.norm(net.conv(low, 6, 6, stride=2), 6), alpha=0.1)
    boxes = net.add("Exp", net.conv(high, 6, 4))
    scores = net.add("Sigmoid", net.conv(low, 6, 3, 1))
    mean = net.add("ReduceMean", net.conv(boxes, 4, 4, 1), keepdims=1)
    return net.made({"x": [1, 3, 16, 16], "y": [1, 2, 8, 8]}, [scores, boxes, mean])


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    each.__name__: functools.cache(each)
    for each in (chain, residual, inception, u_net, transformer, several_outputs)
}


def sample(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    return {
        each.name: random.normal(
            size=[d.dim_value for d in each.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for each in model.graph.input
    }
