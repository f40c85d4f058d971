"""The small sequential network: the same in both engines, small on disk, and only with weights that fit."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models import artifact, networks
from models.artifact import Artifact
from models.engines import openvino_graph
from models.engines.openvino_engine import OpenVinoEngine
from models.engines.torch_engine import TorchEngine
from models.errors import BadArtifact
from models.images import Preprocessing
from models.manifest import ResNet18, Sequential
from tests.conftest import spec
from train import quantize
from train.publish import to_numpy
from train.recipe import BOTTLE

SMALL = Sequential(stages=((8,), (8, 16)), dense=8)
STRIDING = Sequential(stages=((8, 8), (8, 16)), dense=8, stem="5x5")


@pytest.fixture(scope="module", params=[SMALL, STRIDING], ids=["3x3", "5x5"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """With statistics of its own, so that a BatchNorm left out would show."""
    torch.manual_seed(0)
    network = networks.build(request.param, 3).train()
    network(torch.randn(32, 3, 16, 16))
    described = spec("small").model_copy(
        update={
            "network": request.param,
            "classes": ("closed", "open", "unknown"),
            "preprocessing": Preprocessing(size=16, resize="stretch"),
        }
    )
    weights = to_numpy(network.eval().state_dict())
    return artifact.load(artifact.save(tmp_path_factory.mktemp("models"), described, weights))


def test_openvino_computes_what_torch_computes(loaded: Artifact) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    expected = TorchEngine(loaded).logits(pixels)
    assert expected.shape == (5, 3)
    assert np.ptp(expected, axis=0).min() > 0
    got = OpenVinoEngine(openvino_graph.build(loaded), "fp32").logits(pixels)
    assert np.abs(got - expected).max() < 1e-4


@pytest.mark.parametrize("name", ["conv3.weight", "dense.bias", "bn2.running_var"])
def test_weights_that_do_not_fit_are_refused_by_both_engines(loaded: Artifact, name: str) -> None:
    weights = {key: value for key, value in loaded.weights.items() if key != name}
    for damaged in (weights, {**weights, name: np.zeros((1, 2, 3), np.float16)}):
        broken = Artifact(loaded.directory, loaded.manifest, damaged)
        with pytest.raises(BadArtifact, match="do not fit the network"):
            openvino_graph.build(broken)
        with pytest.raises(BadArtifact, match="do not fit the network"):
            TorchEngine(broken)


def test_weights_of_the_other_stem_are_refused_by_both_engines(loaded: Artifact) -> None:
    network = loaded.manifest.network
    assert isinstance(network, Sequential)
    other = network.model_copy(update={"stem": "3x3" if network.stem == "5x5" else "5x5"})
    mistaken = loaded.manifest.model_copy(update={"network": other})
    with pytest.raises(BadArtifact, match="do not fit the network"):
        openvino_graph.build(Artifact(loaded.directory, mistaken, loaded.weights))
    with pytest.raises(BadArtifact, match="do not fit the network"):
        TorchEngine(Artifact(loaded.directory, mistaken, loaded.weights))


@pytest.mark.skipif(find_spec("nncf") is None, reason="nncf is not installed")
@pytest.mark.parametrize("first_in_floats", [True, False])
def test_int8_takes_the_first_convolution_in_unless_it_is_to_be_spared(
    loaded: Artifact, first_in_floats: bool
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    graph = quantize.to_int8(openvino_graph.build(loaded), pixels, first_in_floats)
    kernels = [node for node in graph.get_ordered_ops() if node.get_type_name() == "Constant"]
    layers = len(loaded.manifest.network.stages[0]) + 4  # type: ignore[union-attr]  # convolutions and both dense
    assert sum(node.get_element_type().to_string() == "i8" for node in kernels) == layers - first_in_floats


def test_the_description_survives_the_disk(loaded: Artifact, models_dir: Path) -> None:
    assert artifact.load_manifest(loaded.directory).network == loaded.manifest.network
    assert artifact.load_manifest(models_dir / "cifar10" / "1").network == ResNet18(stem="stock")


def test_a_5x5_stem_halves_the_input_at_once_and_no_pool_does_it_again() -> None:
    network = networks.build(STRIDING, 3)
    assert isinstance(network, torch.nn.Sequential)
    sides = {}
    x = torch.zeros(1, 3, 16, 16)
    for name, layer in network.named_children():
        x = layer(x)
        sides[name] = x.shape[-1]
    assert (sides["conv1"], sides["conv2"], sides["conv3"], sides["pool2"]) == (8, 8, 8, 4)


def test_an_input_that_the_stages_halve_to_nothing_is_refused() -> None:
    deep = Sequential(stages=((8,),) * 5, dense=8)
    with pytest.raises(ValidationError, match="halve the input to nothing"):
        type(spec()).model_validate(
            {**spec().model_dump(), "network": deep, "preprocessing": {"size": 16, "resize": "crop"}}
        )


def test_the_bottle_network_is_under_4_mb_in_half_precision() -> None:
    network = networks.build(BOTTLE.network, 3)
    assert 2 * sum(parameter.numel() for parameter in network.parameters()) < 4_000_000
