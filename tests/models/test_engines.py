"""Every engine computes the same network, and the choice between them is explained."""

from __future__ import annotations

import ctypes
import gc
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openvino as ov
import pytest
import torch

from models import artifact, loader
from models.artifact import Artifact
from models.engines import openvino_graph
from models.engines.choice import Wish, choose
from models.engines.openvino_engine import OpenVinoEngine, capabilities
from models.engines.torch_engine import TorchEngine
from models.errors import BadArtifact
from models.images import prepare
from models.manifest import Calibration, Export, Manifest, ResNet18, WeightsFile
from tests.conftest import SAMPLES, spec

ALL = frozenset({"fp32", "bf16", "int8"})


def export(precision: str, loss: float) -> Export:
    return Export(
        engine="openvino",
        precision=precision,  # type: ignore[arg-type]
        files={},
        calibration=Calibration(temperature=2.0),
        accuracy=0.9,
        accuracy_loss=loss,
        ece=0.01,
    )


def manifest(*exports: Export) -> Manifest:
    return Manifest(**dict(spec()), weights=WeightsFile(dtype="float16", sha256="0" * 64), exports=exports)


@pytest.mark.parametrize(
    ("exports", "wish", "capable", "expected"),
    [
        ([export("int8", 0.002)], Wish(), ALL, "openvino int8"),
        ([export("int8", 0.002)], Wish(max_accuracy_loss=0.001), ALL, "openvino fp32"),
        ([export("int8", 0.004), export("bf16", 0)], Wish(), ALL, "openvino bf16"),
        ([export("int8", 0)], Wish(), frozenset({"fp32"}), "openvino fp32"),
        ([export("int8", 0)], Wish(), frozenset(), "torch fp32"),
        ([export("int8", 0)], Wish(engine="torch"), ALL, "torch fp32"),
        ([export("int8", 0)], Wish(device="cuda:1"), ALL, "torch fp16"),
        ([export("int8", 0.5)], Wish(precision="int8"), frozenset({"fp32", "int8"}), "openvino int8"),
        ([], Wish(precision="fp32"), ALL, "openvino fp32"),
        ([], Wish(engine="torch", precision="fp32"), ALL, "torch fp32"),
        ([], Wish(precision="fp32"), frozenset(), "torch fp32"),
        ([], Wish(device="cuda", engine="torch"), ALL, "torch fp16"),
        ([], Wish(), ALL, "openvino fp32"),
    ],
)
def test_auto_takes_the_fastest_that_the_processor_has_and_that_loses_little(
    exports: list[Export], wish: Wish, capable: frozenset[str], expected: str
) -> None:
    choice = choose(manifest(*exports), wish, capable)
    assert f"{choice.engine} {choice.precision}" == expected
    assert choice.reason


def test_an_export_is_served_with_its_own_calibration() -> None:
    choice = choose(manifest(export("int8", 0)), Wish(), ALL)
    assert choice.calibration == Calibration(temperature=2.0)


def test_the_choice_says_what_was_passed_over_and_why() -> None:
    reason = choose(manifest(export("int8", 0.01)), Wish(), ALL).reason
    assert "loses 1.00 points of accuracy where 0.30 are allowed" in reason


def test_a_precision_passed_over_is_not_said_to_have_instructions_here() -> None:
    reason = choose(manifest(export("int8", 0)), Wish(), frozenset({"fp32"})).reason
    assert "not int8, since this processor has no instructions for it, or none faster than fp32's" in reason


def test_an_export_that_does_better_is_said_to_gain() -> None:
    reason = choose(manifest(export("int8", -0.0008)), Wish(), ALL).reason
    assert reason == "gains 0.08 points of accuracy in validation"


def test_a_precision_that_is_named_and_not_computed_here_is_refused() -> None:
    says = "^cifar10/1: not bf16, since this processor has no instructions for it"
    with pytest.raises(BadArtifact, match=says):
        choose(manifest(export("bf16", 0)), Wish(precision="bf16"), frozenset({"fp32", "int8"}))


def test_a_precision_that_was_never_exported_cannot_be_asked_for() -> None:
    with pytest.raises(BadArtifact, match="not int8"):
        choose(manifest(), Wish(precision="int8"), ALL)


@pytest.mark.parametrize(
    ("wish", "capable", "complaint"),
    [
        (Wish(engine="torch", precision="int8"), ALL, "torch was asked for, and torch computes in fp32"),
        (Wish(engine="torch", precision="bf16"), ALL, "torch was asked for, and torch computes in fp32"),
        (Wish(engine="openvino"), frozenset(), "OpenVINO is not installed, and torch computes in fp32"),
        (Wish(precision="int8"), frozenset(), "OpenVINO is not installed, and torch computes in fp32"),
        (Wish(device="cuda", engine="openvino"), ALL, "the device is cuda, and torch computes in fp16"),
        (Wish(device="cuda:1", precision="int8"), ALL, "the device is cuda:1, and torch computes in fp16"),
        (Wish(device="cuda", precision="fp32"), ALL, "the device is cuda, and torch computes in fp16"),
    ],
)
def test_what_is_named_and_cannot_be_had_is_refused(
    wish: Wish, capable: frozenset[str], complaint: str
) -> None:
    asked = f"engine {wish.engine}, precision {wish.precision}"
    with pytest.raises(BadArtifact, match=f"^cifar10/1: {asked} cannot be had: {complaint}$"):
        choose(manifest(export("int8", 0), export("bf16", 0)), wish, capable)


@pytest.fixture(scope="module", params=["stock", "3x3"])
def loaded(request: pytest.FixtureRequest, models_dir: Path) -> Artifact:
    """The test model, and the same with the other stem and its weights."""
    original = artifact.load(models_dir / "cifar10" / "1")
    if request.param == "stock":
        return original
    small = {**original.weights, "conv1.weight": original.weights["conv1.weight"][:, :, 2:5, 2:5]}
    changed = original.manifest.model_copy(update={"network": ResNet18(stem="3x3")})
    return Artifact(original.directory, changed, small)


def test_openvino_computes_what_torch_computes(loaded: Artifact) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    expected = TorchEngine(loaded).logits(pixels)
    got = OpenVinoEngine(openvino_graph.build(loaded), "fp32").logits(pixels)
    assert got.dtype == expected.dtype == np.float32
    assert np.abs(got - expected).max() < 1e-3


@pytest.mark.parametrize("threads", [1, 2])
def test_openvino_answers_a_batch_in_parts_as_its_images_one_by_one(loaded: Artifact, threads: int) -> None:
    engine = OpenVinoEngine(openvino_graph.build(loaded), "fp32", threads)
    pixels = np.random.default_rng(0).integers(0, 256, (22, 32, 32, 3), dtype=np.uint8)
    expected = np.concatenate([engine.logits(pixels[i : i + 1]) for i in range(len(pixels))])
    for count in (22, 7, 8, 9, 20):
        got = engine.logits(pixels[:count])
        assert got.shape == (count, expected.shape[1])
        assert np.abs(got - expected[:count]).max() < 1e-3


def test_no_part_is_left_running_when_one_cannot_be_started(loaded: Artifact) -> None:
    """The next batch would find its request busy."""
    engine = OpenVinoEngine(openvino_graph.build(loaded), "fp32", 2)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)
    expected = engine.logits(pixels)
    (parts,) = engine._idle_parts
    last, parts[-1] = parts[-1], SimpleNamespace()
    with pytest.raises(AttributeError):
        engine.logits(pixels)
    parts[-1] = last
    engine._idle_parts = [parts]
    assert np.array_equal(engine.logits(pixels), expected)


def test_an_openvino_engine_answers_two_threads_at_a_time(loaded: Artifact) -> None:
    engine = OpenVinoEngine(openvino_graph.build(loaded), "fp32", 2)
    assert engine.pipelined_from == 8
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)
    expected = engine.logits(pixels)
    sizes = [32, 3, 17, 32, 8, 1] * 5
    with ThreadPoolExecutor(2) as threads:
        answers = threads.map(lambda size: engine.logits(pixels[-size:]), sizes)
        for size, got in zip(sizes, answers, strict=True):
            assert np.abs(got - expected[-size:]).max() < 1e-3


def test_an_engine_without_streams_of_its_own_takes_one_batch_after_the_other(loaded: Artifact) -> None:
    assert OpenVinoEngine(openvino_graph.build(loaded), "fp32", 1).pipelined_from == inf
    assert TorchEngine(loaded, "cpu").pipelined_from == inf


def test_an_engine_leaves_the_graph_as_it_was(loaded: Artifact) -> None:
    graph = openvino_graph.build(loaded)
    OpenVinoEngine(graph, "fp32", 2)
    assert graph.input(0).partial_shape[0].is_dynamic


def test_an_openvino_answer_survives_the_next_batch(loaded: Artifact) -> None:
    engine = OpenVinoEngine(openvino_graph.build(loaded), "fp32")
    rng = np.random.default_rng(0)
    for count in (3, 9):
        first = engine.logits(rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))
        kept = first.copy()
        engine.logits(rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))
        assert np.array_equal(first, kept)


@pytest.mark.parametrize(
    "damage",
    [
        lambda weights: {name: value for name, value in weights.items() if name != "layer3.1.bn2.bias"},
        lambda weights: {**weights, "extra.weight": np.zeros(3, np.float16)},
        lambda weights: {**weights, "fc.weight": weights["fc.weight"][:-1]},
        lambda weights: {**weights, "layer1.0.conv1.weight": weights["layer1.0.conv1.weight"][:, :-1]},
    ],
)
def test_weights_of_another_network_are_refused_by_both_engines(loaded: Artifact, damage: object) -> None:
    damaged = Artifact(loaded.directory, loaded.manifest, damage(loaded.weights))  # type: ignore[operator]
    with pytest.raises(BadArtifact, match="do not fit the network"):
        openvino_graph.build(damaged)
    with pytest.raises(BadArtifact, match="do not fit the network"):
        TorchEngine(damaged)


def files_of(directory: Path, graph: bytes, weights: bytes) -> Export:
    """An int8 export of these bytes, with their true checksums."""
    contents = {"openvino-int8.xml": graph, "openvino-int8.bin": weights}
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    files = {name: artifact.sha256(content) for name, content in contents.items()}
    return export("int8", 0).model_copy(update={"files": files})


def test_an_export_that_is_no_graph_or_one_of_other_classes_is_refused(
    loaded: Artifact, tmp_path: Path
) -> None:
    here = Artifact(tmp_path, loaded.manifest, loaded.weights)
    with pytest.raises(BadArtifact, match="int8 export is not a graph that OpenVINO reads"):
        openvino_graph.read(here, files_of(tmp_path, b"<net/>", b""))
    ov.serialize(openvino_graph.build(loaded), tmp_path / "other.xml", tmp_path / "other.bin")
    written = files_of(tmp_path, *((tmp_path / f"other.{end}").read_bytes() for end in ("xml", "bin")))
    openvino_graph.read(here, written)
    fewer = loaded.manifest.model_copy(update={"classes": loaded.manifest.classes[:-1]})
    with pytest.raises(BadArtifact, match="int8 export does not have the model's classes"):
        openvino_graph.read(Artifact(tmp_path, fewer, loaded.weights), written)


def test_when_torch_finds_no_memory_it_is_a_memory_error_and_nothing_else_is(
    loaded: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(*_: object) -> None:
        torch.empty(1 << 55, dtype=torch.uint8)

    def exhaust_cuda(*_: object) -> None:
        """As TorchScript's interpreter passes it on: without its type."""
        raise RuntimeError("The following operation failed\nRuntimeError: CUDA out of memory")

    def fail(*_: object) -> None:
        raise RuntimeError("another failure")

    engine, pixels = TorchEngine(loaded), np.zeros((1, 32, 32, 3), np.uint8)
    for exhausted in (exhaust, exhaust_cuda):
        monkeypatch.setattr(TorchEngine, "_logits", exhausted)
        with pytest.raises(MemoryError):
            engine.logits(pixels)
    monkeypatch.setattr(TorchEngine, "_logits", fail)
    with pytest.raises(RuntimeError, match="another failure"):
        engine.logits(pixels)


def test_torch_gives_the_memory_of_a_version_back(loaded: Artifact) -> None:
    pixels = np.zeros((2, 32, 32, 3), np.uint8)

    def held_after_loading(times: int) -> int:
        for _ in range(times):
            TorchEngine(loaded).logits(pixels)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # or what is free and not given back would count
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    before = held_after_loading(2)
    in_float32 = 4 * sum(values.size for values in loaded.weights.values())
    assert held_after_loading(4) - before < 2 * in_float32


def test_a_model_is_loaded_on_the_engine_asked_for(models_dir: Path) -> None:
    directory = models_dir / "cifar10" / "1"
    image = (SAMPLES / "cat.jpg").read_bytes()
    answers = []
    for wish in (Wish(engine="torch"), Wish(engine="openvino"), Wish()):
        predictor = loader.load(directory, wish)
        answers += predictor.predict([prepare(image, predictor.manifest.preprocessing)])
    assert len({answer.index for answer in answers}) == 1  # type: ignore[union-attr]


def test_this_processor_runs_fp32() -> None:
    assert "fp32" in capabilities()


A_SIGNAL_AFTER_AN_ENGINE_IS_GONE = """
import signal, sys, threading
from pathlib import Path
from models import artifact
from models.engines.openvino_engine import OpenVinoEngine
from models.engines.openvino_graph import build

engines = [OpenVinoEngine(build(artifact.load(Path(sys.argv[1]))), "fp32")]
elsewhere = threading.Thread(target=engines.clear)
elsewhere.start()
elsewhere.join()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_is_survived_when_an_engine_has_been_freed_on_another_thread(models_dir: Path) -> None:
    command = [sys.executable, "-c", A_SIGNAL_AFTER_AN_ENGINE_IS_GONE, str(models_dir / "cifar10" / "1")]
    assert subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode == 0
