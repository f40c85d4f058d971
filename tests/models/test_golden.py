"""The golden sample: what was measured at publication is what a load must see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import artifact, golden
from models.artifact import Artifact
from models.engines import protocol
from models.engines.choice import Choice, Precision
from models.engines.protocol import Logits
from models.errors import BadArtifact
from models.images import Pixels
from models.manifest import Calibration, Export, Golden
from models.predictor import Predictor
from tests.conftest import CLASSES, ImageMaker, spec

CAT, DOG = CLASSES.index("cat"), CLASSES.index("dog")


class Engine(protocol.Engine):
    """Gives a class a probability, and the others what is left, whatever it sees."""

    name = "test"

    def __init__(self, probability: float, index: int = CAT) -> None:
        self._probabilities = probabilities(probability, index)

    def logits(self, pixels: Pixels) -> Logits:
        return np.tile(np.log(np.array(self._probabilities, np.float32)), (len(pixels), 1))


def probabilities(probability: float, index: int = CAT) -> tuple[float, ...]:
    rest = (1 - probability) / (len(CLASSES) - 1)
    return tuple(probability if each == index else rest for each in range(len(CLASSES)))


def export(expected: tuple[float, ...] | None) -> Export:
    return Export(
        engine="openvino",
        precision="int8",
        files={},
        calibration=Calibration(),
        accuracy=0.9,
        accuracy_loss=0,
        ece=0,
        golden=expected,
    )


@pytest.fixture
def model(tmp_path: Path, make_image: ImageMaker) -> Artifact:
    """Its golden answer is cat with 0.9."""
    directory = artifact.save(tmp_path, spec(), {"fc.bias": np.zeros(10, np.float32)})
    image = make_image()
    sample = Golden(sha256=artifact.sha256(image), probabilities=probabilities(0.9))
    artifact.set_golden(directory, sample, image, ())
    return artifact.load(directory)


def check(
    model: Artifact, engine: Engine, precision: Precision = "fp32", export: Export | None = None
) -> bool:
    choice = Choice("torch", precision, "asked for", Calibration(), export)
    return golden.check(model, choice, Predictor(model.manifest, engine, Calibration()))


def test_the_answer_may_differ_by_the_tolerance_of_its_precision_and_no_more(model: Artifact) -> None:
    for precision, tolerance in golden.TOLERANCE.items():
        assert check(model, Engine(0.9 - 0.9 * tolerance), precision)
        with pytest.raises(BadArtifact, match=r"golden\.png: test answers 'cat' with 0\.\d{4}, not 'cat'"):
            check(model, Engine(0.9 - 1.1 * tolerance), precision)


def test_another_label_is_refused_in_one_line_that_names_the_file(model: Artifact) -> None:
    with pytest.raises(BadArtifact) as caught:
        check(model, Engine(0.9, DOG))
    path = model.directory / "golden.png"
    assert str(caught.value) == f"{path}: test answers 'dog' with 0.9000, not 'cat' with 0.9000"


def test_an_answer_that_is_not_finite_is_refused(model: Artifact) -> None:
    with pytest.raises(BadArtifact, match="nan"):
        check(model, Engine(float("nan")))


def test_an_export_is_held_to_its_own_answer(model: Artifact) -> None:
    assert check(model, Engine(0.7), "int8", export(probabilities(0.7)))
    with pytest.raises(BadArtifact, match="golden"):
        check(model, Engine(0.9), "int8", export(probabilities(0.7)))
    assert not check(model, Engine(0.7), "int8", export(None))


def test_a_model_without_one_is_not_checked(model: Artifact) -> None:
    bare = Artifact(model.directory, model.manifest.model_copy(update={"golden": None}), model.weights)
    assert not check(bare, Engine(0.1))


def test_an_answer_of_another_number_of_classes_is_refused(model: Artifact) -> None:
    sample = Golden(sha256=model.manifest.golden.sha256, probabilities=(0.4, 0.6))  # type: ignore[union-attr]
    short = Artifact(model.directory, model.manifest.model_copy(update={"golden": sample}), model.weights)
    with pytest.raises(BadArtifact, match="golden"):
        check(short, Engine(0.6))


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"?"), lambda path: path.unlink()])
def test_an_image_that_was_altered_or_lost_is_noticed(model: Artifact, damage: object) -> None:
    damage(model.directory / "golden.png")  # type: ignore[operator]
    with pytest.raises(BadArtifact, match=r"golden\.png"):
        check(model, Engine(0.9))


def test_one_that_is_cut_short_as_it_is_added_leaves_a_model_that_loads(model: Artifact) -> None:
    (model.directory / "golden.png").unlink()
    (model.directory / "golden.png").mkdir()  # nothing can be written in its place
    sample = Golden(sha256="0" * 64, probabilities=probabilities(0.5))
    with pytest.raises(OSError, match=r"golden\.png"):
        artifact.set_golden(model.directory, sample, b"", ())
    assert artifact.load(model.directory).manifest.golden is None
