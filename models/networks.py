"""The description of a network -> the network, for torch."""

from __future__ import annotations

from torch import nn

from models import resnet18, sequential
from models.manifest import AnyNetwork, Sequential


def build(network: AnyNetwork, num_classes: int) -> nn.Module:
    """With random weights; normalised float NCHW in, logits (n, num_classes) out."""
    if isinstance(network, Sequential):
        return sequential.build(network, num_classes)
    return resnet18.build(num_classes, network.stem)
