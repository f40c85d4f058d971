"""Renders, tiny ones: a folder by class that can be gone on with."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train import regions
from train.__main__ import main
from train.bottles import manifest
from train.bottles.sampling import scene

pytestmark = pytest.mark.skipif(find_spec("mitsuba") is None, reason="Mitsuba is not installed")
TINY = ("--short-side", "32", "--samples", "4", "--processes", "1", "--seed", "3")


def render(out: Path, count: int, *flags: str) -> int:
    return main(["bottles", "--out", str(out), "--count", str(count), *TINY, *flags])


@pytest.fixture(scope="module")
def renders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of the training set; tests read them and never write."""
    out = tmp_path_factory.mktemp("renders")
    assert render(out, 6) == 0
    return out


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.jpg"))}


def test_a_render_is_a_picture_in_the_folder_of_its_class(renders: Path) -> None:
    assert len(files(renders)) == 6
    for line in manifest.read(renders):
        with Image.open(renders / line["file"]) as image:
            assert min(image.size) == 32
        assert line["file"].startswith(line["scene"]["label"] + "/")


def test_the_manifest_holds_every_parameter(renders: Path) -> None:
    lines = manifest.read(renders)
    assert [line["index"] for line in lines] == list(range(6))
    drawn = scene("train", 3, 1, 32)
    assert lines[1]["scene"]["camera"]["mouth_u"] == drawn.camera.mouth_u
    assert {key: lines[1][key] for key in ("which", "seed", "short_side_px", "samples")} == {
        "which": "train", "seed": 3, "short_side_px": 32, "samples": 4,
    }  # fmt: skip


def test_the_manifest_says_where_the_mouths_are_and_training_reads_it(renders: Path) -> None:
    lines = manifest.read(renders)
    boxes = regions.read(renders, [line["file"] for line in lines])
    assert boxes is not None
    for line, (mouth, *_) in zip(lines, boxes, strict=True):
        camera, known = line["scene"]["camera"], line["scene"]["label"] != "unknown"
        assert known == (not np.isnan(mouth[0]))
        if known:
            middle = (mouth[:2] + mouth[2:]) / 4 + 0.5
            assert middle == pytest.approx([camera["mouth_u"], camera["mouth_v"]], abs=0.1)
            assert np.abs(mouth).max() <= 0.9


def test_a_run_that_was_cut_short_goes_on_to_the_same_pictures(renders: Path, tmp_path: Path) -> None:
    assert render(tmp_path, 2) == 0
    with (tmp_path / manifest.FILE).open("a") as file:
        file.write('{"file": "open/0000')  # a kill in the middle of a line
    assert render(tmp_path, 6) == 0
    assert files(tmp_path) == files(renders)
    assert manifest.read(tmp_path) == manifest.read(renders)


def test_several_processes_make_what_one_makes(renders: Path, tmp_path: Path) -> None:
    assert render(tmp_path, 3, "--processes", "2") == 0
    made, expected = files(tmp_path), files(renders)
    assert made
    assert all(content == expected[name] for name, content in made.items())


def test_another_seed_does_not_go_into_the_same_folder(
    renders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render(renders, 6, "--seed", "4") == 1
    assert "holds renders of" in capsys.readouterr().err


def test_who_stops_a_render_hears_that_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("train.bottles.dataset.render_one", interrupted)
    assert render(tmp_path, 1) == 130
    assert capsys.readouterr().err == "stopped; the same command continues\n"


def test_a_contact_sheet_shows_them(renders: Path, tmp_path: Path) -> None:
    page = tmp_path / "sheet.png"
    assert main(["bottles", "sheet", "--renders", str(renders), "--out", str(page), "--count", "4"]) == 0
    with Image.open(page) as image:
        assert image.width > 4 * 144


def test_a_folder_without_renders_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--renders", str(tmp_path), "--out", str(tmp_path / "sheet.png"))
    assert main(["bottles", "sheet", *arguments]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}: no renders here\n"
