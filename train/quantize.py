"""A graph in int8: post-training quantisation with NNCF, which the extra `export` installs."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from importlib.util import find_spec

import numpy as np
import openvino as ov

from models.images import Pixels
from train.errors import RunError
from train.splits import Indices

IMAGES = 1000
SEED = 0


def require_nncf() -> None:
    """Raises RunError where NNCF is not installed."""
    if find_spec("nncf") is None:
        raise RunError("nncf is not installed: pip install 'rotulo[export]'")


def sample(train: Indices) -> Indices:
    """At most 1,000 of the training images, the same ones every time."""
    return np.sort(np.random.default_rng(SEED).permutation(train)[:IMAGES])


def to_int8(graph: ov.Model, pixels: Pixels, first_in_floats: bool) -> ov.Model:
    """Quantise convolutions, additions and the last layer; `pixels` is uint8 (n, size, size, 3).

    `first_in_floats` spares the first convolution. Where it whitens its input it amplifies the error of eight
    bits, and took 0.7 points of accuracy with it (`train/LOG.md`, entry 12).

    Weights get a scale per output channel, activations one from the range that `pixels` drive them to. Then
    each bias takes up the mean error of its layer (Nagel et al. 2019, arXiv 1906.04721, section 4.2).
    """
    os.environ.setdefault("NNCF_CI", "1")  # otherwise NNCF reports its use to its makers, unasked
    import nncf  # takes seconds

    one_by_one = nncf.Dataset(pixels[:, np.newaxis])
    convolutions = (node for node in graph.get_ordered_ops() if node.get_type_name() == "Convolution")
    spared = [next(convolutions).get_friendly_name()] if first_in_floats else []
    with redirect_stdout(sys.stderr):  # for its progress bars: they are no part of a command's answer
        return nncf.quantize(
            graph,
            one_by_one,
            subset_size=len(pixels),
            fast_bias_correction=True,
            ignored_scope=nncf.IgnoredScope(names=spared),
        )
