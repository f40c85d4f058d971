"""torchvision's ResNet-18 with its last layer replaced."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torchvision.models import resnet18


def build(num_classes: int, stem: Literal["3x3", "stock"]) -> nn.Module:
    """A ResNet-18 (He et al. 2015, arXiv 1512.03385) with random weights.

    `stock` is torchvision's: 7x7 stride 2 and max-pool, made for inputs near 224 pixels.
    `3x3` is the usual change for 32-pixel inputs: 3x3 stride 1, no max-pool, so that the first stage
    still sees 32x32. Takes normalised float NCHW, gives logits (n, num_classes).
    """
    network: nn.Module = resnet18(weights=None, num_classes=num_classes)
    if stem == "3x3":
        network.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    return network
