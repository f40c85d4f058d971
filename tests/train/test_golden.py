"""A published model gets a golden sample, and what was measured on it is what a load sees."""

from __future__ import annotations

import io
import logging
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from models import artifact, loader
from models.engines.choice import Wish
from models.engines.protocol import Engine, Logits
from models.errors import BadArtifact
from models.images import Pixels, Preprocessing
from models.manifest import Manifest, WeightsFile
from models.predictor import Predictor
from tests.conftest import ImageMaker, spec
from train import evaluate, golden
from train.__main__ import main
from train.data import Images

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


class Brightness(Engine):
    """An engine that says `a` of what is lighter than grey, `b` of what is darker."""

    name = "brightness"

    def logits(self, pixels: Pixels) -> Logits:
        means = pixels.mean(axis=(1, 2, 3))
        logits: Logits = (np.stack([means - 128, 0 * means], axis=1) / 32).astype(np.float32)
        return logits


def chosen_of(inner: list[int], outer: list[int], resize: Literal["stretch", "crop"]) -> int:
    """How light the middle is of the sample taken of pictures of `a` with such a middle and such a border."""
    count, described = len(inner), spec().model_copy(update={"classes": ("a", "b")})
    described = described.model_copy(update={"preprocessing": Preprocessing(size=8, resize=resize)})
    pixels = np.empty((count, 8, 8, 3), np.uint8)
    pixels[:] = np.array(outer).reshape(-1, 1, 1, 1)
    pixels[:, 1:7, 1:7] = np.array(inner).reshape(-1, 1, 1, 1)
    images = Images(
        ("a", "b"), pixels, np.zeros(count, np.int64), ("",) * count, ("",) * count, (None,) * count
    )
    manifest = Manifest(**dict(described), weights=WeightsFile(dtype="float32", sha256="0" * 64))
    chosen = golden.choose(evaluate.run(Brightness(), images), Predictor(manifest, Brightness()))
    return int(np.asarray(Image.open(io.BytesIO(chosen)))[4, 4, 0])


@pytest.mark.parametrize("count", [1, 62, 64])
def test_the_sample_is_the_right_answer_of_median_confidence(count: int) -> None:
    light, dark = [140 + shade for shade in range(count)], [20, 30, 40]  # those that are dark it gets wrong
    assert chosen_of(light + dark, light + dark, "stretch") == light[count // 2]


def test_a_sample_that_is_cropped_again_is_chosen_by_the_answer_to_what_is_left() -> None:
    middles, borders = [140, 60, 170], [140, 255, 170]  # the second is light by its border alone
    assert chosen_of(middles, borders, "stretch") == 60
    assert chosen_of(middles, borders, "crop") == 170


def test_a_sample_that_a_model_has_already_is_not_cropped_anew(sampled: Path) -> None:
    path = sampled / "model.json"
    path.write_text(path.read_text().replace('"resize": "stretch"', '"resize": "crop"', 1))
    sample = (sampled / "golden.png").read_bytes()
    golden.add(sampled, sample)
    assert (sampled / "golden.png").read_bytes() == sample
    loader.load(sampled, Wish(engine="torch"))
