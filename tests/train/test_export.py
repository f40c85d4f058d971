"""An export is measured as it will be served, and served only where it was measured to be good enough."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import artifact, loader
from models.artifact import Artifact
from models.engines.choice import Wish
from models.engines.openvino_engine import capabilities
from models.images import prepare
from models.manifest import Calibration, Export, Manifest, ModelSpec
from models.predictor import Prediction
from train import golden, quantize, recalibrate, report
from train.__main__ import main

needs_int8 = pytest.mark.skipif(
    find_spec("nncf") is None or "int8" not in capabilities(),
    reason="nncf is not installed, or this processor has no int8 instructions",
)
needs_bf16 = pytest.mark.skipif(
    "bf16" not in capabilities(), reason="this processor has no bf16 instructions"
)

INT8 = Wish(engine="openvino", precision="int8")


def run(model: Path, images: Path, *flags: str) -> int:
    cache = str(model.parent.parent / "cache")
    return main(["export", "--model", str(model), "--data", str(images), "--cache", cache, *flags])


def copy(model: Path, where: Path) -> Path:
    return Path(shutil.copytree(model, where / model.parent.name / model.name))


@pytest.fixture(scope="module")
def exported(recorded: Path, sided_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with an int8 export; tests read it and never write to it."""
    model = copy(recorded, tmp_path_factory.mktemp("exported"))
    assert run(model, sided_folder) == 0
    return model


def only_export(model: Path) -> Export:
    (export,) = artifact.load_manifest(model).exports
    return export


def spec_of(model: Artifact) -> ModelSpec:
    return ModelSpec(**{name: getattr(model.manifest, name) for name in ModelSpec.model_fields})


def served_accuracy(model: Path, side: Path, wish: Wish) -> float:
    """Of the images in a side's folders, encoded as they are, through what the service loads."""
    predictor = loader.load(model, wish)
    files = sorted(side.glob("*/*.png"))
    answers = predictor.predict(
        [prepare(file.read_bytes(), predictor.manifest.preprocessing) for file in files]
    )
    labels = [predictor.manifest.classes.index(file.parent.name) for file in files]
    indices = [answer.index for answer in answers if isinstance(answer, Prediction)]
    return float(np.mean(np.array(indices) == labels))


@needs_int8
def test_an_int8_export_is_two_checksummed_files_beside_the_weights(exported: Path) -> None:
    export = only_export(exported)
    assert set(export.files) == {"openvino-int8.xml", "openvino-int8.bin"}
    for name, sha256 in export.files.items():
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == sha256
    assert (exported / "openvino-int8.bin").stat().st_size < 12e6  # a byte a weight
    assert loader.load(exported, INT8).engine.name == "openvino cpu int8"


@needs_int8
def test_a_model_without_a_golden_sample_gets_one_and_the_export_its_own_answer_to_it(
    exported: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = artifact.load_manifest(exported).golden
    assert stored is not None
    assert only_export(exported).golden not in (None, stored.probabilities)
    loader.load(exported, INT8)
    assert caplog.records == []  # it was there to be checked


@needs_int8
def test_the_stated_accuracies_are_those_of_what_is_served(exported: Path, sided_folder: Path) -> None:
    export = only_export(exported)
    assert served_accuracy(exported, sided_folder / "val", INT8) == pytest.approx(export.accuracy)
    assert served_accuracy(exported, sided_folder / "test", INT8) == export.metrics["test"]["accuracy"]
    stored = served_accuracy(exported, sided_folder / "val", Wish(engine="torch"))
    assert export.accuracy_loss == pytest.approx(stored - export.accuracy, abs=1e-6)


@needs_int8
def test_an_export_has_a_calibration_of_its_own(exported: Path) -> None:
    export, manifest = only_export(exported), artifact.load_manifest(exported)
    assert export.calibration.temperature != manifest.calibration.temperature
    assert export.metrics["validation"]["precision"] >= 0.98
    assert loader.load(exported, INT8).calibration == export.calibration


def evaluated(model: Path, images: Path, precision: str) -> int:
    flags = ["--json", "--precision", precision, "--cache", str(model.parent.parent / "cache")]
    return main(["evaluate", "--model", str(model), "--data", str(images), *flags])


@needs_int8
def test_evaluate_measures_an_export_with_its_own_calibration(
    exported: Path, sided_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluated(exported, sided_folder, "int8") == 0
    found, stated = json.loads(capsys.readouterr().out), dict(only_export(exported).metrics["test"])
    assert found["engine"] == "openvino cpu int8"
    assert found.pop("per_class_accuracy") == stated.pop("per_class_accuracy")
    assert {key: found[key] for key in stated} == pytest.approx(stated, rel=1e-4, abs=1e-5)


def test_evaluate_says_in_one_line_that_there_is_no_such_export(
    recorded: Path, sided_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluated(recorded, sided_folder, "bf16") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


@pytest.fixture
def spoilt(exported: Path, tmp_path: Path) -> Path:
    """The same with confidences that mean nothing, and an answer to its golden sample that is not its own."""
    model = copy(exported, tmp_path)
    good, bad = artifact.load_manifest(model), Calibration(temperature=9.0)
    exports = tuple(export.model_copy(update={"calibration": bad}) for export in good.exports)
    told = {"calibration": bad, "exports": exports}
    artifact.replace_manifest(model, good, good.model_copy(update=told))
    return model


def recalibrated(model: Path, images: Path) -> int:
    cache = str(model.parent.parent / "cache")
    return main(["recalibrate", "--model", str(model), "--data", str(images), "--cache", cache])


@needs_int8
def test_a_model_that_was_calibrated_badly_is_calibrated_anew_with_its_export_and_its_golden_sample(
    exported: Path, spoilt: Path, sided_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert recalibrated(spoilt, sided_folder) == 0
    before, after = artifact.load_manifest(exported), artifact.load_manifest(spoilt)
    assert after.calibration.temperature not in (1.0, 9.0)
    assert after.exports == before.exports  # as when it was exported
    assert after.metrics["test"]["images"] == before.exports[0].metrics["test"]["images"]
    assert (spoilt / "card.md").read_text() == report.card(after)
    loader.load(spoilt, INT8)
    assert caplog.records == []  # its golden sample was there to be checked


@needs_int8
def test_an_export_that_this_processor_cannot_run_keeps_its_calibration_and_its_golden_answer(
    spoilt: Path, sided_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = only_export(spoilt)
    for module in (recalibrate, golden):
        monkeypatch.setattr(module, "capabilities", lambda: frozenset({"fp32"}))
    assert recalibrated(spoilt, sided_folder) == 0
    assert only_export(spoilt) == before
    assert "int8     not measured" in capsys.readouterr().out


@needs_int8
def test_a_model_that_was_changed_while_it_was_measured_is_left_alone(
    spoilt: Path, sided_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*_: Any) -> Manifest:
        found = artifact.load_manifest(spoilt)
        artifact.replace_manifest(spoilt, found, found.model_copy(update={"exports": ()}))
        return found

    monkeypatch.setattr(recalibrate, "_with_golden_answers", meanwhile)
    assert recalibrated(spoilt, sided_folder) == 1
    assert artifact.load_manifest(spoilt).exports == ()


@needs_int8
def test_auto_serves_the_int8_export_that_loses_no_more_than_allowed(exported: Path) -> None:
    assert only_export(exported).accuracy_loss <= Wish().max_accuracy_loss
    chosen = loader.load(exported, Wish())
    assert chosen.engine.name == "openvino cpu int8"
    assert "points of accuracy" in chosen.engine_reason


@pytest.fixture
def fragile(recorded: Path, tmp_path: Path) -> Path:
    """The same function of its input, with one channel in each block a thousand times as large as the others.

    What scales up before a ReLU is scaled down behind it. A float has room for both, a step of int8 has not.
    """
    stored = artifact.load(recorded)
    weights = {name: value.astype(np.float32) for name, value in stored.weights.items()}
    for block in (f"layer{stage}.{number}" for stage in range(1, 5) for number in range(2)):
        weights[f"{block}.bn1.weight"][0] *= 1000
        weights[f"{block}.bn1.bias"][0] = 1000
        weights[f"{block}.conv2.weight"][:, 0] /= 1000
    return artifact.save(tmp_path, spec_of(stored), weights, "float32")


@needs_int8
def test_auto_passes_over_the_int8_export_that_loses_more(fragile: Path, sided_folder: Path) -> None:
    assert run(fragile, sided_folder) == 0
    assert only_export(fragile).accuracy_loss > 0.1
    refused = loader.load(fragile, Wish())
    assert refused.engine.name == "openvino cpu fp32"
    assert "not int8, since it loses" in refused.engine_reason
    assert refused.calibration == refused.manifest.calibration


@needs_int8
def test_exporting_again_replaces_the_same_precision_and_keeps_the_other(
    exported: Path, sided_folder: Path, tmp_path: Path
) -> None:
    model = copy(exported, tmp_path)
    first = only_export(model)
    if "bf16" in capabilities():
        assert run(model, sided_folder, "--precision", "bf16") == 0
    assert run(model, sided_folder) == 0
    *others, last = artifact.load_manifest(model).exports
    assert [other.precision for other in others] == ["bf16"] * ("bf16" in capabilities())
    weights = "openvino-int8.bin"
    assert last.files[weights] == first.files[weights]  # the same images, the same scales
    assert last.accuracy == first.accuracy


@needs_bf16
def test_a_bf16_export_is_figures_alone(recorded: Path, sided_folder: Path, tmp_path: Path) -> None:
    model = copy(recorded, tmp_path)
    assert run(model, sided_folder, "--precision", "bf16") == 0
    assert only_export(model).files == {}
    assert {path.name for path in model.iterdir()} == {"model.json", "weights.safetensors", "golden.png"}
    chosen = loader.load(model, Wish(precision="bf16"))
    assert chosen.engine.name == "openvino cpu bf16"


def test_scales_come_from_training_images_always_the_same_ones() -> None:
    train = np.arange(0, 10_000, 2)
    chosen = quantize.sample(train)
    assert len(set(chosen)) == quantize.IMAGES
    assert set(chosen) <= set(train)
    assert np.array_equal(chosen, quantize.sample(train))
    assert quantize.sample(train[:5]).tolist() == train[:5].tolist()


@needs_int8
@pytest.mark.parametrize("side", ["train", "val", "test"])
def test_images_of_another_split_are_refused_and_nothing_is_written(
    recorded: Path, sided_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], side: str
) -> None:
    model, images = copy(recorded, tmp_path), tmp_path / "images"
    shutil.copytree(sided_folder, images)
    (images / side / "red" / "000.png").unlink()
    before = (model / "model.json").read_bytes()
    assert run(model, images) == 1
    assert capsys.readouterr().err == (
        f"error: not the images that the model was trained on: its {side} images are others\n"
    )
    assert (model / "model.json").read_bytes() == before


@needs_int8
def test_images_of_other_classes_are_refused(
    recorded: Path, sided_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, images = copy(recorded, tmp_path), tmp_path / "images"
    for side in ("train", "val", "test"):
        shutil.copytree(sided_folder / side, images / side)
        (images / side / "red").rename(images / side / "crimson")
    assert run(model, images) == 1
    assert capsys.readouterr().err == "error: the images' classes are not the model's, blue, green, red\n"


@needs_int8
def test_a_model_without_a_recorded_split_is_refused(
    recorded: Path, sided_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = artifact.load(recorded)
    imported = spec_of(stored).model_copy(update={"training": {}})
    model = artifact.save(tmp_path, imported, stored.weights)
    assert run(model, sided_folder) == 1
    error = capsys.readouterr().err
    assert error == "error: the model does not record how its images were split: no 'recipe'\n"


def test_without_nncf_one_line_says_how_to_get_it(
    recorded: Path, sided_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    assert run(recorded, sided_folder) == 1
    assert capsys.readouterr().err == "error: nncf is not installed: pip install 'rotulo[export]'\n"
