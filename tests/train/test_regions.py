"""Images whose regions are known: varied strongly, under labels that stay true."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.images import Pixels
from tests.train.outcome import outcome, same
from train import batches, regions
from train.__main__ import main
from train.augment import warped
from train.data import Images, Labels
from train.errors import DataError
from train.recipe import BOTTLE, RegionRule, Warp, at_size
from train.regions import Boxes, Regions

assert BOTTLE.regions
RULE: RegionRule = BOTTLE.regions
SIDE = 64
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def boxes_of(*images: list[tuple[float, float, float, float]]) -> Boxes:
    """Of images by their regions in shares of the side."""
    boxes = np.full((len(images), max(1, *map(len, images)), 4), np.nan, np.float32)
    for box, mine in zip(boxes, images, strict=True):
        box[: len(mine)] = 2 * np.array(mine, np.float32).reshape(-1, 4) - 1
    return boxes


def painted(boxes: Boxes) -> Pixels:
    """Blue images with their regions in red."""
    batch = np.full((len(boxes), SIDE, SIDE, 3), BLUE, np.uint8)
    for image, mine in zip(batch, boxes, strict=True):
        for box in mine[~np.isnan(mine[:, 0])]:
            left, top, right, bottom = ((box + 1) / 2 * SIDE).round().astype(int)
            image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = RED
    return batch


def reds(image: Pixels) -> int:
    """Pixels of a region, if only in part."""
    return int((image[..., 0] > 20).sum())


places = st.builds(
    lambda u, v, wide, high: (u, v, u + wide, v + high),
    st.floats(0.06, 0.6), st.floats(0.06, 0.6), st.floats(0.14, 0.33), st.floats(0.1, 0.33),
)  # fmt: skip


@given(st.lists(st.lists(places, max_size=3), min_size=1, max_size=8), st.integers(0, 10_000))
def test_an_image_keeps_its_first_region_whole_or_none_of_any(
    images: list[list[tuple[float, float, float, float]]], seed: int
) -> None:
    boxes = boxes_of(*images)
    rule = RULE.model_copy(update={"lost_share": 0.5})
    maps, lost = regions.draw_maps(boxes, rule, np.random.default_rng(seed))
    after = regions.under(maps, boxes)
    pictures = warped(painted(boxes), maps)
    for mine, moved, is_lost, picture in zip(images, after, lost, pictures, strict=True):
        if not mine:
            assert not is_lost
        elif is_lost:
            assert reds(picture) == 0
        else:
            assert np.abs(moved[0]).max() <= 0.901 or np.array_equal(moved, boxes_of(mine)[0])


def test_a_box_is_where_its_pixels_come_to_be() -> None:
    """Where nothing beyond the edges is seen, in which a region would be mirrored."""
    near = RULE.kept.model_copy(update={"shift_fraction": 0.05, "scale": (0.5, 0.7)})
    boxes = boxes_of(*[[(0.4, 0.45, 0.55, 0.6)]] * 64)
    rule = RULE.model_copy(update={"kept": near, "lost_share": 0.0})
    maps, _ = regions.draw_maps(boxes, rule, np.random.default_rng(0))
    assert len(np.unique(maps, axis=0)) == 64
    for picture, (box,) in zip(warped(painted(boxes), maps), regions.under(maps, boxes), strict=True):
        rows, columns = np.nonzero(picture[..., 0] > 127)
        seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / SIDE * 2 - 1
        assert np.abs(seen - box).max() < 3 * 2 / SIDE


def test_as_many_lose_their_region_as_the_rule_says_and_are_labelled_so() -> None:
    boxes = boxes_of(*[[(0.3, 0.1, 0.5, 0.25)]] * 500, *[[]] * 100)
    labels = np.zeros(600, np.int64)
    rule = RULE.model_copy(update={"patch_share": 0.0})
    pixels, varied = Regions(boxes, rule, 2).vary(
        painted(boxes), labels, np.arange(600), 0.0, np.random.default_rng(0)
    )
    without = np.array([reds(picture) == 0 for picture in pixels])
    assert np.array_equal(varied[:500] == 2, without[:500])
    assert 0.05 < without[:500].mean() < 0.25  # two in ten, where such a map is found
    assert (varied[500:] == 0).all()


@pytest.mark.parametrize(("progress", "has_closed"), [(0.0, False), (0.84, False), (0.85, True), (1.0, True)])
def test_at_the_end_nothing_is_lost_or_covered(progress: float, has_closed: bool) -> None:
    boxes = boxes_of(*[[(0.3, 0.1, 0.5, 0.25)]] * 100)
    before = painted(boxes)
    before[..., 2] = np.arange(100)[:, None, None]  # each of its own blue
    pixels, labels = Regions(boxes, RULE, 2).vary(
        before, np.zeros(100, np.int64), np.arange(100), progress, np.random.default_rng(0)
    )
    assert RULE.at(progress).kept == (RULE.closing if has_closed else RULE.kept)
    of_one_blue = [np.ptp(image[image[..., 0] == 0, 2]) == 0 for image in pixels]
    assert all(of_one_blue) == has_closed
    assert (labels == 0).all() == has_closed


def test_a_region_that_fills_its_image_is_left_alone() -> None:
    boxes = boxes_of(*[[(0.0, 0.0, 1.0, 1.0)]] * 8)
    before = painted(boxes)
    pixels, labels = Regions(boxes, RULE, 2).vary(
        before, np.zeros(8, np.int64), np.arange(8), 0.0, np.random.default_rng(0)
    )
    assert np.array_equal(pixels, before)
    assert not labels.any()


@given(st.lists(st.lists(places, max_size=3), min_size=2, max_size=8), st.integers(0, 10_000))
def test_a_patch_covers_no_region_and_brings_none(
    images: list[list[tuple[float, float, float, float]]], seed: int
) -> None:
    boxes = boxes_of(*images)
    before = painted(boxes)
    after = before.copy()
    regions.patch(after, boxes, 1.0, np.random.default_rng(seed))
    assert np.array_equal(after, before)  # blue on blue, and no red was touched


def test_images_with_regions_are_patched_beside_them() -> None:
    boxes = boxes_of(*[[(0.4, 0.1, 0.55, 0.2)]] * 200)
    before = painted(boxes)
    before[..., 2] = np.arange(200)[:, None, None]  # each of its own blue
    after = before.copy()
    regions.patch(after, boxes, 1.0, np.random.default_rng(0))
    assert 0.8 < (after != before).any(axis=(1, 2, 3)).mean() <= 1


def test_no_patch_brings_a_region_that_is_mirrored_beyond_an_edge() -> None:
    boxes = boxes_of(*[[(0.05, 0.05, 0.25, 0.2)], []] * 300)
    out = np.tile(
        np.array([[1.5, 0, -0.7], [0, 1.5, -0.7]], np.float32), (600, 1, 1)
    )  # above and left of the image
    pictures = warped(painted(boxes), out)
    left, top, right, bottom = regions.under(out[:1], boxes[:1])[0, 0] * SIDE / 2
    assert reds(pictures[0]) > 3 * (right - left) * (bottom - top)
    before = np.array([reds(picture) for picture in pictures])
    regions.patch(pictures, regions.under(out, regions.with_mirrored(boxes)), 1.0, np.random.default_rng(0))
    assert np.array_equal([reds(picture) for picture in pictures], before)


def test_patches_come_from_the_other_images() -> None:
    batch = np.stack([np.full((SIDE, SIDE, 3), colour, np.uint8) for colour in (RED, GREEN, BLUE)] * 20)
    before = batch.copy()
    regions.patch(batch, boxes_of(*[[]] * 60), 0.5, np.random.default_rng(0))
    changed = (batch != before).any(axis=3).mean(axis=(1, 2))
    assert 0.2 < (changed > 0).mean() < 0.6  # half of them, of which a third by one of their own colour
    assert changed.max() < 0.6


def test_no_map_that_fits_leaves_the_image_as_it_is() -> None:
    far = Warp(rotation_degrees=0, shift_fraction=0.0, shear_degrees=0, zoom_fraction=0, scale=(9.0, 10.0))
    rule = RULE.model_copy(update={"kept": far, "lost_share": 0.0})
    maps, _ = regions.draw_maps(boxes_of([(0.4, 0.4, 0.6, 0.6)]), rule, np.random.default_rng(0))
    assert np.array_equal(maps[0], np.eye(2, 3))


def written(folder: Path, *lines: object) -> Path:
    (folder / regions.FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_manifest_tells_the_regions_and_an_image_it_leaves_out_is_one_as_a_whole(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        {"file": "open/a.jpg", "regions": [[0.5, 0.0, 0.75, 0.25], [0.0, 0.0, 0.5, 0.5]], "more": 1},
        {"file": "unknown/b.jpg", "regions": []},
    )
    boxes = regions.read(folder, ["open/a.jpg", "unknown/b.jpg", "open/mine.jpg"])
    assert boxes is not None
    assert boxes[0].tolist() == [[0, -1, 0.5, -0.5], [-1, -1, 0, 0]]
    assert np.isnan(boxes[1]).all()
    assert boxes[2, 0].tolist() == [-1, -1, 1, 1]
    assert np.isnan(boxes[2, 1]).all()


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    line = b'{"file": "a", "regions": []}\n'
    (tmp_path / regions.FILE).write_bytes(line + line[:9])
    boxes = regions.read(tmp_path, ["a"])
    assert boxes is not None
    assert np.isnan(boxes).all()


def test_a_manifest_of_other_images_is_an_error(tmp_path: Path) -> None:
    folder = written(tmp_path, {"file": "./open/a.jpg", "regions": []})
    with pytest.raises(DataError, match="none of these images"):
        regions.read(folder, ["open/a.jpg"])


def test_without_regions_in_a_manifest_none_are_known(tmp_path: Path) -> None:
    assert regions.read(tmp_path, ["a.jpg"]) is None
    assert regions.read(written(tmp_path, {"file": "a.jpg"}), ["a.jpg"]) is None
    assert regions.read(tmp_path / "images.zip", ["a.jpg"]) is None


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        "3",
        '"regions"',
        '{"regions": []}',
        '{"file": "a", "regions": 1}',
        '{"file": "a", "regions": [1]}',
        '{"file": "a", "regions": [[0, 0, 1]]}',
        '{"file": "a", "regions": [[0, 0, 1, null]]}',
        '{"file": "a", "regions": [[0, 0, NaN, 1]]}',
        '{"file": "a", "regions": [[1, 0, 0, 1]]}',
        '{"file": "a", "regions": ""}',
        '{"file": "a", "regions": {}}',
        '{"file": "a", "regions": ["0123"]}',
        '{"file": "a", "regions": [[-1e308, 0, 1e308, 1]]}',
        f'{{"file": "a", "regions": [[0, 0, {"9" * 500}, 1]]}}',
        f'{{"file": "a", "regions": {"[" * 5000}{"]" * 5000}}}',
        f'{{"file": "a", "regions": [{", ".join(["[0, 0, 1, 1]"] * 101)}]}}',
        "\xff",
    ],
)
def test_a_manifest_that_is_none_is_an_error_that_names_the_line(line: str, tmp_path: Path) -> None:
    (tmp_path / regions.FILE).write_bytes(b'{"file": "b", "regions": []}\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(DataError, match="line 2"):
        regions.read(tmp_path, ["a"])


@pytest.fixture
def bottles(folder: Path, tmp_path: Path) -> Path:
    """Images of three classes, with a manifest of their regions; one class is named as the recipe asks."""
    copied = tmp_path / "images"
    shutil.copytree(folder, copied)
    (copied / "red").rename(copied / "unknown")
    known = [
        path.relative_to(copied).as_posix() for path in copied.rglob("*.png") if "unknown" not in path.parts
    ]
    return written(copied, *({"file": path, "regions": [[0.25, 0.25, 0.5, 0.5]]} for path in known))


def arguments(data: Path, root: Path) -> list[str]:
    short = ["--epochs", "2", "--batch-size", "6", "--size", "32"]
    places = ["--output", root / "run", "--models-dir", root / "models", "--cache", root / "cache"]
    return ["bottle", "--data", str(data), *short, *map(str, places)]


def test_training_varies_images_whose_regions_the_folder_tells(bottles: Path, tmp_path: Path) -> None:
    assert main(arguments(bottles, tmp_path / "with")) == 0
    written(
        bottles, {"file": "blue/000.png", "regions": [[0, 0, 1, 1]]}
    )  # nothing may be done to any of them
    assert main(arguments(bottles, tmp_path / "without")) == 0
    told, untold = (outcome(tmp_path / name / "run")["best"] for name in ("with", "without"))
    assert not same(told, untold)


def test_a_run_is_not_gone_on_with_under_other_regions(
    bottles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments(bottles, tmp_path)
    assert main(given) == 0
    written(bottles, {"file": "blue/000.png", "regions": [[0.5, 0.5, 0.75, 0.75]]})
    assert main([*given, "--resume"]) == 1
    assert "holds another run: regions was" in capsys.readouterr().err


def test_regions_of_images_that_are_cropped_are_not_used(
    bottles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*arguments(bottles, tmp_path), "--resize", "crop"]
    assert main(given) == 0
    assert "0 of 24 images have known regions" in capsys.readouterr().err
    (bottles / regions.FILE).unlink()
    assert main([*given, "--resume"]) == 0


def test_a_run_says_of_how_many_images_the_regions_are_known(
    bottles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(bottles, *({"file": f"blue/00{number}.png", "regions": []} for number in range(3)))
    assert main(arguments(bottles, tmp_path)) == 0
    assert "3 of 24 images have known regions" in capsys.readouterr().err


def test_the_rule_closes_at_its_share_of_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four steps of the first epoch of two and the last one of the second, of eight in all."""
    seen = []

    def vary(_: Regions, pixels: Pixels, labels: Labels, *rest: object) -> tuple[Pixels, Labels]:
        seen.append(rest[1])
        return pixels, labels

    monkeypatch.setattr(Regions, "vary", vary)
    recipe = at_size(BOTTLE, 32).but(epochs=2, batch_size=2)
    pixels, nothing = np.zeros((8, 32, 32, 3), np.uint8), ("",) * 8
    images = Images(("a", "b"), pixels, np.arange(8) % 2, nothing, nothing, (None,) * 8)
    known = Regions(boxes_of(*[[]] * 8), RULE, 1)
    for epoch, first in ((0, 0), (1, 7)):
        list(batches.of_epoch(recipe, images, np.arange(8), epoch, first, 0, 1, known))
    assert seen == [0, 1 / 8, 2 / 8, 3 / 8, 7 / 8]


@pytest.mark.parametrize("scale", [(0.0, 1.0), (-1.0, 1.0), (1.2, 0.8)])
def test_a_scale_is_above_nothing_and_in_order(scale: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="the least first"):
        Warp(rotation_degrees=0, shift_fraction=0, shear_degrees=0, zoom_fraction=0, scale=scale)


def test_a_folder_without_the_class_of_images_without_regions_is_an_error(
    bottles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bottles / "unknown").rename(bottles / "red")
    assert main(arguments(bottles, tmp_path)) == 1
    assert "'unknown': no class of this folder" in capsys.readouterr().err
