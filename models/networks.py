"""The two networks for torch: torchvision's ResNet-18, and a small sequential one."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torchvision
from torch import nn

from models.manifest import Network, Sequential


def build(network: Network, num_classes: int) -> nn.Module:
    """What the description says, with random weights (He et al. 2015, arXiv 1502.01852).

    Takes normalised float NCHW, gives logits (n, num_classes). The last layer is `fc`.
    """
    if isinstance(network, Sequential):
        return _sequential(network, num_classes)
    return resnet18(num_classes, network.stem)


def resnet18(num_classes: int, stem: Literal["3x3", "stock"]) -> nn.Module:
    """A ResNet-18 (He et al. 2015, arXiv 1512.03385), as `build` makes it.

    `stock` is torchvision's: 7x7 stride 2 and max-pool, made for inputs near 224 pixels.
    `3x3` is the usual change for 32-pixel inputs: 3x3 stride 1, no max-pool, so that the first stage
    still sees 32x32.
    """
    network: nn.Module = torchvision.models.resnet18(weights=None, num_classes=num_classes)
    if stem == "3x3":
        network.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    return network


def _sequential(network: Sequential, num_classes: int) -> nn.Module:
    """Every convolution is without bias and followed by a BatchNorm and a ReLU.

    Inputs are at least 2^stages pixels a side.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    number, channels = 0, 3
    for stage, widths in enumerate(network.stages, start=1):
        for width in widths:
            number += 1
            size, stride = network.kernel(number)
            layers[f"conv{number}"] = nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=False)
            layers[f"bn{number}"] = nn.BatchNorm2d(width)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
            channels = width
        if network.pools_after(stage):
            layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["mean"], layers["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    layers["dense"], layers["dense_relu"] = nn.Linear(channels, network.dense), nn.ReLU(inplace=True)
    layers["fc"] = nn.Linear(network.dense, num_classes)
    for layer in layers.values():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layers)
