"""A published model gets a golden sample, and what was measured on it is what a load sees."""

from __future__ import annotations

import io
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import artifact, loader
from models.engines.choice import Wish
from models.errors import BadArtifact
from models.manifest import Calibration
from tests.conftest import ImageMaker
from train import golden
from train.__main__ import main
from train.data import Images
from train.evaluate import Answers

CPU_FP32 = [Wish(engine="torch"), Wish(engine="openvino", precision="fp32")]


@pytest.fixture
def sampled(recorded: Path, tmp_path: Path, make_image: ImageMaker) -> Path:
    """A model that got its sample after it was published."""
    directory = Path(shutil.copytree(recorded, tmp_path / recorded.parent.name / recorded.name))
    image = tmp_path / "image.webp"
    image.write_bytes(make_image(3, (40, 30), "WEBP"))
    assert main(["golden", "--model", str(directory), "--image", str(image)]) == 0
    return directory


@pytest.mark.parametrize("wish", CPU_FP32)
def test_a_model_with_a_sample_is_checked_at_load_on_either_engine(
    sampled: Path, wish: Wish, caplog: pytest.LogCaptureFixture
) -> None:
    loader.load(sampled, wish)
    assert caplog.records == []
    with Image.open(sampled / "golden.png") as image:
        assert image.size == (8, 8)


def test_a_model_without_one_loads_and_says_so(recorded: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        loader.load(recorded, Wish(engine="torch"))
    assert caplog.messages == [f"{recorded}: no golden sample at fp32, so none was checked"]


def test_a_model_whose_preprocessing_was_changed_after_publication_is_refused(sampled: Path) -> None:
    path = sampled / "model.json"
    path.write_text(path.read_text().replace('"resize": "stretch"', '"resize": "crop"', 1))
    with pytest.raises(BadArtifact, match=r"golden\.png: torch cpu fp32 answers"):
        loader.load(sampled, Wish(engine="torch"))


def test_a_file_that_is_no_image_is_one_line_and_changes_nothing(
    sampled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = artifact.load_manifest(sampled)
    assert main(["golden", "--model", str(sampled), "--image", str(sampled / "model.json")]) == 1
    assert capsys.readouterr().err == "error: not a JPEG, PNG or WebP image\n"
    assert artifact.load_manifest(sampled) == before


def test_the_sample_is_the_right_answer_of_median_confidence() -> None:
    pixels = np.zeros((5, 8, 8, 3), np.uint8)
    pixels[:, 0, 0, 0] = range(5)
    logits = np.array([[1, 0], [5, 0], [0, 9], [3, 0], [2, 0]], np.float32)  # the third is wrong
    images = Images(("a", "b"), pixels, np.zeros(5, np.int64), ("",) * 5, ("",) * 5, (None,) * 5)
    chosen = golden.choose(Answers(images, logits), Calibration())
    assert np.asarray(Image.open(io.BytesIO(chosen)))[0, 0, 0] == 3
