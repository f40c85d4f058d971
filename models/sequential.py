"""A small sequential network: convolutions, pooling, a dense head."""

from __future__ import annotations

from torch import nn

from models.manifest import Sequential


def build(network: Sequential, num_classes: int) -> nn.Module:
    """The network with random weights (He et al. 2015, arXiv 1502.01852).

    Every convolution is without bias and followed by a BatchNorm and a ReLU. Takes normalised float NCHW of
    at least 2^stages pixels a side, gives logits (n, num_classes). The last layer is `fc`, as a ResNet's is.
    """
    layers: dict[str, nn.Module] = {}
    number, channels = 0, 3
    for stage, widths in enumerate(network.stages, start=1):
        for width in widths:
            number += 1
            layers[f"conv{number}"] = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
            layers[f"bn{number}"] = nn.BatchNorm2d(width)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
            channels = width
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["mean"], layers["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    layers["dense"], layers["dense_relu"] = nn.Linear(channels, network.dense), nn.ReLU(inplace=True)
    layers["fc"] = nn.Linear(network.dense, num_classes)
    for layer in layers.values():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return _named(layers)


def _named(layers: dict[str, nn.Module]) -> nn.Sequential:
    made = nn.Sequential()
    for name, layer in layers.items():
        made.add_module(name, layer)
    return made
