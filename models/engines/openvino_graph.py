"""An artifact as an OpenVINO graph, from its weights alone: no torch, no second copy on disk.

The graph takes uint8 RGB (n, size, size, 3) and gives float32 logits (n, classes). Normalisation is part of
it, and every BatchNorm is folded into the convolution before it (Jacob et al. 2018, arXiv 1712.05877, 3.2).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from models.artifact import Artifact, Weights, read_checked
from models.engines.openvino_core import core
from models.errors import BadArtifact
from models.manifest import Export, Sequential

Node = Any  # openvino.Node, whose stubs are incomplete
Floats = NDArray[np.float32]

_EPSILON = 1e-5  # of torch's BatchNorm2d


def read(artifact: Artifact, export: Export | None) -> ov.Model:
    """The graph of an export's own files where it has any, else of the weights; raises BadArtifact."""
    if export is None or not export.files:
        return build(artifact)
    files = {
        Path(name).suffix: read_checked(artifact.directory / name, sha256)
        for name, sha256 in export.files.items()
    }
    where = f"{artifact.directory}: the {export.precision} export"
    try:
        graph = core().read_model(files[".xml"], files[".bin"])
        classes = graph.output(0).partial_shape[1]
    except (KeyError, RuntimeError) as error:  # the files match their checksums, so they were written wrong
        raise BadArtifact(f"{where} is not a graph that OpenVINO reads") from error
    if classes != len(artifact.manifest.classes):
        raise BadArtifact(f"{where} does not have the model's classes")
    return graph


def build(artifact: Artifact) -> ov.Model:
    """The graph, with a dynamic batch; raises BadArtifact when the weights do not fit the network."""
    try:
        return _build(artifact)
    except (KeyError, ValueError, RuntimeError) as error:
        raise BadArtifact(f"{artifact.weights_path}: the weights do not fit the network") from error


def _build(artifact: Artifact) -> ov.Model:
    manifest, left = artifact.manifest, dict(artifact.weights)
    size = manifest.preprocessing.size
    pixels = ops.parameter([-1, size, size, 3], np.uint8, name="pixels")
    x = _normalised(pixels, manifest.normalisation.mean, manifest.normalisation.std)
    if isinstance(manifest.network, Sequential):
        x = _stages(x, left, manifest.network)
    else:
        x = _resnet18(x, left, manifest.network.stem)
    logits = _head(x, left, len(manifest.classes))
    _refuse_leftovers(left)
    return ov.Model([logits], [pixels], f"{manifest.name}-{manifest.version}")


def _normalised(pixels: Node, mean: tuple[float, ...], std: tuple[float, ...]) -> Node:
    nchw = ops.transpose(ops.convert(pixels, np.float32), np.array([0, 3, 1, 2]))
    shift, scale = (np.array(values, np.float32).reshape(1, 3, 1, 1) * 255 for values in (mean, std))
    return ops.multiply(ops.subtract(nchw, shift), 1 / scale)


def _resnet18(x: Node, weights: Weights, stem: str) -> Node:
    x = _stem(x, weights, stem)
    for stage in range(1, 5):
        for block in range(2):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _basic_block(x, weights, f"layer{stage}.{block}", stride)
    return ops.reduce_mean(x, np.array([2, 3]), keep_dims=False)


def _stages(x: Node, weights: Weights, network: Sequential) -> Node:
    number = 0
    for stage, widths in enumerate(network.stages, start=1):
        for _ in widths:
            number += 1
            size, stride = network.kernel(number)
            if weights[f"conv{number}.weight"].shape[2:] != (size, size):
                raise ValueError("a kernel of another size")
            x = ops.relu(_convolution(x, weights, f"conv{number}", f"bn{number}", stride))
        if network.pools_after(stage):
            x = ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
    return ops.relu(_dense(ops.reduce_mean(x, np.array([2, 3]), keep_dims=False), weights, "dense"))


def _stem(x: Node, weights: Weights, stem: str) -> Node:
    if stem == "3x3":
        return ops.relu(_convolution(x, weights, "conv1", "bn1", stride=1))
    x = ops.relu(_convolution(x, weights, "conv1", "bn1", stride=2))
    return ops.max_pool(x, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)


def _basic_block(x: Node, weights: Weights, name: str, stride: int) -> Node:
    shortcut = x
    if f"{name}.downsample.0.weight" in weights:
        shortcut = _convolution(x, weights, f"{name}.downsample.0", f"{name}.downsample.1", stride)
    x = ops.relu(_convolution(x, weights, f"{name}.conv1", f"{name}.bn1", stride))
    x = _convolution(x, weights, f"{name}.conv2", f"{name}.bn2", stride=1)
    return ops.relu(ops.add(x, shortcut))


def _head(x: Node, weights: Weights, classes: int) -> Node:
    if weights["fc.weight"].shape[0] != classes:
        raise ValueError("the last layer has another number of classes")
    return _dense(x, weights, "fc")


def _dense(x: Node, weights: Weights, name: str) -> Node:
    weight, bias = _take(weights, f"{name}.weight"), _take(weights, f"{name}.bias")
    return ops.add(ops.matmul(x, weight, False, True), bias.reshape(1, -1))


def _convolution(x: Node, weights: Weights, convolution: str, norm: str, stride: int) -> Node:
    """Convolution without bias and the BatchNorm behind it, as one convolution with a bias."""
    kernel = _take(weights, f"{convolution}.weight")
    gamma, beta = _take(weights, f"{norm}.weight"), _take(weights, f"{norm}.bias")
    mean, variance = _take(weights, f"{norm}.running_mean"), _take(weights, f"{norm}.running_var")
    weights.pop(f"{norm}.num_batches_tracked", None)
    scale = gamma / np.sqrt(variance + _EPSILON)
    pad = [kernel.shape[2] // 2] * 2
    folded = kernel * scale.reshape(-1, 1, 1, 1)
    output = ops.convolution(x, folded, [stride, stride], pad, pad, [1, 1])
    return ops.add(output, (beta - mean * scale).reshape(1, -1, 1, 1))


def _take(weights: Weights, name: str) -> Floats:
    return weights.pop(name).astype(np.float32)


def _refuse_leftovers(weights: Weights) -> None:
    if weights:
        raise ValueError(f"{len(weights)} weights that no layer uses")
