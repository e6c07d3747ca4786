"""A small network with a Resize that pnnx converts wrongly and without a word."""

from __future__ import annotations

import numpy as np
import onnx

from .models import Net


def upscaled(**attributes: str) -> onnx.ModelProto:
    """Return it with a linear, asymmetric Resize, or other attributes of it."""
    asked = {"mode": "linear", "coordinate_transformation_mode": "asymmetric", **attributes}
    net = Net(6)
    low = net.add("LeakyRelu", net.conv("image", 3, 6, stride=2), alpha=0.1)
    high = net.add("LeakyRelu", net.conv(low, 6, 6, stride=2), alpha=0.1)
    twice = net.constant(np.array([1, 1, 2, 2], np.float32))
    up = net.add("Resize", high, "", twice, **asked)
    both = net.add("Concat", up, low, axis=1)
    maps = net.add("LeakyRelu", net.conv(both, 12, 4), alpha=0.1)
    return net.made({"image": [1, 3, 32, 32]}, [net.conv(maps, 4, 3, 1)])
