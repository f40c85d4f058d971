"""A model on disk: written whole, read with suspicion."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import artifact, catalog
from models.errors import BadArtifact, UnknownModel
from models.manifest import Calibration, Export
from tests.conftest import spec

WEIGHTS = {"fc.weight": np.linspace(-1, 1, 20, dtype=np.float32), "count": np.array(3)}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return artifact.save(tmp_path, spec(), WEIGHTS)


def edit(directory: Path, **changes: Any) -> None:
    path = directory / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_was_saved_is_loaded(saved: Path) -> None:
    loaded = artifact.load(saved)
    assert saved.parts[-2:] == ("cifar10", "1")
    assert dict(loaded.manifest) == {
        **dict(spec()),
        "format": 1,
        "weights": loaded.manifest.weights,
        "golden": None,
        "exports": (),
    }
    assert loaded.weights["fc.weight"].dtype == np.float16
    assert np.array_equal(loaded.weights["fc.weight"], WEIGHTS["fc.weight"].astype(np.float16))
    assert loaded.weights["count"] == 3


def test_float32_is_kept_where_asked_for(tmp_path: Path) -> None:
    loaded = artifact.load(artifact.save(tmp_path, spec(), WEIGHTS, dtype="float32"))
    assert np.array_equal(loaded.weights["fc.weight"], WEIGHTS["fc.weight"])


def test_a_version_is_never_overwritten(saved: Path) -> None:
    before = (saved / "model.json").read_bytes()
    with pytest.raises(BadArtifact, match="exists"):
        artifact.save(saved.parent.parent, spec(), {})
    assert (saved / "model.json").read_bytes() == before


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_weights_that_are_not_finite_in_storage_are_not_saved(tmp_path: Path, value: float) -> None:
    with pytest.raises(BadArtifact, match=r"fc\.weight"):
        artifact.save(tmp_path, spec(), {"fc.weight": np.array([value], np.float32)})
    assert not list(tmp_path.rglob("*.json"))


EXPORT = Export(
    engine="openvino",
    precision="int8",
    files={"openvino-int8.xml": hashlib.sha256(b"graph").hexdigest()},
    calibration=Calibration(temperature=2.0),
    accuracy=0.9,
    accuracy_loss=0.001,
    ece=0.01,
)


def test_an_export_is_added_beside_the_weights_and_replaces_its_like(saved: Path) -> None:
    artifact.add_export(saved, EXPORT, {"openvino-int8.xml": b"an older graph"})
    artifact.add_export(saved, EXPORT.model_copy(update={"ece": 0.02}), {"openvino-int8.xml": b"graph"})
    (export,) = artifact.load(saved).manifest.exports
    assert export.ece == 0.02
    assert artifact.read_checked(saved / "openvino-int8.xml", export.files["openvino-int8.xml"]) == b"graph"
    assert {path.name for path in saved.iterdir()} == {
        "model.json",
        "weights.safetensors",
        "openvino-int8.xml",
    }


def test_an_export_cut_short_leaves_a_model_that_loads(saved: Path) -> None:
    artifact.add_export(saved, EXPORT, {"openvino-int8.xml": b"graph"})
    (saved / "openvino-int8.bin").mkdir()  # nothing can be written in its place
    with pytest.raises(OSError, match=r"openvino-int8\.bin"):
        artifact.add_export(saved, EXPORT, {"openvino-int8.xml": b"another", "openvino-int8.bin": b"weights"})
    assert artifact.load(saved).manifest.exports == ()


def test_an_export_that_was_altered_is_noticed(saved: Path) -> None:
    artifact.add_export(saved, EXPORT, {"openvino-int8.xml": b"graph"})
    (saved / "openvino-int8.xml").write_bytes(b"grapf")
    with pytest.raises(BadArtifact, match="checksum"):
        artifact.read_checked(saved / "openvino-int8.xml", EXPORT.files["openvino-int8.xml"])


def test_a_save_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        artifact.save(tmp_path, spec(), WEIGHTS)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert catalog.find(tmp_path) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format"),
        ({"unknown": 1}, "unknown"),
        ({"classes": ["one"]}, "classes"),
        ({"classes": ["one", "one"]}, "distinct"),
        ({"name": "other"}, "other/1"),
        ({"version": "2"}, "cifar10/2"),
        ({"version": "../1"}, "version"),
        ({"network": {"stem": "7x7"}}, "stem"),
        ({"preprocessing": {"version": 9, "size": 32, "resize": "stretch"}}, "preprocessing"),
        ({"normalisation": {"mean": [0, 0, 0], "std": [1, 1, 0]}}, "std"),
        ({"calibration": {"temperature": 0}}, "temperature"),
        ({"weights": {"file": "../../secret", "dtype": "float16", "sha256": "0" * 64}}, "weights.file"),
        ({"weights": {"file": "weights.safetensors", "dtype": "float16", "sha256": "0" * 64}}, "checksum"),
    ],
)
def test_a_manifest_that_does_not_match_is_refused_in_one_line(
    saved: Path, changes: dict[str, Any], message: str
) -> None:
    edit(saved, **changes)
    with pytest.raises(BadArtifact, match=message) as caught:
        artifact.load(saved)
    assert len(str(caught.value).splitlines()) == 1
    assert str(saved) in str(caught.value)


def test_weights_of_another_type_than_stated_are_refused(saved: Path) -> None:
    weights = json.loads((saved / "model.json").read_text())["weights"]
    edit(saved, weights={**weights, "dtype": "float32"})
    with pytest.raises(BadArtifact, match="is float16, not float32"):
        artifact.load(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\x00", '{"format": NaN}'])
def test_a_manifest_that_is_not_a_json_object_is_refused(saved: Path, text: str) -> None:
    (saved / "model.json").write_text(text)
    with pytest.raises(BadArtifact):
        artifact.load(saved)


def test_a_manifest_of_unreasonable_size_is_not_read(saved: Path) -> None:
    (saved / "model.json").write_bytes(b" " * (artifact.MAX_MANIFEST_BYTES + 1))
    with pytest.raises(BadArtifact, match="larger"):
        artifact.load(saved)


def test_weights_that_are_a_pickle_are_refused_though_their_checksum_is_right(saved: Path) -> None:
    data = pickle.dumps({"fc.weight": [1.0]})
    (saved / "weights.safetensors").write_bytes(data)
    weights = json.loads((saved / "model.json").read_text())["weights"]
    edit(saved, weights={**weights, "sha256": artifact.sha256(data)})
    with pytest.raises(BadArtifact, match=r"weights\.safetensors: not a safetensors file"):
        artifact.load(saved)


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_a_file_that_is_a_link_out_of_its_directory_is_refused(saved: Path, name: str) -> None:
    elsewhere = saved.parent / name
    (saved / name).rename(elsewhere)
    (saved / name).symlink_to(elsewhere)
    with pytest.raises(BadArtifact, match=rf"{name}: leads out of its directory"):
        artifact.load(saved)


def test_links_within_a_directory_and_to_it_are_followed(saved: Path) -> None:
    (saved / "data").mkdir()
    (saved / "weights.safetensors").rename(saved / "data" / "weights")
    (saved / "weights.safetensors").symlink_to(Path("data") / "weights")
    moved = saved.rename(saved.parent.parent / "elsewhere")
    saved.symlink_to(moved)
    assert artifact.load(saved).manifest.version == "1"


def test_a_loop_of_links_or_a_pipe_is_refused_and_not_waited_for(saved: Path) -> None:
    path = saved / "weights.safetensors"
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(BadArtifact, match=r"weights\.safetensors"):
        artifact.load(saved)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BadArtifact, match=r"weights\.safetensors: not a file"):
        artifact.load(saved)


def test_every_flipped_byte_of_the_weights_is_noticed(saved: Path) -> None:
    path = saved / "weights.safetensors"
    good = path.read_bytes()
    for position in range(len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        with pytest.raises(BadArtifact, match="checksum"):
            artifact.load(saved)


def test_missing_or_truncated_weights_are_noticed(saved: Path) -> None:
    path = saved / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadArtifact, match="checksum"):
        artifact.load(saved)
    path.unlink()
    with pytest.raises(BadArtifact, match="No such file"):
        artifact.load(saved)


def test_the_newest_version_is_found_by_number_and_strangers_are_passed_over(saved: Path) -> None:
    root = saved.parent.parent
    for version in ("2", "10"):
        shutil.copytree(saved, saved.parent / version)
        edit(saved.parent / version, version=version)
    for stranger in (".10-tmp", "latest", "0", "03"):
        shutil.copytree(saved, saved.parent / stranger)
    (root / "empty").mkdir()
    (root / "README.md").write_text("")
    assert catalog.find(root) == {"cifar10": ("1", "2", "10")}
    assert catalog.locate(root, "cifar10").name == "10"
    assert catalog.locate(root, "cifar10", "2").name == "2"


@pytest.fixture
def shared() -> Iterator[Path]:
    """A version where anybody may read; pytest's own directories are for their owner alone."""
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o755)
        artifact.save(Path(root), spec(), WEIGHTS)
        yield Path(root)


@contextlib.contextmanager
def without_roots_rights() -> Iterator[None]:
    own = os.geteuid()
    if own == 0:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(own)


@pytest.mark.parametrize("name", ["cifar10/.2-made", "cifar10/2", "other"])
def test_what_may_not_be_looked_into_hides_no_version_beside_it(shared: Path, name: str) -> None:
    (shared / name).mkdir(mode=0)
    with without_roots_rights():
        assert catalog.find(shared) == {"cifar10": ("1",)}


def test_a_directory_of_models_that_may_not_be_read_is_named(shared: Path) -> None:
    shared.chmod(0)
    with without_roots_rights(), pytest.raises(BadArtifact, match=f"^{shared}: Permission denied$"):
        catalog.find(shared)


def test_an_unknown_model_or_version_is_named(saved: Path) -> None:
    with pytest.raises(UnknownModel, match="'nothing'"):
        catalog.locate(saved.parent.parent, "nothing")
    with pytest.raises(UnknownModel, match="'7'"):
        catalog.locate(saved.parent.parent, "cifar10", "7")
    assert catalog.find(saved / "nowhere") == {}
